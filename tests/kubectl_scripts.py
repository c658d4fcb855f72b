"""Scripts of kubectl commands and what they print, in the manner of Kubernetes' own test/cmd.

A script is text: commands, what is expected of each below it, and at the end files for them.

    $ create -f pod.yaml          must succeed (`NAME=value` before it: its environment)
    ! delete pods                 must fail
    ? get pods -o name            is run again until all that is expected holds
    ~ PATTERN                     is found in what it prints (both streams)
    !~ PATTERN                    is not
    = TEXT                        is all of its standard output
    -- pod.yaml --                a file follows, up to the next one
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

FILE = re.compile(r"^-- (\S+) --$", re.M)
WAIT_SECONDS_MAX = 40.0
EXPECTATIONS = ("~ ", "!~ ", "= ")


class Step(Struct):
    """A command and what is expected of it."""

    line: int
    mode: str
    args: list[str]
    env: dict[str, str]
    wants: list[tuple[str, str]]


def parse(text: str) -> tuple[list[Step], dict[str, str]]:
    """The steps and the files of a script."""
    body, *rest = FILE.split(text)
    files = dict(zip(rest[::2], rest[1::2], strict=True))
    steps: list[Step] = []
    for number, line in enumerate(body.splitlines(), 1):
        mark, _, said = line.partition(" ")
        if line.startswith(EXPECTATIONS) or line == "=":
            steps[-1].wants.append((mark, said))
        elif mark in ("$", "!", "?"):
            words = shlex.split(said)
            env = {}
            while re.match(r"[A-Z_]+=", words[0]):
                name, _, value = words.pop(0).partition("=")
                env[name] = value
            steps.append(Step(number, mark, words, env, []))
        else:
            assert not line.strip() or line.startswith("#"), f"line {number}: {line}"
    return steps, files


def run(script: Path, binary: str, kubeconfig: Path, home: Path, namespace: str = "") -> None:
    """Run every step; tells all that is not as expected at once."""
    steps, files = parse(script.read_text())
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    own = home / "kubeconfig.own"
    own.write_text(kubeconfig.read_text())
    env = {**os.environ, "KUBECONFIG": str(own), "HOME": str(home)}
    if namespace:
        here = f"--namespace={namespace}"
        for words in (["create", "ns", namespace], ["config", "set-context", "--current", here]):
            subprocess.run([binary, *words], env=env, check=True, capture_output=True)
    wrong = [text for step in steps for text in _problems(step, binary, env, home, script.name)]
    assert not wrong, "\n".join(wrong)


def _problems(step: Step, binary: str, env: dict[str, str], home: Path, name: str) -> Iterator[str]:
    found = _once(step, binary, env, home)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while found and step.mode == "?" and time.monotonic() < deadline:
        time.sleep(0.2)
        found = _once(step, binary, env, home)
    for text in found:
        yield f"{name}:{step.line}: kubectl {shlex.join(step.args)}: {text}"


def _once(step: Step, binary: str, env: dict[str, str], home: Path) -> list[str]:
    done = subprocess.run(
        [binary, *step.args], env=env | step.env, cwd=home, timeout=90, check=False,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    both = done.stdout + done.stderr
    wrong = []
    if (done.returncode != 0) is not (step.mode == "!"):
        wrong.append(f"exit code {done.returncode}: {both[-1500:]}")
    for mark, text in step.wants:
        if mark == "=" and done.stdout.strip() != text.strip():
            wrong.append(f"printed {done.stdout.strip()!r}, not {text.strip()!r}")
        elif mark != "=" and (re.search(text, both) is None) is not (mark == "!~"):
            wrong.append(f"{'found' if mark == '!~' else 'not found'}: {text}: {both[-1500:]}")
    return wrong


def scripts(folder: Path) -> list[object]:
    """One parameter for each script of a folder."""
    return [pytest.param(path, id=path.stem) for path in sorted(folder.glob("*.txt"))]
