"""Limits of a destination in a proxy that callers share: each caller has its own."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

GREEDY, MODEST = "greedy.example", "modest.example"

START = """
import asyncio, os
from aiohttp import ClientSession, TCPConnector
BASE = "http://web:8000" if "http_proxy" not in os.environ else os.environ["http_proxy"]
HEADERS = {"Host": "web:8000"}
async def statuses(count, path):
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        async def one():
            async with session.get(BASE + path, headers=HEADERS) as answer:
                return answer.status
        return await asyncio.gather(*(one() for _ in range(count)))
"""

RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  trafficPolicy:
    connectionPool: {http: {http2MaxRequests: 3, http1MaxPendingRequests: 1}}
"""

PLAIN = """
---
apiVersion: v1
kind: Pod
metadata: {name: plain, labels: {app: plain}}
spec:
  containers: [{name: plain, image: "plain:1", ports: [{name: greet, containerPort: 2525}]}]
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec:
  selector: {app: plain}
  ports: [{name: tcp, port: 2500, targetPort: greet}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec:
  host: plain
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}
"""

POLICY = """
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: web}
spec:
  targetRef: {kind: Service, name: web}
  %s: 3
"""


@pytest.fixture(scope="module")
def net(weft: Instance) -> Instance:
    """Two callers and what they call."""
    text = "---".join([m.echo("greedy"), m.echo("modest"), m.echo("web", "v1", 1)])
    text += m.service("greedy") + m.service("modest") + m.service("web", 8000)
    text += m.gateway("front", "*.example")
    for name in ("greedy", "modest"):
        text += m.routes(f"{name}-front", m.to(name), f"{name}.example", "front")
    weft.weft("apply", "-f", "-", stdin=text)
    for name in ("greedy", "modest", "web"):
        weft.wait_ready(f"app={name}", 1)
    for host in (GREEDY, MODEST):
        wait_for(lambda host=host: ask(weft, "/who", host)[0] == 200, f"{host} answers")
        wait_for(lambda host=host: call(weft, host, 1, "/who") == [200], f"web for {host}")
    return weft


def call(net: Instance, host: str, count: int, path: str) -> list[int]:
    found: list[int] = run_inside(
        net, host, START + f"async def main():\n    return await statuses({count}, '{path}')"
    )
    return found


def both(net: Instance) -> tuple[list[int], list[int]]:
    """What the greedy caller gets for twelve slow requests, the modest one for two meanwhile."""
    with ThreadPoolExecutor(2) as pool:
        greedy = pool.submit(call, net, GREEDY, 12, "/slow?seconds=3")
        modest = pool.submit(
            run_inside, net, MODEST, START + """
async def main():
    await asyncio.sleep(1)
    return await statuses(2, "/who")
""")  # fmt: skip
        return greedy.result(), modest.result()


def limited(net: Instance) -> bool:
    return 503 in call(net, MODEST, 8, "/slow?seconds=0.3")


def test_a_greedy_caller_takes_nothing_from_others(net: Instance) -> None:
    net.weft("apply", "-f", "-", stdin=RULE)
    wait_for(lambda: limited(net), "limits in force", 15)
    greedy, modest = both(net)
    assert greedy.count(503) >= 8, greedy
    assert 1 <= greedy.count(200) <= 4, greedy
    assert modest == [200, 200]
    net.weft("delete", "destinationrule", "web")
    wait_for(lambda: not limited(net), "no limits", 15)


@pytest.mark.parametrize(
    ("field", "expected"), [("maxRequestsInFlightPerCaller", 200), ("maxRequestsInFlight", 503)]
)
def test_requests_in_flight_by_caller_or_together(net: Instance, field: str, expected: int) -> None:
    net.weft("apply", "-f", "-", stdin=POLICY % field)
    wait_for(lambda: limited(net), "limits in force", 15)
    greedy, modest = both(net)
    assert greedy.count(200) == 3, greedy
    assert modest == [expected] * 2
    net.weft("delete", "backendpolicy", "web")
    wait_for(lambda: not limited(net), "no limits", 15)


def test_connections_of_bytes_are_counted_by_caller(net: Instance) -> None:
    if net.running.isolation == "host":
        return  # who calls a service address there is not known: they share
    net.image("plain:1", APPS / "plain", sys.executable, "app.py")
    net.weft("apply", "-f", "-", stdin=PLAIN)
    net.wait_ready("app=plain", 1)
    program = """
import asyncio
async def main():
    lines, kept = [], []
    for _ in range({count}):
        reader, writer = await asyncio.open_connection("plain", 2500)
        lines.append((await asyncio.wait_for(reader.readline(), 5)).decode()[:3])
        kept.append(writer)
    await asyncio.sleep({seconds})
    return lines
"""
    greedy_program = program.format(count=4, seconds=2)
    modest_program = program.format(count=2, seconds=0)
    wait_for(lambda: run_inside(net, MODEST, modest_program) == ["220"] * 2, "plain answers", 15)
    with ThreadPoolExecutor(1) as pool:
        greedy = pool.submit(run_inside, net, GREEDY, greedy_program)
        time.sleep(1)
        assert run_inside(net, MODEST, modest_program) == ["220"] * 2
        assert greedy.result() == ["220", "220", "", ""]
