"""From nothing to an API server that answers, and to the first 200 of the weather example."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import EXAMPLES, Weft, first_answer

ROUNDS = 5
READY_GOAL_SECONDS = 1.0
FIRST_ANSWER_GOAL_SECONDS = 2.0
PODS_OF_EXAMPLE = 4


async def ready(bytecode: Path | None = None) -> tuple[float, float, float, float]:
    """Seconds until up, and CPU seconds of the daemon: in a new directory, then again in it."""
    weft = Weft()
    try:
        first = await weft.start(bytecode=bytecode)
        first_cpu = weft.daemon.cpu_seconds()
        await weft.stop()
        again = await weft.start(bytecode=bytecode)
        again_cpu = weft.daemon.cpu_seconds()
    finally:
        await weft.stop()
        weft.remove()
    return first, first_cpu, again, again_cpu


async def example() -> tuple[float, float]:
    """Seconds until the first 200 of the weather example through its gateway, and until all of
    its pods are ready."""
    weft = Weft()
    for part in ("frontend", "backend"):
        weft.image(f"weather-{part}:latest", EXAMPLES / "weather" / part, sys.executable, "app.py")
    started = time.monotonic()
    try:
        await weft.start(EXAMPLES / "weather")
        await first_answer(f"{await weft.gateway()}/weather/berlin")
        answered = time.monotonic() - started
        await weft.ready("", PODS_OF_EXAMPLE)
        return answered, time.monotonic() - started
    finally:
        await weft.stop()
        weft.remove()


def run() -> Iterable[Row]:
    empty = Path(tempfile.mkdtemp(prefix="weft-bench-cold-"))
    cold = asyncio.run(ready(empty))[0]
    shutil.rmtree(empty, ignore_errors=True)
    warm = list(zip(*(asyncio.run(ready()) for _ in range(ROUNDS)), strict=True))
    answered = list(zip(*(asyncio.run(example()) for _ in range(ROUNDS)), strict=True))
    base = "weft up, new data directory"
    return (
        Row(base, "s", warm[0], goal=READY_GOAL_SECONDS),
        Row("CPU of that", "s", warm[1], base),
        Row("weft up, state of an earlier run", "s", warm[2], base, READY_GOAL_SECONDS),
        Row("CPU of that, with state", "s", warm[3], base),
        Row("weft up, no bytecode of anything", "s", (cold,), base),
        Row("first 200 of the weather example", "s", answered[0], base, FIRST_ANSWER_GOAL_SECONDS),
        Row(f"all its {PODS_OF_EXAMPLE} pods ready", "s", answered[1], base),
    )


BENCHMARK = Benchmark(
    "startup",
    "Time until weft is up (bytecode kept), and until the weather example answers through it.",
    run,
)
