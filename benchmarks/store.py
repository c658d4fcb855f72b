"""What the store costs: creations per second, the effect of group commit, SQLite against memory.

The directory for temporary files ($TMPDIR) decides which disk is measured.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from benchmarks.harness import Benchmark, Row
from weft.store.interface import Put, Store, Txn
from weft.store.memory import MemoryStore
from weft.store.sqlite import SqliteStore

VALUE = b"x" * 1024
SECONDS = 1.0
"""Length of one measurement."""
WRITERS = (1, 8, 32, 128)
KEYS_LOADED = 50_000
PAGE = 500
WATCHERS = (1, 100, 1000)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def creations(store: Store, writers: int) -> tuple[float, float]:
    """(creations per second, CPU microseconds per creation) with so many waiting writers."""
    count = 0
    end = time.perf_counter() + SECONDS

    async def write(writer: int) -> None:
        nonlocal count
        made = 0
        while time.perf_counter() < end:
            await store.apply(Txn((Put(f"/pods/{writers}-{writer:03d}-{made:06d}", VALUE),)))
            made += 1
            if made % 16 == 0:
                await asyncio.sleep(0)
        count += made

    start, cpu = time.perf_counter(), cpu_seconds()
    await asyncio.gather(*(write(n) for n in range(writers)))
    return count / (time.perf_counter() - start), (cpu_seconds() - cpu) / count * 1e6


async def milliseconds(work: Callable[[], Awaitable[object]], times: int) -> tuple[float, ...]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - start) * 1000)
    return tuple(taken)


async def writing(directory: Path) -> list[Row]:
    rows = []
    one = f"SQLite: creations, {WRITERS[0]} writers"
    for writers in WRITERS:
        memory = MemoryStore()
        fast, _ = await creations(memory, writers)
        await memory.close()
        durable = await SqliteStore.open(directory / f"{writers}.db")
        slow, cpu = await creations(durable, writers)
        await durable.close()
        base = f"memory: creations, {writers} writers"
        rows += [
            Row(base, "1/s", (fast,)),
            Row(f"SQLite: creations, {writers} writers", "1/s", (slow,), base),
            Row(f"effect of group commit, {writers} writers", "1/s", (slow,), one),
            Row(f"CPU of one creation in SQLite, {writers} writers", "µs", (cpu,)),
        ]
    return rows


async def reading(directory: Path) -> list[Row]:
    path = directory / "large.db"
    store = await SqliteStore.open(path)
    for at in range(0, KEYS_LOADED, 1000):
        names = (f"/pods/ns{n % 50:02d}/pod-{n:06d}" for n in range(at, at + 1000))
        await store.apply(Txn(tuple(Put(name, VALUE) for name in names)))
    base = f"list {PAGE} of {KEYS_LOADED:,}"
    work = {
        base: lambda: store.range("/pods/", limit=PAGE),
        "list one namespace of 50": lambda: store.range("/pods/ns07/"),
        f"list {PAGE} at an old revision": lambda: store.range("/pods/", limit=PAGE, revision=40),
        f"list all {KEYS_LOADED:,}": lambda: store.range("/pods/"),
    }
    rows = [Row(name, "ms", await milliseconds(each, 5), base) for name, each in work.items()]
    await store.close()
    start = time.perf_counter()
    store = await SqliteStore.open(path)
    opened = (time.perf_counter() - start) * 1000
    await store.close()
    return [*rows, Row(f"open with {KEYS_LOADED:,} objects", "ms", (opened,), base)]


async def fan_out() -> list[Row]:
    rows = []
    store = MemoryStore()
    for watchers in WATCHERS:
        watches = [store.watch("/pods/", store.revision + 1) for _ in range(watchers)]

        async def one_event() -> None:
            await store.apply(Txn((Put("/pods/a", VALUE),)))
            await asyncio.gather(*(anext(aiter(w)) for w in watches))  # noqa: B023

        taken = await milliseconds(one_event, 20)
        base = f"event to {WATCHERS[0]} watchers"
        rows.append(Row(f"event to {watchers} watchers", "ms", taken, base))
        for watch in watches:
            watch.close()
    await store.close()
    return rows


async def measure(directory: Path) -> list[Row]:
    return [*await writing(directory), *await reading(directory), *await fan_out()]


def run() -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(measure(Path(directory)))


BENCHMARK = Benchmark(
    "store", "The embedded store (durable: every acknowledged write is on disk) and memory.", run
)
