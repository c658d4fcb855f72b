"""One route changed among thousands: when does traffic follow, and what does it cost?"""

import asyncio
import contextlib
import functools
import itertools
import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp

from benchmarks.harness import Benchmark, Process, Row
from benchmarks.instance import Weft, first_answer, istio, pod, service, unstarted
from benchmarks.propagation import GATEWAY_SERVER, PROGRAM, Traffic
from weft.api import registry
from weft.api.errors import ApiError
from weft.apiserver.addresses import Ranges
from weft.apiserver.app import ApiServer
from weft.apiserver.app import Settings as ApiSettings
from weft.store.sqlite import SqliteStore

ROUTES = 3000
ROUNDS = 40
LOAD_CHANGES = 20
LOAD_CLIENTS = 4
LOAD_PAUSE_SECONDS = 0.005
PROBE_PAUSE_SECONDS = 0.001
STATUSES_SECONDS = 30.0
"""After the start all objects get their first status."""
GATEWAY_PORT = 80
Json = Mapping[str, Any]
Maker = Callable[[int, str], Json]


def host_of(number: int) -> str:
    return f"r{number}.example.com"


def virtual_service(number: int, back_end: str) -> Json:
    spec = {
        "hosts": [host_of(number)],
        "gateways": ["edge"],
        "http": [{"route": [{"destination": {"host": back_end}}]}],
    }
    return istio("VirtualService", f"r{number}", spec)


def http_route(number: int, back_end: str) -> Json:
    spec = {
        "parentRefs": [{"name": "edge"}],
        "hostnames": [host_of(number)],
        "rules": [{"backendRefs": [{"name": back_end, "port": 80}]}],
    }
    return gateway_api("HTTPRoute", f"r{number}", spec)


def gateway_api(kind: str, name: str, spec: Json) -> Json:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


EDGES: Mapping[str, Json] = {
    "VirtualService": istio(
        "Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [GATEWAY_SERVER]}
    ),
    "HTTPRoute": {
        **gateway_api(
            "Gateway",
            "edge",
            {
                "gatewayClassName": "weft",
                "listeners": [{"name": "http", "port": GATEWAY_PORT, "protocol": "HTTP"}],
            },
        ),
    },
}


def _kind(obj: Json) -> Any:
    kind = registry.kind_of(dict(obj))
    assert kind is not None
    return kind


async def store(instance: Weft, objects: Iterable[Json]) -> None:
    """Create objects in the data directory before weft starts: thousands of them in seconds."""
    opened = await SqliteStore.open(instance.directory / "store.db")
    api = ApiServer(opened, ApiSettings(ranges=Ranges(), weft_version="benchmark"))
    client = api.local_client()
    default = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    with contextlib.suppress(ApiError):
        await client.create(_kind(default), default)
    for obj in objects:
        await client.create(_kind(obj), obj, "default")
    await opened.close()


async def prepare(instance: Weft, kind: str, make: Maker) -> str:
    """Services `one` and `two`, and all routes to `one`; the gateway's URL."""
    folder = instance.directory / "names"
    folder.mkdir()
    (folder / "app.py").write_text(PROGRAM)
    instance.image("names:1", folder, "python", "app.py")
    names = ("one", "two")
    pods = [pod(f"{name}-0", "names:1", {"app": name}, port=8080) for name in names]
    routes = (make(number, "one") for number in range(ROUTES))
    await store(instance, (EDGES[kind], *map(service, names), *routes))
    await instance.start()
    await instance.apply(*pods)
    await instance.ready("", len(names))
    url = f"{await instance.gateway(GATEWAY_PORT)}/"
    for number in (0, ROUTES - 1):
        await first_answer(url, host_of(number))
    return url


class Load:
    """Clients that ask for routes that nobody changes; every answer other than 200 counts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tasks: list[asyncio.Future[None]] = []
        self.requests = 0
        self.failed = 0

    async def __aenter__(self) -> "Load":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._tasks = [asyncio.ensure_future(self._client()) for _ in range(LOAD_CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _client(self) -> None:
        while True:
            headers = {"host": host_of(random.randrange(ROUTES))}
            try:
                async with self._session.get(self._url, headers=headers) as answer:
                    await answer.read()
                    good = answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                good = False
            self.requests += 1
            self.failed += not good
            await asyncio.sleep(LOAD_PAUSE_SECONDS)


async def change(instance: Weft, make: Maker, url: str, rounds: int) -> list[tuple[float, ...]]:
    """One route after another goes from `one` to `two`."""
    taken = []
    client = instance.connection.client
    for number in random.sample(range(ROUTES), rounds):
        body = {"spec": make(number, "two")["spec"]}
        kind = _kind(make(number, "two"))
        patch = functools.partial(client.patch, kind, f"r{number}", body, "default")
        async with Traffic(url, host_of(number), PROBE_PAUSE_SECONDS) as traffic:
            taken.append(await traffic.change(patch, re.compile("two").match))
    return taken


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def measure(kind: str, make: Maker) -> list[Row]:
    async with unstarted() as instance:
        url = await prepare(instance, kind, make)
        await asyncio.sleep(STATUSES_SECONDS)
        daemon, envoy = itertools.islice((await instance.processes()).values(), 2)
        before = daemon.cpu_seconds(), envoy.cpu_seconds()
        taken = await change(instance, make, url, ROUNDS)
        cpu = [
            (after.cpu_seconds() - then) * 1000 / ROUNDS
            for after, then in zip((daemon, envoy), before, strict=True)
        ]
        async with Load(url) as load:
            await change(instance, make, url, LOAD_CHANGES)
        return rows(kind, taken, cpu, load, daemon, envoy)


def rows(
    kind: str,
    taken: list[tuple[float, ...]],
    cpu: list[float],
    load: Load,
    daemon: Process,
    envoy: Process,
) -> list[Row]:
    accepted, new, old = (tuple(values) for values in zip(*taken, strict=True))
    base = f"{kind}: the API write alone"
    what = f"{kind}: until the first answer of the new route"
    return [
        Row(base, "ms", accepted),
        Row(what, "ms", new, base, goal=30.0),
        Row(f"{what}, p99", "ms", (percentile(new, 0.99),), goal=100.0),
        Row(f"{kind}: until the last request that took the old one", "ms", old, base),
        Row(f"{kind}: CPU of the daemon per change", "ms", (cpu[0],)),
        Row(f"{kind}: CPU of Envoy per change, probing requests included", "ms", (cpu[1],)),
        Row(
            f"{kind}: requests under load that failed, of {load.requests:,}",
            "number",
            (float(load.failed),),
            goal=0.0,
        ),
        Row(f"{kind}: memory of the daemon", "MB", (daemon.rss(),), goal=570.0),
        Row(f"{kind}: memory of Envoy", "MB", (envoy.rss(),)),
    ]


def run() -> Iterable[Row]:
    found: list[Row] = []
    for kind, make in (("VirtualService", virtual_service), ("HTTPRoute", http_route)):
        found += asyncio.run(measure(kind, make))
    return found


BENCHMARK = Benchmark(
    "many_routes",
    f"{ROUTES:,} routes, each of a host name of its own, at a gateway; one is changed. Times from "
    "sending the change, the write included.",
    run,
)
