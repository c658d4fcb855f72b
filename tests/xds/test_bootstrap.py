"""The bootstrap and the command line that go with it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weft.lib.envoy_binary import envoy_path
from weft.xds.bootstrap import BootstrapSettings, arguments, bootstrap, relay_bootstrap


@pytest.mark.slow
@pytest.mark.parametrize("made", [bootstrap, relay_bootstrap])
def test_envoy_accepts_it(made: Callable[[BootstrapSettings], Any], tmp_path: Path) -> None:
    config = tmp_path / "bootstrap.json"
    settings = BootstrapSettings("n1", "xds.sock", "admin.sock", region="eu", zone="a")
    config.write_text(json.dumps(made(settings)))
    done = subprocess.run(
        [envoy_path(), "-c", str(config), *arguments(), "--mode", "validate"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Deprecated field" not in done.stderr


def test_equal_settings_give_equal_bytes() -> None:
    settings = BootstrapSettings("n1", "a", "b")
    assert json.dumps(bootstrap(settings)) == json.dumps(bootstrap(settings))
