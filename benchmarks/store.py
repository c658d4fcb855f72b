"""What the store costs: creations per second, the effect of group commit, SQLite against memory.

`python -m benchmarks.store [DIRECTORY]` prints a table; the directory (default: a temporary one)
decides which disk is measured.
"""

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from weft.store.interface import Put, Store, Txn
from weft.store.memory import MemoryStore
from weft.store.sqlite import SqliteStore

VALUE = b"x" * 1024
SECONDS = 1.5
"""Length of one measurement."""
WRITERS = (1, 8, 32, 128)
KEYS_LOADED = 100_000
PAGE = 500


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


async def milliseconds(work: Callable[[], Awaitable[object]], times: int = 20) -> float:
    """The median of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[times // 2] * 1000


async def writing(directory: Path) -> None:
    print(f"{'writers':>8} {'memory/s':>10} {'sqlite/s':>10} {'sqlite/memory':>14} "
          f"{'sqlite us CPU':>14} {'x 1 writer':>11}")  # fmt: skip
    alone = 0.0
    for writers in WRITERS:
        memory = MemoryStore()
        fast, _ = await creations(memory, writers)
        await memory.close()
        durable = await SqliteStore.open(directory / f"{writers}.db")
        slow, cpu = await creations(durable, writers)
        await durable.close()
        alone = alone or slow
        print(f"{writers:>8} {fast:>10,.0f} {slow:>10,.0f} {slow / fast:>14.2f} "
              f"{cpu:>14.0f} {slow / alone:>11.1f}")  # fmt: skip


async def reading(directory: Path) -> None:
    path = directory / "large.db"
    store = await SqliteStore.open(path)
    for at in range(0, KEYS_LOADED, 1000):
        names = (f"/pods/ns{n % 50:02d}/pod-{n:06d}" for n in range(at, at + 1000))
        await store.apply(Txn(tuple(Put(name, VALUE) for name in names)))
    rows = {
        f"list {PAGE} of {KEYS_LOADED:,}": lambda: store.range("/pods/", limit=PAGE),
        "list one namespace of 50": lambda: store.range("/pods/ns07/"),
        f"list {PAGE} at an old revision": lambda: store.range("/pods/", limit=PAGE, revision=90),
        f"list all {KEYS_LOADED:,}": lambda: store.range("/pods/"),
    }
    for name, work in rows.items():
        print(f"{name:<32} {await milliseconds(work, 5):>8.2f} ms")
    await store.close()
    start = time.perf_counter()
    store = await SqliteStore.open(path)
    print(f"{f'open with {KEYS_LOADED:,} objects':<32} {time.perf_counter() - start:>8.2f} s")
    await store.close()


async def fan_out() -> None:
    store = MemoryStore()
    for watchers in (1, 100, 1000):
        watches = [store.watch("/pods/", store.revision + 1) for _ in range(watchers)]

        async def one_event() -> None:
            await store.apply(Txn((Put("/pods/a", VALUE),)))
            await asyncio.gather(*(anext(aiter(w)) for w in watches))  # noqa: B023

        print(f"{f'event to {watchers} watchers':<32} {await milliseconds(one_event):>8.2f} ms")
        for watch in watches:
            watch.close()
    await store.close()


async def main(directory: Path) -> None:
    await writing(directory)
    print()
    await reading(directory)
    await fan_out()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as chosen:
        asyncio.run(main(Path(chosen)))
