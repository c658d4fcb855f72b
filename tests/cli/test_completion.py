"""Completion, by really pressing the key in the shells that this machine has."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SECONDS_MAX = 30.0
WEFT = f'#!/bin/sh\nexec {sys.executable} -m weft.cli "$@"\n'
BASH = """
source <(weft completion bash)
COMP_WORDS=(%s ''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[ -n "$LAST" ] && COMP_WORDS[COMP_CWORD]=$LAST
$(complete -p weft | sed 's/.*-F \\([^ ]*\\).*/\\1/') weft "$LAST" ''
printf '%%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """A PATH on which `weft` is the one under test."""
    program = tmp_path / "weft"
    program.write_text(WEFT)
    program.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def run(command: list[str], path: str, **more: str) -> list[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
        env={"PATH": path, "HOME": str(Path(path.split(os.pathsep, maxsplit=1)[0])), **more},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


@pytest.mark.slow
@pytest.mark.tools("bash")
def test_bash(shell_path: str) -> None:
    assert "graph" in run(["bash", "-c", BASH % "weft"], shell_path, LAST="gr")
    assert "drain" in run(["bash", "-c", BASH % "weft node"], shell_path, LAST="")
    forms = run(["bash", "-c", BASH % "weft top -o"], shell_path, LAST="")
    assert {"table", "json", "yaml"} <= set(forms)
    assert "--since" in run(["bash", "-c", BASH % "weft graph"], shell_path, LAST="--")


@pytest.mark.slow
@pytest.mark.tools("fish")
def test_fish(shell_path: str) -> None:
    def completed(line: str) -> set[str]:
        script = f"weft completion fish | source; complete -C '{line}'"
        found = run(["fish", "--no-config", "-c", script], shell_path)
        return {each.partition("\t")[0] for each in found}

    assert "graph" in completed("weft gr")
    assert "drain" in completed("weft node ")
    assert {"table", "json", "yaml"} <= completed("weft top -o ")


@pytest.mark.slow
@pytest.mark.tools("zsh")
def test_zsh(shell_path: str) -> None:
    """In a terminal of its own, for completion needs the line editor."""
    binary = shutil.which("zsh")
    assert binary is not None
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "PATH": shell_path, "TERM": "dumb", "PS1": "$ "}
        os.execve(binary, ["zsh", "-f", "-i"], environment)
    try:
        os.write(terminal, b"autoload -U compinit && compinit -u -D; "
                           b"source <(weft completion zsh); print rea''dy\n")  # fmt: skip
        until(terminal, "ready")
        os.write(terminal, b"weft gra\t")
        until(terminal, "weft graph")
        os.write(terminal, b"\x15weft node dr\t")
        until(terminal, "weft node drain")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def until(terminal: int, text: str) -> None:
    """Read what the terminal shows until it has the text."""
    deadline, seen = time.monotonic() + SECONDS_MAX, b""
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096)
        if text.encode() in seen:
            return
    raise AssertionError(f"{text!r} is not in {seen!r}")
