"""From a call to a service that is scaled to zero until its answer: the call is held meanwhile."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterable
from typing import Any

import aiohttp

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import (
    Weft,
    envoy_back_end,
    first_answer,
    istio,
    pod,
    service,
    until,
    weft,
)
from weft.api.registry import by_name

ROUNDS = 20
AT_ONCE = 50
BURSTS = 3
HOST = "web.test"
AFTER = "weft.dev/scale-to-zero-after"
DEPLOYMENTS = by_name("deployment")


def objects() -> list[dict[str, Any]]:
    """A Deployment that sleeps, its Service and a way in."""
    template = pod("web", "answer:1", {"app": "web"}, port=8080)
    template["metadata"] = {"labels": {"app": "web"}}
    template["spec"]["containers"][0].pop("readinessProbe")
    del template["apiVersion"], template["kind"]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {AFTER: "1h"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [HOST]}
    gateway = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    route = {"route": [{"destination": {"host": "web"}}]}
    routes = {"hosts": [HOST], "gateways": ["front"], "http": [route]}
    return [
        deployment,
        service("web"),
        istio("Gateway", "front", gateway),
        istio("VirtualService", "web", routes),
    ]


async def put_to_sleep(instance: Weft) -> None:
    """No replicas, no pods, and proxies that hold calls."""
    assert DEPLOYMENTS is not None
    body = {"spec": {"replicas": 0}}
    await instance.connection.client.patch(DEPLOYMENTS, "web", body, "default", subresource="scale")

    async def asleep() -> bool:
        found = await instance.connection.json("GET", "/api/v1/namespaces/default/services/web")
        notes = json.dumps(found["metadata"].get("annotations", {}))
        return '"asleep"' in notes and not await instance.pods("app=web")

    await until(asleep, "it sleeps", 0.05)


async def call(session: aiohttp.ClientSession, url: str) -> tuple[float, bool]:
    """Seconds until the answer, and whether it was one."""
    began = time.monotonic()
    try:
        async with session.get(url, headers={"Host": HOST}) as answer:
            await answer.read()
            return time.monotonic() - began, answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return time.monotonic() - began, False


async def measure() -> list[Row]:
    async with weft() as instance:
        envoy_back_end(instance)
        await instance.apply(*objects())
        url = await instance.gateway()
        await first_answer(url, HOST)
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            awake = [(await call(session, url))[0] * 1000 for _ in range(ROUNDS)]
            single: list[float] = []
            burst: list[float] = []
            failed = 0
            for _ in range(ROUNDS):
                await put_to_sleep(instance)
                seconds, answered = await call(session, url)
                single.append(seconds * 1000)
                failed += not answered
            for _ in range(BURSTS):
                await put_to_sleep(instance)
                found = await asyncio.gather(*(call(session, url) for _ in range(AT_ONCE)))
                burst += [seconds * 1000 for seconds, _ in found]
                failed += sum(not answered for _, answered in found)
    base = "awake: one call"
    return [
        Row(base, "ms", tuple(awake)),
        Row("asleep: one call", "ms", tuple(single), base),
        Row("asleep: one call, p99", "ms", (p99(single),), base),
        Row(f"asleep: each of {AT_ONCE} calls at once", "ms", tuple(burst), base),
        Row(f"asleep: each of {AT_ONCE} calls at once, p99", "ms", (p99(burst),), base),
        Row(f"calls that failed, of {ROUNDS + BURSTS * AT_ONCE}", "calls", (failed,), goal=0),
    ]


def p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100, method="inclusive")[98]


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "scale_from_zero",
    "Calls to a service without replicas, through a gateway: they are held until its program (an"
    " Envoy with one route) has started and answered.",
    run,
)
