"""Memory and CPU time of everything weft runs while nothing happens."""

import asyncio
from collections.abc import Iterable

from benchmarks.harness import Benchmark, Process, Row, memory_together
from benchmarks.instance import Weft, pod, service, weft

POD_COUNTS = (0, 10, 50)
PER_SERVICE = 10
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 10.0
MEMORY_GOAL_MB = 150.0
CPU_GOAL_PERCENT = 1.0
PARTS = ("daemon", "Envoy", "pod host", "log writer")


async def grow(instance: Weft, have: int, want: int) -> None:
    """Up to `want` pods that sleep, ten behind each service."""
    for number in range(have, want):
        name = f"s{number // PER_SERVICE}"
        if number % PER_SERVICE == 0:
            await instance.apply(service(name))
        await instance.apply(pod(f"p{number}", "sleep:1", {"app": name}))
    await instance.ready("", want)


async def cpu_percent(processes: dict[str, Process]) -> dict[str, float]:
    before = {name: process.cpu_seconds() for name, process in processes.items()}
    await asyncio.sleep(IDLE_SECONDS)
    return {
        name: (process.cpu_seconds() - before[name]) / IDLE_SECONDS * 100
        for name, process in processes.items()
    }


async def measure() -> list[Row]:
    rows: list[Row] = []
    async with weft() as instance:
        instance.image("sleep:1", instance.directory, "sleep", "3600")
        have = 0
        for count in POD_COUNTS:
            await grow(instance, have, count)
            have = count
            await asyncio.sleep(SETTLE_SECONDS)
            processes = await instance.processes()
            cpu = await cpu_percent(processes)
            rows += memory_rows(count, processes)
            for name in ("daemon", "Envoy"):
                first = f"CPU of {name}, {POD_COUNTS[0]} pods"
                goal = CPU_GOAL_PERCENT if name == "daemon" else None
                rows.append(Row(f"CPU of {name}, {count} pods", "%", (cpu[name],), first, goal))
    return rows


def memory_rows(count: int, processes: dict[str, Process]) -> Iterable[Row]:
    first = f"daemon and Envoy, {POD_COUNTS[0]} pods"
    pair = memory_together([processes["daemon"], processes["Envoy"]])
    goal = MEMORY_GOAL_MB if not count else None
    yield Row(f"daemon and Envoy, {count} pods", "MB", (pair,), first, goal)
    together = memory_together(processes.values())
    yield Row(f"all processes of weft, {count} pods", "MB", (together,), first)
    for name in PARTS:
        process = processes[name]
        own, _ = process.memory()
        yield Row(f"{name} alone, {count} pods: not shared", "MB", (own,))
        if not count:
            yield Row(f"{name} alone, {count} pods: resident", "MB", (process.rss(),))


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "idle",
    f"Memory while nothing happens (files that several processes map count once), and CPU over "
    f"{IDLE_SECONDS:.0f} s. Besides daemon and Envoy there are a pod host and a log writer.",
    run,
)
