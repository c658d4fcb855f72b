"""Datagrams between pods: through the node's proxy, balanced over the endpoints of a service."""

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
PORT = 53
"""That of DNS: a service may have it, too."""
OWN_PORT = 5353
"""Where the pods behind the services listen."""


def udp_service(name: str, extra: str = "", port: int = PORT) -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: plain}}
  {extra}
  ports: [{{name: datagrams, protocol: UDP, port: {port}, targetPort: udp}}]
"""


def plain(replicas: int) -> str:
    return f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: plain}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: plain}}}}
  template:
    metadata: {{labels: {{app: plain}}}}
    spec:
      containers:
        - name: plain
          image: plain:1
          ports:
            - {{name: udp, containerPort: {OWN_PORT}, protocol: UDP}}
            - {{name: greet, containerPort: 2525}}
"""


@pytest.fixture(scope="module")
def net(weft: Instance) -> Instance:
    """A client and three pods that answer datagrams, behind three services."""
    weft.image("plain:1", APPS / "plain", sys.executable, "app.py")
    text = m.echo("client") + m.service("client") + plain(3)
    text += udp_service("names") + udp_service("sticky", "sessionAffinity: ClientIP")
    text += udp_service("same", port=OWN_PORT)
    text += m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=plain", 3)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "client answers")
    wait_for(lambda: len(answers(weft, "names", 12)) == 3, "all pods answer")
    return weft


TALK = """
import asyncio, os, socket
INSIDE = "http_proxy" not in os.environ  # a network namespace of its own

def service(name):
    if INSIDE:
        return name, {port}
    prefix = name.upper()
    return os.environ[prefix + "_SERVICE_HOST"], int(os.environ[prefix + "_SERVICE_PORT"])

def talk(name, text, count=1, connect=True):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        if connect:
            s.connect(service(name))
        heard = []
        for _ in range(count):
            s.send(text.encode()) if connect else s.sendto(text.encode(), service(name))
            try:
                heard.append(s.recv(65535).decode())
            except OSError:
                heard.append("")
        return heard
"""


def inside(net: Instance, program: str, port: int = PORT) -> Any:
    return run_inside(net, CLIENT, TALK.replace("{port}", str(port)) + program)


def answers(net: Instance, name: str, sockets: int, port: int = PORT) -> "Counter[str]":
    """Who answered, of so many sockets."""
    heard = inside(net, f"""
async def main():
    return [talk("{name}", "hello", connect=bool(n % 2))[0] for n in range({sockets})]
""", port)  # fmt: skip
    return Counter(text.split()[0] for text in heard if text.endswith(" hello"))


def test_datagrams_are_balanced_by_socket(net: Instance) -> None:
    """Connected sockets and others; by name, on port 53, which is otherwise the mesh's DNS."""
    found = answers(net, "names", 12)
    assert set(found) == {p["metadata"]["name"] for p in net.ready_pods("app=plain")}
    assert set(found.values()) == {4}, "round robin"


def test_pods_listen_at_the_port_of_their_service(net: Instance) -> None:
    """At all addresses of theirs, of which the service's is one to the kernel."""
    found = answers(net, "same", 12, OWN_PORT)
    assert set(found) == {p["metadata"]["name"] for p in net.ready_pods("app=plain")}


def test_a_socket_keeps_its_endpoint(net: Instance) -> None:
    heard = inside(net, """
async def main():
    return talk("names", "again", count=20)
""")  # fmt: skip
    assert len(set(heard)) == 1
    assert heard[0].endswith(" again")


def test_session_affinity_by_source_address(net: Instance) -> None:
    assert len(answers(net, "sticky", 12)) == 1


def test_streams_of_datagrams(net: Instance) -> None:
    """One question, two hundred answers; and large ones, unchanged."""
    heard = inside(net, """
async def main():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.connect(service("names"))
        s.send(b"stream 200")
        numbers = [int(s.recv(65535).split()[1]) for _ in range(200)]
        s.send(b"x" * 1400)
        return [numbers, len(s.recv(65535).split()[1])]
""")  # fmt: skip
    assert heard == [list(range(200)), 1400]


def test_rule_of_a_port(net: Instance) -> None:
    """A DestinationRule holds for datagrams as for connections."""
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: names}
spec:
  host: names
  trafficPolicy:
    portLevelSettings:
      - port: {number: 53}
        loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}}
"""
    net.weft("apply", "-f", "-", stdin=rule)
    wait_for(lambda: len(answers(net, "names", 9)) == 1, "one pod for one caller", 10)
    net.weft("delete", "destinationrule", "names")
    wait_for(lambda: len(answers(net, "names", 9)) == 3, "three pods again", 10)


def test_a_socket_goes_on_when_its_endpoint_ends(net: Instance) -> None:
    program = """
async def main():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect(service("names"))
        heard = []
        for _ in range(120):
            try:
                s.send(b"x")
                heard.append(s.recv(65535).decode().split()[0])
            except OSError:
                heard.append("")
            await asyncio.sleep(0.05)
        return heard
"""
    with ThreadPoolExecutor(1) as pool:
        talking = pool.submit(inside, net, program)
        time.sleep(1)
        for pod in net.ready_pods("app=plain")[:2]:
            net.weft("delete", "pod", pod["metadata"]["name"])
        heard = talking.result()
    net.wait_ready("app=plain", 3)
    assert heard[0], heard
    assert heard[-1], heard
    assert heard.count("") < 20, heard


def test_nothing_is_reported_about_udp(net: Instance) -> None:
    assert not [d for d in net.status()["diagnostics"] if d["name"] in ("names", "sticky")]
