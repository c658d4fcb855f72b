"""Requests to the API server over HTTPS, as clients make them: per second, and what each costs."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import Weft, kind_of, weft
from weft.runtime.http_client import HttpClient

SIDE_BY_SIDE = 16
OBJECTS = 600
WATCHED_WRITES = 20
REPEATS = {"get": 1500, "list": 30, "patch": 600}


def config_map(number: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"c{number}", "labels": {"group": str(number % 10)}},
        "data": {"text": "x" * 500},
    }


KIND = kind_of(config_map(0))


async def rate(
    instance: Weft, what: str, count: int, call: Callable[[int], Awaitable[object]]
) -> list[Row]:
    """Make `count` calls, some side by side; per second, and CPU of the server for each."""
    waiting = iter(range(count))

    async def client() -> None:
        for number in waiting:
            await call(number)

    cpu, start = instance.daemon.cpu_seconds(), time.monotonic()
    await asyncio.gather(*(client() for _ in range(SIDE_BY_SIDE)))
    seconds = time.monotonic() - start
    used = (instance.daemon.cpu_seconds() - cpu) / count
    return [
        Row(f"{what} per second", "1/s", (count / seconds,), "get per second"),
        Row(
            f"CPU of the server for one {what}",
            "µs",
            (used * 1e6,),
            "CPU of the server for one get",
        ),
    ]


async def watch_delay(client: HttpClient) -> tuple[float, ...]:
    """Milliseconds from sending a write to its event at a watcher."""
    version = (await client.list(KIND, "default")).resource_version
    stream = client.watch(KIND, "default", resource_version=version)
    delays = []
    for number in range(WATCHED_WRITES):
        start = time.monotonic()
        wait = asyncio.ensure_future(anext(stream))
        body = {"data": {"text": f"watched {number}"}}
        _, _ = await asyncio.gather(wait, client.patch(KIND, "c0", body, "default"))
        delays.append((time.monotonic() - start) * 1000)
    return tuple(delays)


async def measure() -> list[Row]:
    async with weft() as instance:
        client = instance.connection.client
        create = await rate(
            instance, "create", OBJECTS, lambda n: client.create(KIND, config_map(n), "default")
        )
        get = await rate(
            instance,
            "get",
            REPEATS["get"],
            lambda n: client.get(KIND, f"c{n % OBJECTS}", "default"),
        )
        listed = await rate(
            instance, f"list of {OBJECTS}", REPEATS["list"], lambda _: client.list(KIND, "default")
        )
        patch = await rate(
            instance,
            "patch",
            REPEATS["patch"],
            lambda n: client.patch(
                KIND, f"c{n % OBJECTS}", {"data": {"n": str(n)}}, "default", patch_type="strategic"
            ),
        )
        seen = Row("write until a watcher sees it", "ms", await watch_delay(client))
        return [*get, *create, *patch, *listed, seen]


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "api",
    f"Requests over HTTPS, {SIDE_BY_SIDE} side by side from one Python client (which shares the "
    "machine: the CPU of the server says more than the rate).",
    run,
)
