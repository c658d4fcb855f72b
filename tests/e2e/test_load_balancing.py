"""Which endpoint gets a call: hashing by all that can be hashed, over HTTP and over bare TCP."""

import sys
from collections import Counter
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
TCP_PORT = 2500

PLAIN = f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: plain}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: plain}}}}
  template:
    metadata: {{labels: {{app: plain}}}}
    spec:
      containers:
        - name: plain
          image: plain:1
          ports: [{{name: greet, containerPort: 2525}}]
---
apiVersion: v1
kind: Service
metadata: {{name: plain}}
spec:
  selector: {{app: plain}}
  ports: [{{name: tcp, port: {TCP_PORT}, targetPort: greet}}]
"""


@pytest.fixture(scope="module")
def net(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("plain:1", APPS / "plain", sys.executable, "app.py")
    text = m.echo("client") + "---" + m.echo("web", "v1", 3)
    text += m.service("client") + m.service("web", 8000) + PLAIN
    text += m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=web", 3)
    weft.wait_ready("app=plain", 3)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "client answers")
    wait_for(lambda: len(set(pods(net=weft, requests=[("/", {})] * 12))) == 3, "web answers")
    return weft


def rule(name: str, balancer: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {name}
  trafficPolicy: {{loadBalancer: {balancer}}}
"""


def pods(net: Instance, requests: list[Any]) -> list[str]:
    """Who answered each of the requests (path, headers), all on one connection."""
    found: list[str] = run_inside(net, CLIENT, f"""
import json, os
from aiohttp import ClientSession, DummyCookieJar
async def main():
    base = os.environ.get("http_proxy") or "http://web:8000"
    found = []
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        for path, headers in {requests!r}:
            headers = {{"Host": "web:8000", **headers}}
            async with session.get(base + path, headers=headers) as answer:
                found.append((await answer.json())["pod"])
    return found
""")  # fmt: skip
    return found


RING, MAGLEV = "ringHash: {minimumRingSize: 2048}", "maglev: {tableSize: 307}"
KEYS = {
    "header": ("httpHeaderName: x-user", lambda n: ("/", {"x-user": f"user {n}"})),
    "cookie": ("httpCookie: {name: user, ttl: 0s}", lambda n: ("/", {"Cookie": f"user=u{n}"})),
    "query": ("httpQueryParameterName: user", lambda n: (f"/?user=u{n}", {})),
}


@pytest.mark.parametrize("ring", [RING, MAGLEV], ids=["ring", "maglev"])
@pytest.mark.parametrize("key", KEYS)
def test_requests_are_hashed(net: Instance, key: str, ring: str) -> None:
    """Twelve values, three times each: always the same pod for a value, but not for all values."""
    field, request = KEYS[key]
    net.weft("apply", "-f", "-", stdin=rule("web", f"{{consistentHash: {{{field}, {ring}}}}}"))
    requests = [request(n) for n in range(12)] * 3

    def settled() -> list[str]:
        found = pods(net, requests)
        return found if found[:12] == found[12:24] == found[24:] else []

    found = wait_for(settled, "each value has its pod", 15)
    assert len(set(found)) == 3, Counter(found)
    net.weft("delete", "destinationrule", "web")


def greeters(net: Instance, connections: int) -> "Counter[str]":
    """Who greets, of so many connections."""
    address = net.read("/api/v1/namespaces/default/services/plain")["spec"]["clusterIP"]
    found = run_inside(net, CLIENT, f"""
import asyncio
async def main():
    found = []
    for _ in range({connections}):
        reader, writer = await asyncio.open_connection("{address}", {TCP_PORT})
        found.append((await asyncio.wait_for(reader.readline(), 5)).decode().split()[1])
        writer.close()
    return found
""")  # fmt: skip
    return Counter(found)


@pytest.mark.parametrize(
    ("balancer", "least", "most"),
    [
        ("{simple: ROUND_ROBIN}", 4, 4),
        ("{simple: RANDOM}", 1, 10),
        ("{consistentHash: {useSourceIp: true, maglev: {}}}", 12, 12),
        ("{consistentHash: {useSourceIp: true}}", 12, 12),
    ],
    ids=["round robin", "random", "source address, maglev", "source address, ring"],
)
def test_connections_of_bytes(net: Instance, balancer: str, least: int, most: int) -> None:
    """Of twelve connections each pod that gets any has at least and at most so many."""
    net.weft("apply", "-f", "-", stdin=rule("plain", balancer))

    def fits() -> bool:
        counted = greeters(net, 12)
        return least <= min(counted.values()) and max(counted.values()) <= most

    wait_for(fits, f"connections by {balancer}", 15)
    net.weft("delete", "destinationrule", "plain")


def test_a_rule_per_port_and_per_subset(net: Instance) -> None:
    """The subset's policy beats the port's, the port's the general one."""
    text = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    portLevelSettings:
      - port: {number: 8000}
        loadBalancer: {consistentHash: {httpHeaderName: x-user}}
  subsets:
    - name: all
      labels: {app: web}
      trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
    - match: [{headers: {x-subset: {exact: all}}}]
      route: [{destination: {host: web, subset: all}}]
    - route: [{destination: {host: web}}]
"""
    net.weft("apply", "-f", "-", stdin=text)
    one = [("/", {"x-user": "joe"})] * 9
    spread = [("/", {"x-user": "joe", "x-subset": "all"})] * 9
    wait_for(lambda: len(set(pods(net, one))) == 1, "the port's policy", 15)
    wait_for(lambda: set(Counter(pods(net, spread)).values()) == {3}, "the subset's policy", 15)
    assert len(set(pods(net, one))) == 1
    net.weft("delete", "destinationrule", "web")
    net.weft("delete", "virtualservice", "web")
