"""What `weft apply --wait` shows while it waits."""

import io

import pytest

from weft.api import registry
from weft.cli.wait import _Line
from weft.views.settled import Settled

KIND = registry.by_name("pod")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_bar_on_a_terminal_and_nothing_elsewhere(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = stream()
    monkeypatch.setattr("sys.stderr", shown)
    assert KIND is not None
    line = _Line(4)
    line.show({(KIND, "default", "web-0"): Settled(False, "not ready")})
    line.clear()
    wanted = "\r\x1b[K█████████░░░ 3 of 4 done; pod/web-0: not ready\r\x1b[K"
    assert shown.getvalue() == (wanted if stream is Terminal else "")
