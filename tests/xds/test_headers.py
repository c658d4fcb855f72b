"""Header operations: what Envoy would refuse, or take for a command, does not reach it."""

import pytest

from weft.mesh.model import Header, HeaderOperations
from weft.xds.headers import format_text, headers_to_add, headers_to_remove, host_header


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("100%", "100%%"),
        ("%REQ(x-user)%", "%REQ(x-user)%"),
        ("a %DOWNSTREAM_REMOTE_ADDRESS% b", "a %DOWNSTREAM_REMOTE_ADDRESS% b"),
        ("%START_TIME%5%", "%START_TIME%5%%"),
        ("%UNHEARD_OF%", "%%UNHEARD_OF%%"),
        ("50%% done", "50%% done"),
        ("%REQ(:AUTHORITY):10%", "%REQ(:AUTHORITY):10%"),
    ],
)
def test_percent_signs(value: str, expected: str) -> None:
    assert format_text(value) == expected


def test_host_is_rewritten_not_added() -> None:
    operations = HeaderOperations(
        set=(Header("Host", "new"), Header("x", "1")), remove=("host", ":path", "y")
    )
    assert host_header(operations) == "new"
    assert [option.header.key for option in headers_to_add(operations)] == ["x"]
    assert headers_to_remove(operations) == ["y"]
    assert host_header(HeaderOperations()) == ""
