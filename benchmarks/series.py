"""How many series Prometheus gets from a mesh with thousands of routes that are all in use."""

import asyncio
from collections.abc import Iterable, Sequence

import aiohttp

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import Weft, first_answer, pod, service, unstarted, until
from benchmarks.many_routes import EDGES, GATEWAY_PORT, host_of, store, virtual_service
from benchmarks.propagation import PROGRAM

ROUTES = 5000
CLIENTS = 16
GOAL = 1000.0
NAMES = ("one", "two")
MESH, PROXY = "/metrics", "/weft/v1/proxy-metrics"


async def prepare(instance: Weft) -> str:
    """Two services, and routes to each in turn; the gateway's URL."""
    folder = instance.directory / "names"
    folder.mkdir()
    (folder / "app.py").write_text(PROGRAM)
    instance.image("names:1", folder, "python", "app.py")
    routes = (virtual_service(number, NAMES[number % 2]) for number in range(ROUTES))
    await store(instance, (EDGES["VirtualService"], *map(service, NAMES), *routes))
    await instance.start()
    await instance.apply(*(pod(f"{name}-0", "names:1", {"app": name}, port=8080) for name in NAMES))
    await instance.ready("", len(NAMES))
    url = f"{await instance.gateway(GATEWAY_PORT)}/"
    for number in (0, ROUTES - 1):
        await first_answer(url, host_of(number))
    return url


async def ask_all(url: str) -> None:
    """Each route once."""
    numbers = iter(range(ROUTES))

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.get(url, headers={"host": host_of(number)}) as answer:
                assert answer.status == 200, host_of(number)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


def series(page: str) -> Sequence[str]:
    """The lines that are samples."""
    return [line for line in page.splitlines() if line and not line.startswith("#")]


def requests(lines: Iterable[str]) -> float:
    found = (line for line in lines if line.startswith("istio_requests_total{"))
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def measure() -> list[Row]:
    async with unstarted() as instance:
        url = await prepare(instance)
        before = len(series(await instance.connection.text(PROXY)))
        await ask_all(url)

        async def counted() -> Sequence[str] | None:
            lines = series(await instance.connection.text(MESH))
            return lines if requests(lines) >= ROUTES else None

        mesh = await until(counted, f"{ROUTES} requests counted", 0.5)
        after = len(series(await instance.connection.text(PROXY)))
    calls = [line for line in mesh if line.startswith("istio_")]
    return [
        Row("series that Prometheus gets", "number", (float(len(mesh)),), goal=GOAL),
        Row("of them, of calls", "number", (float(len(calls)),)),
        Row("of them, of weft itself", "number", (float(len(mesh) - len(calls)),)),
        Row("what all the routes' use added in Envoy", "number", (float(after - before),)),
    ]


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "series",
    f"{ROUTES:,} routes, each of a host name of its own, at a gateway, to two services; each is "
    "asked once, then /metrics is counted, histograms' buckets included.",
    run,
)
