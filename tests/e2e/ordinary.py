"""An instance of a user without any right: who runs the tests, or whom root becomes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, stopping
from weft.lib import instance
from weft.node import linux

FIRST_UID, UIDS = 100_000, 30_000
"""Nobody's, on most machines."""
CHANGE = Path(__file__).with_name("ordinary_user.py")


class OrdinaryInstance(Instance):
    """Every command that starts something is run as this user."""

    uid = os.geteuid() or FIRST_UID + os.getpid() % UIDS

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, "netns")
        os.chown(data_dir, self.uid, self.uid)

    def run(self, *args: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        if args[0] in ("up", "down", "image"):
            verb = args[:2] if args[0] == "image" else args[:1]
            command = [sys.executable, "-m", "weft.cli", *verb, "--data-dir", str(self.data_dir)]
            return as_user(self.uid, *command, *args[len(verb) :])
        return super().run(*args, stdin=stdin)

    def down(self) -> None:
        if self.run_dir.exists():  # else a test did it, and looked
            super().down()

    @property
    def run_dir(self) -> Path:
        digest = Path(instance.run_dir_of(str(self.data_dir))).name
        if os.geteuid() and (runtime := os.environ.get("XDG_RUNTIME_DIR")):
            return Path(runtime) / "weft" / digest
        return Path(tempfile.gettempdir()) / f"weft-{self.uid}" / digest


def as_user(uid: int, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as this user."""
    env = {**os.environ, "NO_COLOR": "1"}
    if os.geteuid() == 0:
        env.pop("XDG_RUNTIME_DIR", None)
        command = (sys.executable, str(CHANGE), str(uid), *command)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=env, check=False
    )


def refusals() -> dict[str, Any]:
    """What `weft.node.linux.trial` says to such a user."""
    program = str(Path(linux.__file__).parent)
    done = as_user(OrdinaryInstance.uid, sys.executable, "-I", "-S", program)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def made() -> Iterator[OrdinaryInstance]:
    """With the image of the echo program; not started."""
    directory = Path(tempfile.mkdtemp(prefix="weft-e2e-"))
    made = OrdinaryInstance(directory)
    try:
        made.image("echo:1", APPS / "echo", sys.executable, "app.py")
        yield from stopping(made)  # type: ignore[misc]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
