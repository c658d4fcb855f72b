"""Rollouts under load: do requests fail while versions change, and how long does a change take?"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from benchmarks.harness import Benchmark, Row
from benchmarks.instance import Weft, first_answer, istio, weft
from benchmarks.propagation import GATEWAY_SERVER, PROGRAM
from weft.api import registry
from weft.api.argo.rollout import Rollout

ROLLOUTS_DEFAULT = 20
WIDTH = 12
"""Rollouts that change at the same time: canaries and blue-greens by turns."""
CLIENTS = 2
"""For each of them."""
PAUSE_SECONDS = 0.03
HEALTHY_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.25
SECONDS_MAX = 1800.0
"""After this no further change is begun."""
STEPS = [{"setWeight": 50}, {"pause": {"duration": 1}}]


def count() -> int:
    """Changes of a version in all: --rollouts N."""
    return int(os.environ.get("WEFT_BENCH_ROLLOUTS") or ROLLOUTS_DEFAULT)


def template(name: str, revision: int) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    container = {
        "name": "main", "image": "names:1", "readinessProbe": probe,
        "env": [{"name": "REVISION", "value": str(revision)}],
        "ports": [{"name": "http", "containerPort": 8080}],
    }  # fmt: skip
    return {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}}  # fmt: skip


def objects(number: int) -> list[Mapping[str, Any]]:
    """One Rollout with its Services and its way in."""
    name = f"r{number}"
    if number % 2:
        services = (name, f"{name}-preview")
        strategy: dict[str, Any] = {"blueGreen": {
            "activeService": services[0], "previewService": services[1],
            "scaleDownDelaySeconds": 1}}  # fmt: skip
        shares = (100,)
    else:
        services = (name, f"{name}-canary")
        routing = {"istio": {"virtualService": {"name": name}}}
        strategy = {"canary": {
            "stableService": services[0], "canaryService": services[1], "steps": STEPS,
            "trafficRouting": routing, "scaleDownDelaySeconds": 1}}  # fmt: skip
        shares = (100, 0)
    made: list[Mapping[str, Any]] = [service(each, name) for each in services]
    route = [
        {"destination": {"host": host}, "weight": weight}
        for host, weight in zip(services, shares, strict=False)
    ]
    way = {"hosts": [f"{name}.test"], "gateways": ["edge"], "http": [{"route": route}]}
    made.append(istio("VirtualService", name, way))
    made.append({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
                 "template": template(name, 0), "strategy": strategy, "revisionHistoryLimit": 1},
    })  # fmt: skip
    return made


def service(name: str, app: str) -> Mapping[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "ports": ports}}  # fmt: skip


class Clients:
    """They ask all the time, and count."""

    def __init__(self, url: str, hosts: Iterable[str]) -> None:
        self._url = url
        self._hosts = [host for host in hosts for _ in range(CLIENTS)]
        self.answered = self.failed = 0
        self.first_failure = ""
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> "Clients":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        self._tasks = [asyncio.ensure_future(self._ask(host)) for host in self._hosts]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _ask(self, host: str) -> None:
        while True:
            try:
                async with self._session.get(self._url, headers={"Host": host}) as answer:
                    text = await answer.text()
                    good = answer.status == 200
            except (aiohttp.ClientError, TimeoutError) as error:
                good, text = False, repr(error)
            self.answered += 1
            if not good:
                self.failed += 1
                self.first_failure = self.first_failure or f"{host}: {text[:200]}"
            await asyncio.sleep(PAUSE_SECONDS)


async def healthy(instance: Weft, name: str) -> None:
    path = f"/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/{name}"

    async def look() -> bool:
        found = await instance.connection.json("GET", path)
        status = found.get("status") or {}
        seen = status.get("observedGeneration") == str(found["metadata"]["generation"])
        return bool(seen and status.get("phase") == "Healthy")

    end = time.monotonic() + HEALTHY_SECONDS_MAX
    while not await look():
        if time.monotonic() > end:
            raise RuntimeError(f"{name} is not healthy")
        await asyncio.sleep(LOOK_SECONDS)


async def change(
    instance: Weft, name: str, revisions: Iterable[int], taken: list[float], until: float
) -> None:
    """One version after the other, until there is none left or the time is over."""
    kind = registry.kind_for(Rollout)
    for revision in revisions:
        began = time.monotonic()
        if began > until:
            return
        body = {"spec": {"template": template(name, revision)}}
        await instance.connection.client.patch(kind, name, body, "default")
        await healthy(instance, name)
        taken.append(time.monotonic() - began)


async def measure() -> list[Row]:
    async with weft() as instance:
        folder = instance.directory / "names"
        folder.mkdir()
        (folder / "app.py").write_text(PROGRAM)
        instance.image("names:1", folder, "python", "app.py")
        server = {"selector": {"istio": "ingressgateway"}, "servers": [GATEWAY_SERVER]}
        await instance.apply(istio("Gateway", "edge", server))
        names = [f"r{number}" for number in range(WIDTH)]
        for number in range(WIDTH):
            await instance.apply(*objects(number))
        for name in names:
            await healthy(instance, name)
        url = f"{await instance.gateway()}/"
        for name in names:
            await first_answer(url, f"{name}.test")
        left = iter(range(1, count() + 1))
        taken: list[float] = []
        async with Clients(url, [f"{name}.test" for name in names]) as clients:
            began = time.monotonic()
            until = began + SECONDS_MAX
            await asyncio.gather(*(change(instance, name, left, taken, until) for name in names))
            seconds = time.monotonic() - began
    if clients.failed:
        print(f"first failure: {clients.first_failure}", flush=True)
    return [
        Row("rollouts", "number", (float(len(taken)),)),
        Row("requests meanwhile", "number", (float(clients.answered),)),
        Row("requests that failed", "number", (float(clients.failed),), goal=0.0),
        Row("one rollout, of two pods", "s", tuple(taken)),
        Row("rollouts per minute", "number", (len(taken) / seconds * 60,)),
    ]


def run() -> Iterable[Row]:
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "rollouts",
    f"{WIDTH} Rollouts (canaries by weight and blue-greens) change their version again and again "
    f"while {CLIENTS} clients ask each of them through a gateway. --rollouts N changes N versions.",
    run,
)
