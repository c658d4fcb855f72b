"""Run the checks: `make check` (fast) and `make test` (all). Prints one line per part.

Static checks run side by side; tests follow, so that timing-sensitive ones have the machine.
"""

import os
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
PYTEST = [sys.executable, "-m", "pytest", "tests"]
FAST = [*PYTEST, "-m", "not slow and not e2e", "-n", "2"]
SLOW = [*PYTEST, "-m", "slow and not e2e", "--durations=10"]
E2E = [*PYTEST, "-m", "e2e", "--durations=10"]


def run(name: str, command: list[str | Path], quiet: bool) -> bool:
    """Run one part; print its output when it fails or is not quiet. True when it passed."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=quiet, text=True, check=False)
    passed = done.returncode == 0
    if not passed and quiet:
        print(done.stdout + done.stderr)
    print(
        f"{'ok  ' if passed else 'FAIL'} {name:<8} {time.monotonic() - started:5.1f} s", flush=True
    )
    return passed


def main() -> int:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        static = list(pool.map(lambda item: run(item[0], list(item[1]), True), STATIC.items()))
    parts = [("fast", FAST)]
    if "--all" in sys.argv[1:]:
        parts += [("slow", SLOW), ("e2e", E2E)]
    tests = [run(name, list(command), False) for name, command in parts]
    return 0 if all(static + tests) else 1


if __name__ == "__main__":
    sys.exit(main())
