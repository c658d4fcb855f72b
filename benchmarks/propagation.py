"""How long a change takes until traffic shows it, measured by requests through the mesh."""

import asyncio
import functools
import operator
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import aiohttp

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import (
    Weft,
    first_answer,
    is_ready,
    istio,
    kind_of,
    pod,
    service,
    until,
    weft,
)

ROUNDS = 15
POD_ROUNDS = 5
CLIENTS = 2
SETTLE_SECONDS = 0.15
"""Between changes, more or less at random, so that they do not fall in step with anything."""
PATIENCE_SECONDS = 5.0
GATEWAY_SERVER = {
    "port": {"number": 80, "name": "http", "protocol": "HTTP"},
    "hosts": ["*"],
}
PROGRAM = """
import asyncio, os
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%s"
BODY = os.environ["HOSTNAME"].encode()
class Server(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(ANSWER % (len(BODY), BODY))
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, os.environ.get("HOST", "0.0.0.0"),
                                      int(os.environ.get("PORT", "8080")))
    await server.serve_forever()
asyncio.run(main())
"""
"""Answers every request with its pod's name; requests arrive one at a time, in one piece."""


class Traffic:
    """Clients that ask all the time, and note (asked, answered, who answered)."""

    def __init__(self, url: str, host: str = "", pause_seconds: float = 0.0) -> None:
        """`host` goes into the Host header; clients rest between requests."""
        self._url = url
        self._headers = {"host": host} if host else {}
        self._pause = pause_seconds
        self.answers: list[tuple[float, float, str]] = []
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> "Traffic":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._tasks = [asyncio.ensure_future(self._client()) for _ in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _client(self) -> None:
        while True:
            asked = time.monotonic()
            try:
                async with self._session.get(self._url, headers=self._headers) as answer:
                    text = await answer.text() if answer.status == 200 else str(answer.status)
            except (aiohttp.ClientError, TimeoutError) as error:
                text = repr(error)
            self.answers.append((asked, time.monotonic(), text))
            await asyncio.sleep(self._pause)

    def failed(self, names: Iterable[str]) -> int:
        known = set(names)
        return sum(text not in known for _, _, text in self.answers)

    async def change(
        self, act: Callable[[], Awaitable[object]], is_new: Callable[[str], object]
    ) -> tuple[float, float, float]:
        """Milliseconds from sending the change until: the API accepted it; a new answer came;
        the last old one was asked for."""
        await asyncio.sleep(SETTLE_SECONDS * random.uniform(0.5, 1.5))
        self.answers.clear()
        start = time.monotonic()
        await act()
        accepted = time.monotonic()
        while time.monotonic() < accepted + PATIENCE_SECONDS:
            await asyncio.sleep(SETTLE_SECONDS)
            latest = [text for _, _, text in self.answers[-CLIENTS * 4 :]]
            if len(latest) == CLIENTS * 4 and all(map(is_new, latest)):
                break
        new = min(done for _, done, text in self.answers if is_new(text))
        old = max((asked for asked, _, text in self.answers if not is_new(text)), default=start)
        return tuple((t - start) * 1000 for t in (accepted, new, max(old, start)))  # type: ignore[return-value]


def route(name: str, one: int, two: int) -> Mapping[str, Any]:
    weighted = [
        {"destination": {"host": host}, "weight": weight}
        for host, weight in (("one", one), ("two", two))
    ]
    return istio(
        "VirtualService",
        name,
        {"hosts": ["*"], "gateways": ["edge"], "http": [{"route": weighted}]},
    )


async def prepare(instance: Weft) -> str:
    """Services `one` and `two`, and a gateway whose traffic a route sends to `one`."""
    folder = instance.directory / "names"
    folder.mkdir()
    (folder / "app.py").write_text(PROGRAM)
    instance.image("names:1", folder, "python", "app.py")
    edge = istio(
        "Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [GATEWAY_SERVER]}
    )
    for name in ("one", "two"):
        await instance.apply(service(name), pod(f"{name}-0", "names:1", {"app": name}, port=8080))
    await instance.apply(edge, route("edge", 100, 0))
    await instance.ready("", 2)
    url = f"{await instance.gateway()}/"
    await first_answer(url)
    return url


async def routes(instance: Weft, url: str) -> list[Row]:
    """All traffic moves from one service to the other and back."""
    client = instance.connection.client
    kind = kind_of(route("edge", 1, 0))
    taken = []
    async with Traffic(url) as traffic:
        for number in range(ROUNDS):
            name, shares = ("two", (0, 100)) if number % 2 == 0 else ("one", (100, 0))
            body = {"spec": route("edge", *shares)["spec"]}
            patch = functools.partial(client.patch, kind, "edge", body, "default")
            taken.append(await traffic.change(patch, re.compile(name).match))
    accepted, new, old = zip(*taken, strict=True)
    base = "route change: the API write alone"
    return [
        Row(base, "ms", accepted),
        Row("route change: first answer of the new route", "ms", new, base),
        Row("route change: last request that took the old one", "ms", old, base),
    ]


async def endpoints(instance: Weft, url: str) -> list[Row]:
    """Again and again a second pod of `one` comes, and is deleted."""
    came, taken, failed = [], [], 0
    connection = instance.connection
    async with Traffic(url) as traffic:
        for number in range(1, POD_ROUNDS + 1):
            name = f"one-{number}"
            path = f"/api/v1/namespaces/default/pods/{name}"
            traffic.answers.clear()
            came.append(await appearance(instance, traffic, name))
            failed += traffic.failed({"one-0", name})
            delete = functools.partial(connection.json, "DELETE", path)
            taken.append(await traffic.change(delete, functools.partial(operator.ne, name)))
            failed += traffic.failed({"one-0", name})
    ready, answered = zip(*came, strict=True)
    accepted, _, old = zip(*taken, strict=True)
    base, start = "pod deleted: the API write alone", "pod created: until ready in the API"
    return [
        Row(start, "ms", ready),
        Row("pod created: until its first answer", "ms", answered, start),
        Row(base, "ms", accepted),
        Row("pod deleted: last request that it was given", "ms", old, base),
        Row("requests that failed meanwhile", "number", (float(failed),), goal=0.0),
    ]


async def appearance(instance: Weft, traffic: Traffic, name: str) -> tuple[float, float]:
    """Milliseconds from creating a pod of `one` until the API shows it ready, and until it was
    seen to answer."""
    start = time.monotonic()
    await instance.apply(pod(name, "names:1", {"app": "one"}, port=8080))

    async def ready() -> float | None:
        path = f"/api/v1/namespaces/default/pods/{name}"
        return time.monotonic() if is_ready(await instance.connection.json("GET", path)) else None

    async def answered() -> float | None:
        return next((done for _, done, text in traffic.answers if text == name), None)

    first = await until(ready, f"{name} ready")
    return (first - start) * 1000, (await until(answered, f"{name} answers") - start) * 1000


async def measure() -> list[Row]:
    async with weft() as instance:
        url = await prepare(instance)
        changed = await routes(instance, url)
        client = instance.connection.client
        body = {"spec": route("edge", 100, 0)["spec"]}
        await client.patch(kind_of(route("edge", 1, 0)), "edge", body, "default")
        await asyncio.sleep(SETTLE_SECONDS)
        return [*changed, *await endpoints(instance, url)]


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "propagation",
    f"{CLIENTS} clients ask through a gateway all the time; when does their traffic follow a "
    "change? Times from sending the change, the write included.",
    run,
)
