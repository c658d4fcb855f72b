"""The API server with many objects and many watchers: lists, fan-out, memory, restart.

With `--kubeconfig` the requests go to any Kubernetes API server, without figures of its processes.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, Process, Row
from benchmarks.instance import Weft, kind_of
from weft.apiserver import codec, keys
from weft.runtime import kubeconfig
from weft.runtime.http_client import HttpClient
from weft.store.interface import Put, Txn
from weft.store.sqlite import SqliteStore

KUBECONFIG = "WEFT_BENCH_KUBECONFIG"
SIZES = (1_000, 10_000)
STORED = (1_000, 10_000, 100_000)
WATCHERS = 1_000
FANNED_OUT = 10
CONNECTED_AT_ONCE = 20
FAN_OUT_SECONDS_MAX = 180
SIDE_BY_SIDE = 16
REPEATS = 5
PAGE = 500
FILLED_AT_ONCE = 500
BORN = "2026-01-01T00:00:00Z"


def config_map(number: int, namespace: str) -> dict[str, Any]:
    """About 1 kB."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"c{number:06}",
            "namespace": namespace,
            "labels": {"tenth": str(number % 10)},
        },
        "data": {"text": "x" * 800},
    }


KIND = kind_of(config_map(0, "default"))
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ""}}


async def create(client: HttpClient, namespace: str, count: int) -> None:
    space = {**NAMESPACE, "metadata": {"name": namespace}}
    await client.create(kind_of(space), space)
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await client.create(KIND, config_map(number, namespace), namespace)

    await asyncio.gather(*(one() for _ in range(SIDE_BY_SIDE)))


async def lists(client: HttpClient, server: Process | None, count: int) -> list[Row]:
    """All at once, by pages, and a tenth by label."""
    namespace = f"scale-{count}"
    await create(client, namespace, count)

    async def whole() -> int:
        return len((await client.list(KIND, namespace)).items)

    async def paged() -> int:
        found, token = 0, ""
        while True:
            page = await client.list(KIND, namespace, limit=PAGE, continue_token=token)
            found, token = found + len(page.items), page.continue_token
            if not token:
                return found

    async def tenth() -> int:
        return 10 * len((await client.list(KIND, namespace, label_selector="tenth=3")).items)

    rows = []
    for what, call in (("", whole), (f", pages of {PAGE}", paged), (", a tenth by label", tenth)):
        times, used = [], server.cpu_seconds() if server else 0.0
        for _ in range(REPEATS):
            start = time.monotonic()
            assert await call() == count
            times.append((time.monotonic() - start) * 1000)
        name = f"list of {count:,}{what}"
        rows.append(Row(name, "ms", tuple(times), f"list of {SIZES[0]:,}{what}"))
        if server:
            cost = (server.cpu_seconds() - used) * 1000 / REPEATS
            base = f"CPU of the server, list of {SIZES[0]:,}{what}"
            rows.append(Row(f"CPU of the server, {name}", "ms", (cost,), base))
    return rows


async def fan_out(client: HttpClient, server: Process | None) -> list[Row]:
    """One write until the last of many watchers has seen it."""
    await create(client, "fan", 1)
    version = (await client.list(KIND, "fan")).resource_version
    seen = 0
    all_seen = asyncio.Event()
    connecting = asyncio.Semaphore(CONNECTED_AT_ONCE)

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == WATCHERS:
            all_seen.set()

    async def watcher() -> None:
        await connecting.acquire()
        first = True
        async for event in client.watch(KIND, "fan", resource_version=version):
            if event.type != "BOOKMARK":
                count()
                if first:
                    connecting.release()
                first = False

    async def write(number: int) -> float:
        nonlocal seen
        start = time.monotonic()
        await client.patch(KIND, "c000000", {"data": {"n": str(number)}}, "fan")
        async with asyncio.timeout(FAN_OUT_SECONDS_MAX):
            await all_seen.wait()
        seen = 0
        all_seen.clear()
        return (time.monotonic() - start) * 1000

    tasks = [asyncio.ensure_future(watcher()) for _ in range(WATCHERS)]
    try:
        await write(0)  # whoever connects later sees this one, too: it tells who is there
        used = server.cpu_seconds() if server else 0.0
        times = [await write(number) for number in range(1, FANNED_OUT + 1)]
        rows = [Row(f"one write until {WATCHERS:,} watchers saw it", "ms", tuple(times))]
        if server:
            cost = (server.cpu_seconds() - used) * 1e6 / FANNED_OUT / WATCHERS
            rows.append(Row("CPU of the server for an event of one watcher", "µs", (cost,)))
        return rows
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fill(instance: Weft, count: int) -> None:
    """Write objects into the store of an instance that is stopped."""
    store = await SqliteStore.open(instance.directory / "store.db")
    try:
        for start in range(0, count, FILLED_AT_ONCE):
            ops = []
            for number in range(start, min(start + FILLED_AT_ONCE, count)):
                obj = config_map(number, "default")
                born = {"uid": str(uuid.UUID(int=number)), "creationTimestamp": BORN}
                obj["metadata"] |= born
                value = codec.to_stored(KIND, obj)
                ops.append(Put(keys.key(KIND, f"c{number:06}", "default"), value))
            await store.apply(Txn(tuple(ops)))
    finally:
        await store.close()


async def stored(count: int) -> list[Row]:
    """Memory and start with so many objects."""
    instance = Weft()
    try:
        await instance.start()
        await instance.stop()
        await fill(instance, count)
        seconds = await instance.start()
        memory = instance.daemon.rss()
        await instance.stop()
    finally:
        instance.remove()
    first = f"{STORED[0]:,} objects"
    return [
        Row(f"memory of the daemon, {count:,} objects", "MB", (memory,),
            f"memory of the daemon, {first}"),
        Row(f"restart, {count:,} objects", "s", (seconds,), f"restart, {first}"),
    ]  # fmt: skip


@asynccontextmanager
async def server() -> AsyncIterator[tuple[HttpClient, Process | None]]:
    """The API server of a kubeconfig, or an instance of our own."""
    if path := os.environ.get(KUBECONFIG):
        client = HttpClient(kubeconfig.read(Path(path)))
        try:
            yield client, None
        finally:
            await client.close()
        return
    instance = Weft()
    try:
        await instance.start()
        yield instance.connection.client, instance.daemon
    finally:
        await instance.stop()
        instance.remove()


async def measure() -> list[Row]:
    rows: list[Row] = []
    async with server() as (client, process):
        for count in SIZES:
            rows += await lists(client, process, count)
        rows += await fan_out(client, process)
    if KUBECONFIG not in os.environ:
        for count in STORED:
            rows += await stored(count)
    return rows


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark("api_scale", "The API server with many objects and many watchers.", run)
