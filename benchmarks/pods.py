"""What weft itself takes to start and to end pods: their program does nothing but sleep. Memory is
the difference within a round, and a round may use what an earlier one left free."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from benchmarks.harness import Benchmark, Row, memory_together
from benchmarks.instance import (
    WAIT_SECONDS_MAX,
    Weft,
    is_ready,
    kind_of,
    pod,
    until,
    weft,
)

COUNTS = (1, 10, 50)
ROUNDS = {1: 5, 10: 2, 50: 1}


class Taken(Struct, frozen=True):
    """One round."""

    ready_seconds: float
    """From the first create to all ready."""
    each_seconds: tuple[float, ...]
    """Of each pod, from the request that creates it to the news that it is ready."""
    cpu_seconds: float
    """Of the daemon, per pod."""
    memory_mb: float
    """What all of weft's processes take more while the pods run, per pod."""
    gone_seconds: float
    """From the first delete to all gone."""


async def round_trip(instance: Weft, count: int) -> Taken:
    """Create, wait, delete, wait."""
    client, kind = instance.connection.client, kind_of({"kind": "Pod"})
    before = await memory(instance)
    version = (await client.list(kind, "default")).resource_version
    created: dict[str, float] = {}
    each: dict[str, float] = {}

    async def follow() -> None:
        async for event in client.watch(kind, "default", resource_version=version):
            pod_now = json.loads(bytes(event.object))
            name = pod_now["metadata"].get("name", "")
            if name in created and name not in each and is_ready(pod_now):
                each[name] = time.monotonic() - created[name]
                if len(each) == count:
                    return

    cpu, start = instance.daemon.cpu_seconds(), time.monotonic()
    async with asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as group:
        group.create_task(follow())
        for number in range(count):
            created[f"p{number}"] = time.monotonic()
            await instance.apply(pod(f"p{number}", "sleep:1", {"app": "p"}))
    ready = time.monotonic() - start
    used = (instance.daemon.cpu_seconds() - cpu) / count
    more = (await memory(instance) - before) / count
    start = time.monotonic()
    for number in range(count):
        path = f"/api/v1/namespaces/default/pods/p{number}"
        await instance.connection.json("DELETE", path)

    async def gone() -> bool:
        return not await instance.pods("app=p")

    await until(gone, "pods gone")
    return Taken(ready, tuple(each.values()), used, more, time.monotonic() - start)


async def memory(instance: Weft) -> float:
    """Of weft's own processes, MB (2**20 bytes); not of the pods' programs."""
    return memory_together((await instance.processes()).values())


async def measure() -> list[Row]:
    rows = []
    base = ""
    async with weft() as instance:
        instance.image("sleep:1", instance.directory, "sleep", "3600")
        await round_trip(instance, 1)
        for count in COUNTS:
            taken = [await round_trip(instance, count) for _ in range(ROUNDS[count])]
            what = f"create to ready, {count} pods"
            base = base or what
            rows += rows_of(count, taken, base)
    return rows


def rows_of(count: int, taken: Sequence[Taken], base: str) -> list[Row]:
    """What rounds of so many pods tell."""
    each = sorted(seconds for t in taken for seconds in t.each_seconds)
    cpu = tuple(t.cpu_seconds * 1000 for t in taken)
    rows = [
        Row(f"create to ready, {count} pods", "s", tuple(t.ready_seconds for t in taken), base),
        Row(f"CPU of the daemon per pod of {count}", "ms", cpu),
        Row(f"delete to gone, {count} pods", "s", tuple(t.gone_seconds for t in taken), base),
    ]
    if count == 1:
        return rows
    p99 = each[min(len(each) - 1, int(len(each) * 0.99))]
    rates = tuple(count / t.ready_seconds for t in taken)
    return [
        *rows,
        Row(f"create to ready, each of {count}, p50", "s", (statistics.median(each),)),
        Row(f"create to ready, each of {count}, p99", "s", (p99,)),
        Row(f"pods started per second, of {count}", "/s", rates),
        Row(f"memory of weft per pod of {count}", "MB", tuple(t.memory_mb for t in taken)),
    ]


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "pods", "Time from creating pods that only sleep to all of them ready; and to end them.", run
)
