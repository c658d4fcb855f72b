"""Which endpoint gets a call: every algorithm, for requests, calls of gRPC, connections of bytes
and datagrams; hashing by all that can be hashed."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
TCP_PORT, UDP_PORT = 2500, 5300

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
          ports:
            - {{name: greet, containerPort: 2525}}
            - {{name: udp, containerPort: 5353, protocol: UDP}}
---
apiVersion: v1
kind: Service
metadata: {{name: plain}}
spec:
  selector: {{app: plain}}
  ports:
    - {{name: tcp, port: {TCP_PORT}, targetPort: greet}}
    - {{name: datagrams, protocol: UDP, port: {UDP_PORT}, targetPort: udp}}
---
apiVersion: v1
kind: Service
metadata: {{name: grpcecho}}
spec:
  selector: {{app: grpcecho}}
  ports: [{{name: grpc, port: 9000, targetPort: grpc}}]
"""


def grpc_pods() -> str:
    text = m.echo("grpcecho", "v1", 3, port=9000).replace("echo:1", "grpcecho:1")
    text = text.replace("name: http,", "name: grpc,")
    return text.replace("httpGet: {path: /who, port: http}", "grpc: {port: 9000}")


@pytest.fixture(scope="module")
def net(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("plain:1", APPS / "plain", sys.executable, "app.py")
    weft.image("grpcecho:1", APPS / "grpcecho", sys.executable, "app.py")
    text = m.echo("client") + "---" + m.echo("web", "v1", 3) + "---" + grpc_pods()
    text += m.service("client") + m.service("web", 8000) + PLAIN
    text += m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=web", 3)
    weft.wait_ready("app=plain", 3)
    weft.wait_ready("app=grpcecho", 3)
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
HASHED = 40
KEYS = {
    "header": ("httpHeaderName: x-user", lambda n: ("/", {"x-user": f"user {n}"})),
    "cookie": ("httpCookie: {name: user, ttl: 0s}", lambda n: ("/", {"Cookie": f"user=u{n}"})),
    "query": ("httpQueryParameterName: user", lambda n: (f"/?user=u{n}", {})),
}


@pytest.mark.parametrize("ring", [RING, MAGLEV], ids=["ring", "maglev"])
@pytest.mark.parametrize("key", KEYS)
def test_requests_are_hashed(net: Instance, key: str, ring: str) -> None:
    """So many values that chance leaves no pod out, twice each: always the same pod for a value,
    but not for all values."""
    field, request = KEYS[key]
    net.weft("apply", "-f", "-", stdin=rule("web", f"{{consistentHash: {{{field}, {ring}}}}}"))
    requests = [request(n) for n in range(HASHED)] * 2

    def settled() -> list[str]:
        found = pods(net, requests)
        return found if found[:HASHED] == found[HASHED:] else []

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


# --- gRPC, connections and datagrams, by every algorithm that they have

START = """
import asyncio, collections, socket
import grpc
def channel():
    return grpc.aio.insecure_channel("grpcecho:9000", [("grpc.enable_http_proxy", 0)])
async def who(c, *metadata):
    call = c.unary_unary("/test.Echo/Who")(b"", metadata=metadata, wait_for_ready=True, timeout=9)
    return (await call).decode().partition(":")[0]
async def connect():
    reader, writer = await asyncio.open_connection("plain", 2500)
    return (await asyncio.wait_for(reader.readline(), 9)).decode().split()[1], writer
"""


def inside(net: Instance, program: str) -> Any:
    return run_inside(net, CLIENT, START + program)


def calls(net: Instance, count: int, header: str = "None") -> list[str]:
    """Who answered calls on one connection; the header x-user is a Python expression in `n`."""
    found: list[str] = inside(net, f"""
async def main():
    async with channel() as c:
        found = []
        for n in range({count}):
            user = {header}
            found.append(await who(c, *([("x-user", user)] if user else [])))
        return found
""")  # fmt: skip
    return found


def sockets(net: Instance, count: int) -> "Counter[str]":
    """Who answered datagrams, each of a socket of its own."""
    found = inside(net, f"""
async def main():
    found = []
    for _ in range({count}):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect(("plain", {UDP_PORT}))
            s.send(b"x")
            found.append(s.recv(100).decode().split()[0])
    return found
""")  # fmt: skip
    return Counter(found)


def balanced(net: Instance, name: str, balancer: str) -> None:
    net.weft("apply", "-f", "-", "--wait", stdin=rule(name, balancer))


def test_calls_of_grpc(net: Instance) -> None:
    balanced(net, "grpcecho", "{simple: ROUND_ROBIN}")
    assert set(Counter(calls(net, 12)).values()) == {4}
    balanced(net, "grpcecho", "{simple: RANDOM}")
    counted = Counter(calls(net, 60))
    assert min(counted[pod] for pod in counted) >= 4, counted
    assert len(counted) == 3
    assert len(set(counted.values())) > 1 or set(Counter(calls(net, 60)).values()) != {20}


@pytest.mark.parametrize("ring", [RING, MAGLEV], ids=["ring", "maglev"])
def test_calls_of_grpc_are_hashed(net: Instance, ring: str) -> None:
    balanced(net, "grpcecho", f"{{consistentHash: {{httpHeaderName: x-user, {ring}}}}}")
    found = calls(net, 2 * HASHED, f"f'user {{n % {HASHED}}}'")
    assert found[:HASHED] == found[HASHED:]
    assert len(set(found)) == 3


@pytest.fixture
def heavy(net: Instance) -> Iterator[tuple[str, str]]:
    """A pod that speaks gRPC and one that does not, which get most of what comes."""
    names = [net.ready_pods(f"app={app}")[0]["metadata"]["name"] for app in ("grpcecho", "plain")]

    def weigh(weight: str | None) -> None:
        note = {"metadata": {"annotations": {"weft.dev/weight": weight}}}
        for name in names:
            assert net.api(f"/api/v1/namespaces/default/pods/{name}", "PATCH", note)[0] == 200

    weigh("8")
    yield names[0], names[1]
    weigh(None)


def test_weights_hold_for_all_protocols(net: Instance, heavy: tuple[str, str]) -> None:
    """Eight of ten."""
    for name in ("grpcecho", "plain"):
        balanced(net, name, "{simple: ROUND_ROBIN}")
    wait_for(lambda: Counter(calls(net, 20))[heavy[0]] == 16, "calls by weight", 15)
    wait_for(lambda: greeters(net, 20)[heavy[1]] == 16, "connections by weight", 15)
    wait_for(lambda: sockets(net, 20)[heavy[1]] == 16, "sockets by weight", 15)


def test_who_has_much_open_gets_little(net: Instance) -> None:
    """Least requests, and for bytes least connections: one of three has four open, the others
    nothing. Envoy compares two that chance picks: a ninth still goes there, not a third."""
    for name in ("grpcecho", "plain"):
        balanced(net, name, "{simple: LEAST_REQUEST}")
    counted = inside(net, """
async def main():
    async with channel() as c:
        streams, kept = {}, []
        while len(kept) < 4:
            stream = c.stream_stream("/test.Echo/Talk")()
            await stream.write(b"x")
            pod = (await stream.read()).decode().partition(":")[0]
            if pod == next(iter(streams), pod):
                kept.append(stream)
                streams[pod] = kept
            else:
                stream.cancel()
        calls = collections.Counter([await who(c) for _ in range(90)])[next(iter(streams))]
    busy, kept = "", []
    while len(kept) < 4:
        pod, writer = await connect()
        busy = busy or pod
        if pod == busy:
            kept.append(writer)
        else:
            writer.close()
    met = []
    for _ in range(90):
        pod, writer = await connect()
        met.append(pod)
        writer.write(b"QUIT\\n")
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.005)
    return [calls, met.count(busy)]
""")  # fmt: skip
    assert max(counted) < 21, f"{counted} of 90; chance would be 30"


def test_datagrams_by_socket(net: Instance) -> None:
    balanced(net, "plain", "{simple: ROUND_ROBIN}")
    assert set(sockets(net, 12).values()) == {4}
    balanced(net, "plain", "{simple: RANDOM}")
    wait_for(lambda: set(sockets(net, 12).values()) != {4}, "by chance", 15)
    assert len(sockets(net, 40)) == 3
    for ring in (RING, MAGLEV):
        balanced(net, "plain", f"{{consistentHash: {{useSourceIp: true, {ring}}}}}")
        assert len(sockets(net, 9)) == 1
    net.weft("delete", "destinationrule", "plain")


POLICY = """
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: NAME}
spec: {targetRef: {kind: Service, name: NAME}, loadBalancer: leastResponseTime}
"""


@pytest.mark.parametrize("how", ["waits", "fails"])
def test_a_slow_or_failing_pod_gets_few_calls_of_grpc(net: Instance, how: str) -> None:
    """Of three pods one takes half a second, or is quick to fail."""
    net.weft("apply", "-f", "-", "--wait", stdin=POLICY.replace("NAME", "grpcecho"))
    pods = {pod["metadata"]["name"] for pod in net.ready_pods("app=grpcecho")}
    slow = min(pods)

    def lazy() -> "Counter[str]":
        return Counter(inside(net, f"""
async def main():
    async with channel() as c:
        call, found = c.unary_unary("/test.Echo/Lazy"), []
        async def client():
            for _ in range(40):
                try:
                    found.append((await call(b"{slow} {how}", timeout=20)).decode())
                except grpc.aio.AioRpcError:
                    found.append("{slow}")
        await asyncio.gather(*[client() for _ in range(8)])
        return found
"""))  # fmt: skip

    counted: Counter[str] = Counter()

    def spared() -> bool:
        counted.clear()
        counted.update(lazy())
        return counted[slow] < 320 / 8

    wait_for(spared, "the pod is spared", 40)
    assert min(counted[pod] for pod in pods - {slow}) > 320 / 6, counted
    net.weft("delete", "backendpolicy", "grpcecho")


def test_least_response_time_of_bytes_counts_connections(net: Instance) -> None:
    """Said in a note; who keeps connections gets few, as with least connections."""
    net.weft("apply", "-f", "-", "--wait", stdin=POLICY.replace("NAME", "plain"))
    (note,) = [d for d in net.status()["diagnostics"] if d["code"] == "WEFT2512"]
    assert (note["name"], note["severity"]) == ("plain", "info")
    assert len(greeters(net, 30)) == 3
    net.weft("delete", "backendpolicy", "plain")
