"""NetworkPolicies, by real connections and datagrams: to services and to pods' own addresses.

`front` and `other` call `api` (requests) and `plain` (bytes of a server that speaks first, and
datagrams).
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS, fresh
from tests.e2e.instance import Instance, ask, run_inside, wait_for
from tests.e2e.test_authorization import Applied, policy

pytestmark = [pytest.mark.e2e, pytest.mark.root]

PLAIN = """
---
apiVersion: v1
kind: Pod
metadata: {name: plain, labels: {app: plain, tier: data}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: plain:1
    ports:
    - {name: udp, containerPort: 5353, protocol: UDP}
    - {name: greet, containerPort: 2525}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec:
  selector: {app: plain}
  ports:
  - {name: tcp-greet, port: 25, targetPort: greet}
  - {name: datagrams, protocol: UDP, port: 53, targetPort: udp}
"""
STARTING = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: main, image: "first:1", env: [
          {{name: PLAIN, value: {address}}}, {{name: TENTHS, value: "{tenths}"}}]}}
"""
FIRST_CALL = """
if read -t 60 line < /dev/tcp/$PLAIN/2525; then echo reached; else echo refused; fi &
for _ in $(seq $TENTHS); do kill -0 $! 2>/dev/null || break; sleep 0.1; done
kill $! 2>/dev/null  # a connection whose packets are dropped
echo done
exec sleep 3600
"""
"""What bash does within a millisecond of its start, long before Python would. It waits for
TENTHS of a second: a call that is let through takes as long as the machine lets it."""
PROBE = """
import asyncio, socket
from aiohttp import ClientError, ClientSession, ClientTimeout

async def http(host):
    try:
        async with ClientSession(timeout=ClientTimeout(total=1)) as session:
            async with session.get(f"http://{host}/who") as answer:
                return answer.status == 200
    except (ClientError, OSError, TimeoutError):
        return False

async def greeted(host, port):
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 1)
        line = await asyncio.wait_for(reader.readline(), 1)
        writer.close()
        return bool(line)
    except (OSError, TimeoutError):
        return False

def datagram(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.8)
        try:
            s.sendto(b"who", (host, port))
            return bool(s.recv(1000))
        except OSError:
            return False

async def main():
    api, plain = ADDRESSES
    found = await asyncio.gather(
        http("api"), http(f"{api}:8080"), greeted("plain", 25), greeted(plain, 2525),
        asyncio.to_thread(datagram, "plain", 53), asyncio.to_thread(datagram, plain, 5353),
    )
    return dict(zip(("service", "pod", "bytes", "pod bytes", "udp", "pod udp"), found))
"""
EVERYTHING = {"service", "pod", "bytes", "pod bytes", "udp", "pod udp"}
TO_API, TO_PLAIN = {"service", "pod"}, {"bytes", "pod bytes", "udp", "pod udp"}


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        instance.image("plain:1", APPS / "plain", sys.executable, "app.py")
        instance.image("first:1", APPS / "plain", "bash", "-c", FIRST_CALL)
        instance.up()
        text = PLAIN
        for name in ("api", "front", "other"):
            text += "---" + m.echo(name) + m.service(name)
            text += m.gateway(name, f"{name}.example")
            text += m.routes(f"{name}-edge", m.to(name), f"{name}.example", name)
        instance.weft("apply", "-f", "-", stdin=text)
        for name in ("api", "front", "other", "plain"):
            instance.wait_ready(f"app={name}", 1)
        yield instance


def reached(weft: Instance, caller: str) -> set[str]:
    """What a pod reaches."""
    pods = [weft.ready_pods(f"app={name}")[0] for name in ("api", "plain")]
    addresses = tuple(pod["status"]["podIP"] for pod in pods)
    program = PROBE.replace("ADDRESSES", repr(addresses))
    found: dict[str, bool] = run_inside(weft, f"{caller}.example", program)
    return {name for name, answered in found.items() if answered}


def network_policy(name: str, spec: dict[str, Any]) -> str:
    made = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name}, "spec": spec}  # fmt: skip
    return f"---\n{json.dumps(made)}\n"


def chosen(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


@contextmanager
def policies(weft: Instance, *texts: str) -> Iterator[None]:
    with Applied(weft, *texts):
        yield
    settled(weft, "other", EVERYTHING)


def settled(weft: Instance, caller: str, wanted: set[str]) -> None:
    seen: list[set[str]] = []

    def right() -> bool:
        seen.append(reached(weft, caller))
        return seen[-1] == wanted

    try:
        wait_for(right, caller, 15)
    except AssertionError:
        raise AssertionError(f"{caller}: wanted {wanted}, last saw {seen[-1]}") from None


def test_without_policies_all_is_open(weft: Instance) -> None:
    settled(weft, "front", EVERYTHING)


def test_ingress_by_pods_and_ports(weft: Instance) -> None:
    """Default deny for what is selected, and what several policies allow adds up."""
    closed = network_policy("closed", {"podSelector": {}, "policyTypes": ["Ingress"]})
    # The test itself comes through the gateway.
    edge = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}}
    asked = {"podSelector": {"matchExpressions": [
        {"key": "app", "operator": "In", "values": ["front", "other"]}]},
        "ingress": [{"from": [edge]}]}  # fmt: skip
    web = {**chosen(app="api"), "ingress": [{"from": [chosen(app="front")]}]}
    greet = {**chosen(tier="data"), "ingress": [
        {"from": [chosen(app="front")], "ports": [{"port": "greet"}]},
        {"from": [chosen(app="other")], "ports": [
            {"protocol": "UDP", "port": 5000, "endPort": 5400}]}]}  # fmt: skip
    with policies(weft, closed, network_policy("asked", asked),
                  network_policy("web", web), network_policy("greet", greet)):  # fmt: skip
        settled(weft, "front", {*TO_API, "bytes", "pod bytes"})
        settled(weft, "other", {"udp", "pod udp"})
        # From outside, by the gateway, nobody is let in.
        assert ask(weft, "/who", "api.example")[0] == 403
        told = weft.weft("why", "--from", "deploy/other-v1", "http://api/who")
        assert "NetworkPolicy default/closed, default/web denies it" in told


def test_ingress_by_namespace_and_address(weft: Instance) -> None:
    block = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}
    spec = {**chosen(app="api"), "ingress": [{"from": [block]}]}
    with policies(weft, network_policy("outside", spec)):
        settled(weft, "front", TO_PLAIN)
        assert ask(weft, "/who", "api.example")[0] == 200, "this machine is outside"
    spec = {**chosen(app="api"), "ingress": [{"from": [{"namespaceSelector": {}}]}]}
    with policies(weft, network_policy("all-pods", spec)):
        settled(weft, "front", EVERYTHING)


def test_egress(weft: Instance) -> None:
    out = {**chosen(app="other"), "policyTypes": ["Egress"],
           "egress": [{"to": [chosen(app="api")], "ports": [{"port": 8080}]}]}  # fmt: skip
    with policies(weft, network_policy("out", out)):
        settled(weft, "other", TO_API)
        assert reached(weft, "front") == EVERYTHING
    out = {**chosen(app="other"), "policyTypes": ["Egress"]}
    with policies(weft, network_policy("nowhere", out)):
        settled(weft, "other", set())


def test_datagrams_go_around_no_policy_on_identities(weft: Instance) -> None:
    """Nobody knows who sends to a pod's own address: datagrams come through the proxy, or not."""
    plain = "selector: {matchLabels: {app: plain}}\n"
    strict = policy("strict", plain + "mtls: {mode: STRICT}", "PeerAuthentication")
    with policies(weft, strict):
        settled(weft, "other", EVERYTHING - {"pod bytes", "pod udp"})
    greet = policy("greet", plain + 'rules: [{to: [{operation: {ports: ["2525"]}}]}]')
    with policies(weft, greet):
        settled(weft, "other", EVERYTHING - {"udp", "pod udp"})


def test_the_first_packets_of_a_pod_are_judged(weft: Instance) -> None:
    """Rules are in force before containers start, also when the pod comes with its policy."""
    settled(weft, "other", EVERYTHING)  # what the test before applied is gone
    address = weft.ready_pods("app=plain")[0]["status"]["podIP"]
    nowhere = network_policy("nowhere", {**chosen(app="judged"), "policyTypes": ["Egress"]})
    judged = STARTING.format(name="judged", replicas=6, address=address, tenths=35)
    free = STARTING.format(name="free", replicas=1, address=address, tenths=600)
    try:
        weft.weft("apply", "-f", "-", stdin=nowhere + judged + free)
        assert first_calls(weft, "free", 1) == ["reached"]
        assert "reached" not in first_calls(weft, "judged", 6)
    finally:
        weft.weft("delete", "-f", "-", stdin=nowhere + judged + free)


def first_calls(weft: Instance, name: str, count: int) -> list[str]:
    """What the pods of a Deployment say of their first call; nothing of one that was cut off."""
    said: list[str] = []

    def all_called() -> bool:
        # Refused as long as one of the containers is not created.
        said[:] = weft.kubectl("logs", "-l", f"app={name}", "--tail=-1", check=False).splitlines()
        return said.count("done") == count

    try:
        wait_for(all_called, f"{count} of {name} called", 90)
    except AssertionError as error:
        raise AssertionError(f"{error}: they said {said}") from None
    return [line for line in said if line != "done"]
