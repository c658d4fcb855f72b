"""What weft itself takes to start and to end pods: their program does nothing but sleep."""

import asyncio
import time
from collections.abc import Iterable

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import Weft, pod, until, weft

COUNTS = (1, 10, 50)
ROUNDS = {1: 5, 10: 2, 50: 1}


async def round_trip(instance: Weft, count: int) -> tuple[float, float, float]:
    """Seconds from the first create to all ready; CPU seconds of the daemon per pod; seconds from
    the first delete to all gone."""
    cpu, start = instance.daemon.cpu_seconds(), time.monotonic()
    await instance.apply(*(pod(f"p{n}", "sleep:1", {"app": "p"}) for n in range(count)))
    await instance.ready("app=p", count)
    ready = time.monotonic() - start
    used = (instance.daemon.cpu_seconds() - cpu) / count
    start = time.monotonic()
    client = instance.connection
    for number in range(count):
        await client.json("DELETE", f"/api/v1/namespaces/default/pods/p{number}")

    async def gone() -> bool:
        return not await instance.pods("app=p")

    await until(gone, "pods gone")
    return ready, used, time.monotonic() - start


async def measure() -> list[Row]:
    rows = []
    base = ""
    async with weft() as instance:
        instance.image("sleep:1", instance.directory, "sleep", "3600")
        await round_trip(instance, 1)
        for count in COUNTS:
            taken = [await round_trip(instance, count) for _ in range(ROUNDS[count])]
            ready, used, gone = zip(*taken, strict=True)
            what = f"create to ready, {count} pods"
            base = base or what
            rows += [
                Row(what, "s", ready, base),
                Row(f"CPU of the daemon per pod of {count}", "ms", tuple(u * 1000 for u in used)),
                Row(f"delete to gone, {count} pods", "s", gone, base),
            ]
    return rows


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "pods", "Time from creating pods that only sleep to all of them ready; and to end them.", run
)
