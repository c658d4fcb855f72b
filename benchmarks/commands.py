"""How long everyday commands take, interpreter included."""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Iterable

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import Weft, environment, weft

ROUNDS = 7
GOAL_SECONDS = 0.3
COMMANDS = {
    "weft get pods": ("-m", "weft.cli", "get", "pods"),
    "weft status": ("-m", "weft.cli", "status"),
    "weft apply --dry-run": ("-m", "weft.cli", "apply", "--dry-run", "-f", "-"),
}
MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
BASE = "python -c pass"


def timed(arguments: tuple[str, ...], instance: Weft) -> tuple[float, float]:
    """(seconds, CPU seconds) of one run."""
    env = {**environment(), "WEFT_HOME": str(instance.directory)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        input=MANIFEST,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def measure() -> list[Row]:
    rows = []
    async with weft() as instance:
        for name, arguments in {BASE: ("-c", "pass"), **COMMANDS}.items():
            await asyncio.to_thread(timed, arguments, instance)
            taken = [await asyncio.to_thread(timed, arguments, instance) for _ in range(ROUNDS)]
            seconds, cpu = zip(*taken, strict=True)
            goal = GOAL_SECONDS if name in COMMANDS else None
            rows += [Row(name, "s", seconds, BASE, goal), Row(f"CPU of {name}", "s", cpu)]
    return rows


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark("commands", "Time of one command, from its start to its end.", run)
