"""Requests to the API server over HTTPS, as clients make them: per second, and what each costs.

With `--kubeconfig` the requests go to any Kubernetes API server, without figures of its processes.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from benchmarks.api_scale import server
from benchmarks.harness import Benchmark, Process, Row, milliseconds
from benchmarks.instance import kind_of
from weft.api import defaults, prepare, validation
from weft.runtime.http_client import HttpClient

SIDE_BY_SIDE = 16
OBJECTS = 600
WATCHED_WRITES = 20
REPEATS = {"get": 1500, "list": 30, "patch": 600}
VALIDATED_AT_ONCE = 200
VALIDATIONS = 10


def config_map(number: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"c{number}", "labels": {"group": str(number % 10)}},
        "data": {"text": "x" * 500},
    }


def deployment() -> dict[str, Any]:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "web:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "COLOR", "value": "blue"}],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": labels},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template},
    }


def virtual_service() -> dict[str, Any]:
    to = [{"destination": {"host": "web", "subset": "v1"}, "weight": 90},
          {"destination": {"host": "web", "subset": "v2"}, "weight": 10}]  # fmt: skip
    match = [{"uri": {"prefix": "/shop"}, "headers": {"end-user": {"exact": "me"}}}]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"hosts": ["web"], "http": [{"match": match, "route": to, "timeout": "3s"}]},
    }


KIND = kind_of(config_map(0))


def validations() -> list[Row]:
    """CPU time of one validation of a new object: shape and rules, after defaulting."""
    rows = []
    for made in ({**config_map(0)}, deployment(), virtual_service()):
        kind = kind_of(made)
        made["metadata"] = {**made["metadata"], "namespace": "default"}  # type: ignore[dict-item]
        ready = prepare.prepare_create(kind, defaults.default(kind, made), "u")
        errors = validation.validate_create(kind, ready)
        assert not errors, errors

        def work(kind: Any = kind, ready: Any = ready) -> None:
            for _ in range(VALIDATED_AT_ONCE):
                validation.validate_create(kind, ready)

        work()
        each = tuple(t * 1000 / VALIDATED_AT_ONCE for t in milliseconds(work, VALIDATIONS))
        size = len(json.dumps(ready))
        name = f"validation of a {kind.kind} of {size:,} bytes"
        rows.append(Row(name, "µs", each))
    return rows


async def rate(
    process: Process | None, what: str, count: int, call: Callable[[int], Awaitable[object]]
) -> list[Row]:
    """Make `count` calls, some side by side; per second, and CPU of the server for each."""
    waiting = iter(range(count))

    async def client() -> None:
        for number in waiting:
            await call(number)

    cpu = process.cpu_seconds() if process else 0.0
    start = time.monotonic()
    await asyncio.gather(*(client() for _ in range(SIDE_BY_SIDE)))
    seconds = time.monotonic() - start
    rows = [Row(f"{what} per second", "1/s", (count / seconds,), "get per second")]
    if process:
        used = (process.cpu_seconds() - cpu) / count
        name, base = f"CPU of the server for one {what}", "CPU of the server for one get"
        rows.append(Row(name, "µs", (used * 1e6,), base))
    return rows


async def watch_delay(client: HttpClient, space: str) -> tuple[float, ...]:
    """Milliseconds from sending a write to its event at a watcher."""
    version = (await client.list(KIND, space)).resource_version
    stream = client.watch(KIND, space, resource_version=version)
    delays = []
    for number in range(WATCHED_WRITES):
        start = time.monotonic()
        wait = asyncio.ensure_future(anext(stream))
        body = {"data": {"text": f"watched {number}"}}
        _, _ = await asyncio.gather(wait, client.patch(KIND, "c0", body, space))
        delays.append((time.monotonic() - start) * 1000)
    return tuple(delays)


async def requests(client: HttpClient, process: Process | None, space: str) -> list[Row]:
    create = await rate(
        process, "create", OBJECTS, lambda n: client.create(KIND, config_map(n), space)
    )
    get = await rate(
        process, "get", REPEATS["get"], lambda n: client.get(KIND, f"c{n % OBJECTS}", space)
    )
    listed = await rate(
        process, f"list of {OBJECTS}", REPEATS["list"], lambda _: client.list(KIND, space)
    )
    patch = await rate(
        process,
        "patch",
        REPEATS["patch"],
        lambda n: client.patch(
            KIND, f"c{n % OBJECTS}", {"data": {"n": str(n)}}, space, patch_type="strategic"
        ),
    )
    seen = Row("write until a watcher sees it", "ms", await watch_delay(client, space))
    return [*get, *create, *patch, *listed, seen]


async def measure() -> list[Row]:
    """In a namespace of its own, which is deleted afterwards."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    async with server() as (client, process):
        await client.create(kind_of(space), space)
        try:
            return await requests(client, process, name)
        finally:
            await client.delete(kind_of(space), name)


def run() -> Iterable[Row]:
    return [*asyncio.run(measure()), *validations()]


BENCHMARK = Benchmark(
    "api",
    f"Requests over HTTPS, {SIDE_BY_SIDE} side by side from one Python client (which shares the "
    "machine: the CPU of the server says more than the rate).",
    run,
)
