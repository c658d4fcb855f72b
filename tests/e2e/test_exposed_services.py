"""Services and containers on the node's own addresses: LoadBalancer, NodePort, externalIPs,
hostPort, as callers from outside the mesh see them."""

import json
import socket
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, wait_for

pytestmark = pytest.mark.e2e

OUTSIDE = "127.0.0.9"
"""An address of the machine, as an externalIP."""


def exposed(name: str, extra: str, ports: str) -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  {extra}
  ports: {ports}
"""


HTTP = "[{name: http, port: 80, targetPort: http}]"
PLAIN = """
---
apiVersion: v1
kind: Pod
metadata: {name: plain, labels: {app: plain}}
spec:
  containers:
    - name: plain
      image: plain:1
      ports:
        - {name: udp, containerPort: 5353, protocol: UDP}
        - {name: greet, containerPort: 2525, hostPort: %d, hostIP: 127.0.0.1}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def world(weft: Instance) -> Instance:
    """Two versions behind several Services, and a pod of bytes and datagrams with a hostPort."""
    weft.image("plain:1", APPS / "plain", sys.executable, "app.py")
    weft.host_port = free_port()  # type: ignore[attr-defined]
    text = m.echo("web") + "---" + m.echo("web", "v2") + PLAIN % weft.host_port  # type: ignore[attr-defined]
    text += exposed("web", "selector: {app: web}\n  type: LoadBalancer", HTTP)
    text += exposed("node", "selector: {app: web}\n  type: NodePort", HTTP)
    text += exposed("fixed", f"selector: {{app: web}}\n  externalIPs: [{OUTSIDE}]",
                    "[{name: http, port: 18080, targetPort: http}]")  # fmt: skip
    text += exposed("closed", "selector: {app: web}\n  type: LoadBalancer\n"
                    "  loadBalancerSourceRanges: [203.0.113.0/24]", HTTP)  # fmt: skip
    text += exposed("local", "selector: {app: web}\n  type: LoadBalancer\n"
                    "  externalTrafficPolicy: Local", HTTP)  # fmt: skip
    text += exposed("gone", "selector: {app: nobody}\n  type: LoadBalancer\n"
                    "  externalTrafficPolicy: Local", HTTP)  # fmt: skip
    text += exposed(
        "bytes", "selector: {app: plain}\n  type: LoadBalancer",
        "[{name: tcp-greet, port: 2525, targetPort: greet},"
        " {name: udp, port: 5300, targetPort: udp, protocol: UDP}]",
    )  # fmt: skip
    text += m.subsets("web") + m.routes("web", "- route: [{destination: {host: web, subset: v2}}]")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=web", 2)
    weft.wait_ready("app=plain", 1)
    return weft


def service(weft: Instance, name: str) -> Any:
    return weft.read(f"/api/v1/namespaces/default/services/{name}")


def ingress(weft: Instance, name: str, at: int = 0) -> tuple[str, int]:
    """Address and port that the Service's status tells, of its port number `at`."""

    def found() -> Any:
        return service(weft, name)["status"].get("loadBalancer", {}).get("ingress")

    first = wait_for(found, f"{name} has an address")[0]
    moved = first.get("ports")
    return first["ip"], (moved or service(weft, name)["spec"]["ports"])[at]["port"]


def get(address: str, port: int, path: str = "/who") -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, repr(error)


def settles(address: str, port: int, path: str = "/who", status: int = 200) -> str:
    said: list[Any] = []

    def right() -> bool:
        said[:] = [get(address, port, path)]
        return bool(said[0][0] == status)

    try:
        wait_for(right, "answer", 15)
    except AssertionError:
        raise AssertionError(f"{address}:{port}{path}: wanted {status}, said {said}") from None
    return str(said[0][1])


def greeting(address: str, port: int) -> bytes:
    try:
        with socket.create_connection((address, port), 5) as connection:
            return connection.recv(100)
    except OSError:
        return b""


def test_load_balancer_listens_and_routes_as_the_mesh(world: Instance) -> None:
    address, port = ingress(world, "web")
    settles(address, port)
    bodies = {get(address, port)[1] for _ in range(12)}
    assert bodies == {"v2"}, "the VirtualService holds"
    assert address in world.kubectl("get", "service", "web"), "EXTERNAL-IP"


def test_each_load_balancer_has_an_address_of_its_own(world: Instance) -> None:
    names = ("web", "closed", "local", "bytes")
    assert len({ingress(world, name)[0] for name in names}) == len(names)


def test_source_ranges(world: Instance) -> None:
    address, port = ingress(world, "closed")
    settles(*ingress(world, "web"))  # the configuration is in force
    wait_for(lambda: _accepts(address, port), "the port is open")
    assert get(address, port)[0] == 0, "callers of other networks get no answer"


def _accepts(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), 5):
            return True
    except OSError:
        return False


def test_node_port_on_all_addresses_of_the_node(world: Instance) -> None:
    port = service(world, "node")["spec"]["ports"][0]["nodePort"]
    node = world.read("/api/v1/nodes")["items"][0]
    own = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    for address in {own, world.running.gateway_address}:
        settles(address, port)
        assert {get(address, port)[1] for _ in range(30)} == {"v1", "v2"}


def test_external_ip(world: Instance) -> None:
    assert settles(OUTSIDE, 18080) in ("v1", "v2")


def test_external_traffic_policy_local(world: Instance) -> None:
    settles(*ingress(world, "local"))
    for name, status, count in (("local", 200, 2), ("gone", 503, 0)):
        port = service(world, name)["spec"]["healthCheckNodePort"]
        said = json.loads(settles(world.running.gateway_address, port, "/healthz", status))
        assert said["service"] == {"namespace": "default", "name": name}
        assert said["localEndpoints"] == count


def test_bytes_and_datagrams(world: Instance) -> None:
    address, port = ingress(world, "bytes")
    wait_for(lambda: greeting(address, port).startswith(b"220 plain"), "the server's greeting")
    _, port = ingress(world, "bytes", 1)

    def echoed() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.settimeout(1)
            caller.sendto(b"hello", (address, port))
            try:
                return caller.recv(100).endswith(b" hello")
            except TimeoutError:
                return False

    wait_for(echoed, "a datagram comes back")


def test_host_port(world: Instance) -> None:
    port: int = world.host_port  # type: ignore[attr-defined]
    wait_for(lambda: greeting("127.0.0.1", port).startswith(b"220 plain"), "hostPort answers")
    second = (PLAIN % port).replace("name: plain, labels", "name: second, labels")
    world.weft("apply", "-f", "-", stdin=second)

    def waiting() -> Any:
        conditions = world.pod("second").get("status", {}).get("conditions", [])
        return [c["message"] for c in conditions if c["type"] == "PodScheduled"]

    assert "free ports for the requested pod ports" in wait_for(waiting, "not scheduled")[0]


def test_policies_hold_for_callers_from_outside(world: Instance) -> None:
    port: int = world.host_port  # type: ignore[attr-defined]
    address, lb_port = ingress(world, "bytes")
    wait_for(lambda: greeting("127.0.0.1", port), "hostPort answers")
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: known-only}
spec:
  rules: [{from: [{source: {principals: ["*"]}}]}]
"""
    world.weft("apply", "-f", "-", stdin=policy)
    web = ingress(world, "web")
    try:
        settles(*web, status=403)
        wait_for(lambda: not greeting("127.0.0.1", port), "hostPort is refused")
        wait_for(lambda: not greeting(address, lb_port), "bytes are refused")
    finally:
        world.weft("delete", "authorizationpolicy", "known-only")
    settles(*web)
    strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict}"
    world.weft("apply", "-f", "-", stdin=f"{strict}\nspec: {{mtls: {{mode: STRICT}}}}\n")
    try:
        settles(*web, status=403)
        wait_for(lambda: not greeting(address, lb_port), "bytes are refused")
    finally:
        world.weft("delete", "peerauthentication", "strict")
    settles(*web)


def split(weft: Instance, name: str, extra: str) -> str:
    """A Service whose slices say that v1 runs on this node and v2 on another."""
    node = weft.read("/api/v1/nodes")["items"][0]["metadata"]["name"]
    text = exposed(name, f"type: NodePort\n  {extra}", HTTP)
    for pod in weft.items("pods", "app=web"):
        notes = pod["metadata"].get("annotations", {})
        port = json.loads(notes.get("weft.dev/host-ports", "{}")).get("8080", 8080)
        here = pod["metadata"]["labels"]["version"] == "v1"
        text += f"""
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{pod["metadata"]["labels"]["version"]}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [{pod["status"]["podIP"]}], nodeName: {node if here else "far"}}}]
"""
    return text


def test_traffic_stays_near(world: Instance) -> None:
    services = {
        "anywhere": ("", {"v1", "v2"}),
        "inside": ("internalTrafficPolicy: Local", {"v1"}),
        "outside": ("externalTrafficPolicy: Local", {"v1"}),
        "near": ("trafficDistribution: PreferSameNode", {"v1"}),
    }
    world.weft(
        "apply", "-f", "-", stdin="".join(split(world, n, e[0]) for n, e in services.items())
    )
    for name, (_, wanted) in services.items():
        port = service(world, name)["spec"]["ports"][0]["nodePort"]
        address = world.running.gateway_address
        settles(address, port)
        assert {get(address, port)[1] for _ in range(30)} == wanted, name
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    for name in ("inside", "near"):
        world.api(f"{path}/{name}-v1", "DELETE")
    near = service(world, "near")["spec"]["ports"][0]["nodePort"]
    inside = service(world, "inside")["spec"]["ports"][0]["nodePort"]
    wait_for(lambda: get(address, near)[1] == "v2", "farther endpoints take over")
    settles(address, inside, status=503)


def test_a_service_that_is_no_load_balancer_any_more(world: Instance) -> None:
    address, port = ingress(world, "local")
    world.kubectl("patch", "service", "local", "-p", '{"spec":{"type":"ClusterIP"}}')
    wait_for(lambda: get(address, port)[0] == 0, "nothing listens")
    wait_for(
        lambda: not service(world, "local")["status"].get("loadBalancer"), "the status is empty"
    )
