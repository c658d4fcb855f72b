"""Load balancing with one slow replica of three: what callers wait, and what the slow one gets."""

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import first_answer, istio, pod, service, weft

APP = Path(__file__).parent.parent / "tests" / "e2e" / "apps" / "lag"
FAST_SECONDS, SLOW_SECONDS = 0.05, 1.0
CLIENTS = 6
"""Each with one request under way at a time."""
WARM_SECONDS, SECONDS = 4.0, 8.0
ALGORITHMS = {
    "random": "RANDOM",
    "round robin": "ROUND_ROBIN",
    "least request": "LEAST_REQUEST",
    "least response time": "",
}
BASE = "round robin"


class Result(Struct, frozen=True):
    p50: float
    """Milliseconds."""
    p95: float
    p99: float
    rate: float
    """Requests per second."""
    slow: float
    """Percent of the requests that the slow replica got."""


def objects(names: Iterable[str]) -> list[dict[str, Any]]:
    """A service, a route and a policy for each algorithm, all of the same three pods."""
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*.test"]}
    selector = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    made: list[dict[str, Any]] = [istio("Gateway", "front", selector)]
    for name in names:
        host = name.replace(" ", "-")
        made.append(service(host))
        made[-1]["spec"]["selector"] = {"app": "lag"}
        route = {"route": [{"destination": {"host": host}}]}
        spec = {"hosts": [f"{host}.test"], "gateways": ["front"], "http": [route]}
        made.append(istio("VirtualService", host, spec))
        made.append(policy(host, ALGORITHMS[name]))
    return made


def policy(host: str, simple: str) -> dict[str, Any]:
    if simple:
        balancer = {"loadBalancer": {"simple": simple}}
        return istio("DestinationRule", host, {"host": host, "trafficPolicy": balancer})
    return {
        "apiVersion": "policy.weft.dev/v1alpha1", "kind": "BackendPolicy",
        "metadata": {"name": host},
        "spec": {"targetRef": {"kind": "Service", "name": host},
                 "loadBalancer": "leastResponseTime"},
    }  # fmt: skip


async def load(url: str, host: str) -> Result:
    taken: list[float] = []
    answered: Counter[str] = Counter()
    start = time.monotonic() + WARM_SECONDS
    end = start + SECONDS

    async with aiohttp.ClientSession(headers={"Host": host}) as session:

        async def client() -> None:
            while (sent := time.monotonic()) < end:
                async with session.get(url) as answer:
                    name = await answer.text()
                    assert answer.status == 200, name
                if sent >= start:
                    taken.append((time.monotonic() - sent) * 1000)
                    answered[name] += 1

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    cuts = statistics.quantiles(taken, n=100)
    share = 100 * answered["slow"] / answered.total()
    return Result(cuts[49], cuts[94], cuts[98], len(taken) / SECONDS, share)


async def measure() -> list[Row]:
    rows: list[Row] = []
    async with weft() as instance:
        instance.image("lag:1", APP, sys.executable, "app.py")
        delays = {"fast-a": FAST_SECONDS, "fast-b": FAST_SECONDS, "slow": SLOW_SECONDS}
        await instance.apply(
            *(lag_pod(name, delay) for name, delay in delays.items()), *objects(ALGORITHMS)
        )
        await instance.ready("app=lag", len(delays))
        url = await instance.gateway()
        for name in ALGORITHMS:
            host = f"{name.replace(' ', '-')}.test"
            await first_answer(url, host)
            found = await load(url, host)
            rows += [
                Row(f"{name}: p50", "ms", (found.p50,), f"{BASE}: p50"),
                Row(f"{name}: p95", "ms", (found.p95,), f"{BASE}: p95"),
                Row(f"{name}: p99", "ms", (found.p99,), f"{BASE}: p99"),
                Row(f"{name}: requests", "1/s", (found.rate,), f"{BASE}: requests"),
                Row(f"{name}: share of the slow replica", "%", (found.slow,)),
            ]
    return rows


def lag_pod(name: str, delay: float) -> dict[str, Any]:
    made = pod(name, "lag:1", {"app": "lag"}, port=8080)
    container = made["spec"]["containers"][0]
    container["env"] = [{"name": "NAME", "value": name}, {"name": "DELAY", "value": str(delay)}]
    return made


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "slow_replica",
    f"Three replicas, one of which takes {SLOW_SECONDS / FAST_SECONDS:.0f} times as long:"
    f" what {CLIENTS} callers wait under each load balancer, and the slow one's share.",
    run,
)
