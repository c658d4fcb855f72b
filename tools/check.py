"""Run the checks: `make check` (fast) and `make test` (all). Prints one line per part.

Static checks run beside the fast tests; the others follow, so that they have the machine. What each
part came to is said again at the end.
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
STATIC = {
    "ruff": [BIN / "ruff", "check", "-q", "."],
    "format": [BIN / "ruff", "format", "-q", "--check", "."],
    "mypy": [BIN / "mypy"],
    "imports": [BIN / "lint-imports"],
}
WORKERS = max(2, os.cpu_count() or 2)
PYTEST = [sys.executable, "-m", "pytest", "-rs", *(["--color=yes"] * sys.stdout.isatty())]
END_TO_END = "tests/e2e"
"""All in it, and nothing else, is end to end: not even collected for the fast tests."""
FAST = [
    *(*PYTEST, "tests", f"--ignore={END_TO_END}"),
    *("-m", "not slow and not e2e", "-n", str(WORKERS)),
]
WAITING = 2 * WORKERS
"""Tests with processes of their own wait for those and for clocks: of 195 s that eight files of
three workers took, 72 s were of a processor."""
BY_FILE = (
    *("-n", str(WAITING), "--dist", "loadfile", "--no-loadscope-reorder"),
    *("--durations=20", "-rfE"),
)
"""Those of a file share an instance. In the order of their names: by default, files of few tests
come last, and those that need most of the machine would all run at the same time."""
ALONE_MAX = 16
"""Failed tests that are given a second chance, alone: side by side they may starve each other. Both
results are shown; more than these are no accident."""
SLOW = [*PYTEST, "tests", "-m", "slow or e2e", *BY_FILE]
"""In one run: at its end workers have nothing left to do while the last one is busy."""
ALL = "--all" in sys.argv[1:]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SUMMARY = re.compile(
    r"^=* ?(\d+ (?:passed|failed|skipped|error|deselected).*?) in [\d.]+s.*$", re.M
)
TAIL_BYTES = 40_000
"""Of a part's output, in which pytest's closing lines are looked for."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?::.+?)(?: - .*)?$", re.M)


def environment() -> dict[str, str]:
    """Of the parts: programs that tools/get_tools.py fetched lie next to the interpreter; compiled
    modules are kept, without them collecting the tests takes three times as long."""
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if ALL:
        env["WEFT_TESTS"] = "all"  # property tests try all their examples: tests/examples.py
    return env


def line(name: str, passed: bool, seconds: float, note: str = "") -> str:
    return f"{'ok  ' if passed else 'FAIL'} {name:<8} {seconds:6.1f} s  {note}".rstrip()


def run_static(name: str, command: list[str | Path]) -> str:
    """Run a static check; what it prints is shown when it fails. The line that says how it went."""
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    said = line(name, done.returncode == 0, time.monotonic() - started)
    print(said, flush=True)
    return said


def run_pytest(command: list[str]) -> tuple[bool, str]:
    """Run tests, showing all they print as it comes. Whether they passed, and the end of that."""
    tail = b""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), TAIL_BYTES):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            tail = (tail + data)[-TAIL_BYTES:]
    return process.returncode == 0, COLOUR.sub("", tail.decode(errors="replace"))


def run_tests(name: str, command: list[str]) -> str:
    """Run a part's tests, and what failed side by side once more, alone. How it went."""
    started = time.monotonic()
    passed, tail = run_pytest(command)
    notes = SUMMARY.findall(tail)[-1:]
    failed = list(dict.fromkeys(FAILED.findall(tail)))
    if not passed and "loadfile" in command and 0 < len(failed) <= ALONE_MAX:
        print(f"\nonce more, alone: {len(failed)} tests of {name}", flush=True)
        passed, tail = run_pytest([*PYTEST, *failed])
        notes += [f"alone: {summary}" for summary in SUMMARY.findall(tail)[-1:]]
        notes += failed
    said = line(name, passed, time.monotonic() - started, "; ".join(notes))
    print(said, flush=True)
    return said


def main() -> int:
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as pool:
        checks = pool.map(lambda item: run_static(item[0], list(item[1])), STATIC.items())
        lines = [run_tests("fast", FAST)]
        lines = [*checks, *lines]
    if ALL:
        lines += [run_tests("slow+e2e", SLOW)]
    passed = all(said.startswith("ok") for said in lines)
    print("\n" + "\n".join([*lines, line("all", passed, time.monotonic() - started)]), flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
