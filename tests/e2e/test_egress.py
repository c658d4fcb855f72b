"""Calls that leave the node: a pod, and servers on a machine that has no way back to pods."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import fresh
from tests.e2e.instance import Instance, is_ready, wait_for
from tests.outside import GREETING, Outside, Servers, outside
from weft.api.vip import vip_for

pytestmark = [pytest.mark.e2e, pytest.mark.root]


class Caller:
    """A pod that calls what it is told to."""

    def __init__(self, weft: Instance) -> None:
        weft.weft("apply", "-f", "-", stdin=m.echo("caller"))
        (pod,) = weft.wait_ready("app=caller", 1)
        self.address = pod["status"]["podIP"]

    def ask(self, path: str, **query: object) -> str:
        url = f"http://{self.address}:8080{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=15) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"

    def http(self, url: str) -> dict[str, str]:
        """What the server said of who called."""
        answer = self.ask("/call", url=url)
        try:
            said: dict[str, str] = json.loads(answer)
        except ValueError:
            return {"refused": answer}
        return said

    def settled(self, url: str, wanted: dict[str, str]) -> None:
        """The wanted answer comes, once the mesh knows the way."""
        said: list[dict[str, str]] = []

        def right() -> bool:
            said.append(self.http(url))
            return said[-1] | wanted == said[-1]

        try:
            wait_for(right, url, 15)
        except AssertionError:
            raise AssertionError(f"{url}: wanted {wanted}, last said {said[-1]}") from None


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        instance.up()
        yield instance


@pytest.fixture(scope="module")
def caller(weft: Instance) -> Caller:
    return Caller(weft)


@pytest.fixture(scope="module")
def far() -> Iterator[Outside]:
    with outside() as made:
        yield made


@pytest.fixture(scope="module")
def near() -> Iterator[Servers]:
    made = Servers("", "0.0.0.0")
    yield made
    made.close()


def entry(host: str, port: int, protocol: str, target: int, address: str = "") -> str:
    """A ServiceEntry: by address when one is given, else by its name in DNS."""
    resolution = "STATIC" if address[:1].isdigit() else "DNS"
    endpoints = f"endpoints: [{{address: {address}}}]" if address else ""
    return f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.replace(".", "-")}}}
spec:
  hosts: [{host}]
  location: MESH_EXTERNAL
  resolution: {resolution}
  ports: [{{number: {port}, name: p, protocol: {protocol}, targetPort: {target}}}]
  {endpoints}
"""


def test_http_to_an_unknown_address(caller: Caller, far: Outside) -> None:
    port = far.http()
    said = caller.http(f"http://{far.address}:{port}/where?q=1")
    host = f"{far.address}:{port}"
    assert said == {"source": far.node, "host": host, "path": "/where?q=1"}


def test_http_to_an_unknown_address_on_a_port_that_the_mesh_routes(
    caller: Caller, far: Outside
) -> None:
    far.http(port=80)
    assert caller.http(f"http://{far.address}/")["source"] == far.node


def test_a_server_that_speaks_first(caller: Caller, far: Outside) -> None:
    said = caller.ask("/tcp", host=far.address, port=far.greeter())
    assert said.encode() == GREETING


def test_https_to_an_unknown_address(caller: Caller, far: Outside) -> None:
    said = caller.http(f"https://{far.address}:{far.https('secure.test')}/")
    assert said["source"] == far.node


def test_a_service_entry_with_addresses(weft: Instance, caller: Caller, far: Outside) -> None:
    text = entry("static.test", 80, "HTTP", far.http(), far.address)
    weft.weft("apply", "-f", "-", stdin=text)
    caller.settled("http://static.test/x", {"source": far.node, "host": "static.test"})


def test_a_service_entry_with_a_name(weft: Instance, caller: Caller, near: Servers) -> None:
    text = entry("named.test", 8081, "HTTP", near.http(), "localhost")
    weft.weft("apply", "-f", "-", stdin=text)
    caller.settled("http://named.test:8081/", {"host": "named.test:8081"})


def test_a_service_entry_for_tls(weft: Instance, caller: Caller, far: Outside) -> None:
    """The pod's TLS reaches the server as it is; the name in it chose the way."""
    text = entry("secure.test", 443, "TLS", far.https("secure.test"), far.address)
    weft.weft("apply", "-f", "-", stdin=text)
    caller.settled("https://secure.test/", {"source": far.node, "host": "secure.test"})


def test_a_service_entry_for_bytes(weft: Instance, caller: Caller, far: Outside) -> None:
    text = entry("greeter.test", 2525, "TCP", far.greeter(), far.address)
    weft.weft("apply", "-f", "-", stdin=text)
    for host in ("greeter.test", vip_for("greeter.test")):
        said = wait_for(
            lambda h=host: (s := caller.ask("/tcp", host=h, port=2525)).startswith("220") and s,
            f"greeting of {host}",
            15,
        )
        assert said.encode() == GREETING


def test_the_machines_own_addresses(
    weft: Instance, caller: Caller, far: Outside, near: Servers
) -> None:
    """They are answered by whatever listens on the machine, which sees an address of pods."""
    port = near.http()
    node = weft.read("/api/v1/nodes")["items"][0]["status"]["addresses"]
    internal = next(a["address"] for a in node if a["type"] == "InternalIP")
    for address in (internal, far.node):
        source = caller.http(f"http://{address}:{port}/")["source"]
        assert source.rpartition(".")[0] == internal.rpartition(".")[0], source
        assert source != internal
    said = caller.ask("/tcp", host=internal, port=near.greeter())
    assert said.encode() == GREETING


def test_another_pods_address(weft: Instance, caller: Caller) -> None:
    weft.weft("apply", "-f", "-", stdin=m.echo("other"))
    (pod,) = weft.wait_ready("app=other", 1)
    said = caller.http(f"http://{pod['status']['podIP']}:8080/who")
    assert said == {"refused": "v1"}


def test_it_works_after_a_restart_of_weft(weft: Instance, caller: Caller, far: Outside) -> None:
    port = far.http()
    weft.kill_9()
    assert caller.http(f"http://{far.address}:{port}/")["source"] == far.node
    weft.up()
    assert caller.http(f"http://{far.address}:{port}/")["source"] == far.node
    assert is_ready(weft.items("pods", "app=caller")[0])
