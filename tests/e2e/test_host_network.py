"""Pods in the node's own network: `hostNetwork: true`."""

import json
import socket
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, wait_for

pytestmark = pytest.mark.e2e


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def through_gateway(weft: Instance, path: str, **query: str) -> tuple[int, str]:
    url = f"{weft.gateway()}{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"Host": "caller.example"})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def calls(weft: Instance, url: str) -> Any:
    status, body = through_gateway(weft, "/call", url=url)
    return json.loads(body) if status == 200 else None


@pytest.fixture(scope="module")
def hosted(weft: Instance) -> tuple[Instance, int]:
    """A service whose pod is in the node's network, and a pod that calls it."""
    port = free_port()
    text = (
        m.echo("direct", port=port).replace(
            "    spec:\n", "    spec:\n      hostNetwork: true\n", 1
        )
        + m.service("direct")
        + "---"
        + m.echo("caller")
        + m.service("caller")
        + m.gateway("front", "*.example")
        + m.routes("caller-front", m.to("caller"), "caller.example", "front")
    )
    assert "hostNetwork" in text
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=direct", 1)
    weft.wait_ready("app=caller", 1)
    return weft, port


def test_it_has_the_nodes_address_and_its_own_port(hosted: tuple[Instance, int]) -> None:
    weft, port = hosted
    (pod,) = weft.ready_pods("app=direct")
    node = weft.read("/api/v1/nodes")["items"][0]
    internal = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    assert pod["status"]["podIP"] == pod["status"]["hostIP"] == internal
    with urllib.request.urlopen(f"http://{internal}:{port}/env", timeout=5) as answer:
        env = json.load(answer)
    assert env["PORT"] == str(port)
    assert env["HOSTNAME"] == pod["spec"]["nodeName"]
    assert "http_proxy" not in env


def test_pods_call_it_by_its_service(hosted: tuple[Instance, int]) -> None:
    weft, _ = hosted
    said = wait_for(lambda: calls(weft, "http://direct/hello"), "the service answers", 15)
    assert (said["path"], said["headers"]["Host"]) == ("/hello", "direct")


def test_it_survives_a_restart_of_weft(hosted: tuple[Instance, int]) -> None:
    weft, _ = hosted
    (before,) = weft.ready_pods("app=direct")
    pid = weft.pid_of(before["metadata"]["name"])
    weft.kill_9()
    weft.up()
    (after,) = weft.wait_ready("app=direct", 1)
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert weft.pid_of(before["metadata"]["name"]) == pid
    wait_for(lambda: calls(weft, "http://direct/again"), "the service answers", 15)


def test_two_cannot_have_the_same_port(hosted: tuple[Instance, int]) -> None:
    weft, _ = hosted
    weft.api("/apis/apps/v1/namespaces/default/deployments/direct-v1", "PATCH",
             {"spec": {"replicas": 2}})  # fmt: skip

    def why() -> bool:
        return any(
            "free ports" in c.get("message", "")
            for pod in weft.items("pods", "app=direct")
            for c in pod.get("status", {}).get("conditions", [])
        )

    wait_for(why, "the scheduler says that no port is free", 15)


def test_it_ends(hosted: tuple[Instance, int]) -> None:
    weft, port = hosted
    weft.api("/apis/apps/v1/namespaces/default/deployments/direct-v1", "DELETE")
    wait_for(lambda: not weft.items("pods", "app=direct"), "pods gone, long before 30 s", 15)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
