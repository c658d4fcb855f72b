"""kubectl against the whole: what needs controllers, nodes and traffic to be worth a test."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import kubectl_scripts
from tests.e2e import manifests as m
from tests.e2e.instance import Instance, kubectl_binary, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shop(isolated: Instance) -> Instance:
    isolated.kubectl("apply", "-f", "-", stdin=m.echo("web", replicas=2) + m.service("web"))
    isolated.wait_ready("app=web", 2)
    return isolated


def test_top_says_what_is_used(shop: Instance) -> None:
    (node,) = shop.kubectl("top", "node", "--no-headers").splitlines()
    _, cpu, percent, memory, _ = node.split()
    assert int(cpu.removesuffix("m")) > 0
    assert percent.endswith("%")
    assert int(memory.removesuffix("Mi")) > 100
    rows = shop.kubectl("top", "pod", "-l", "app=web", "--containers", "--no-headers").splitlines()
    assert [row.split()[1] for row in rows] == ["echo", "echo"]
    assert all(5 < int(row.split()[3].removesuffix("Mi")) < 500 for row in rows)
    assert shop.kubectl("top", "pod", "-A", "--sort-by=memory", "--sum").count("web-v1") == 2
    pod = shop.ready_pods("app=web")[0]["metadata"]["name"]
    found = shop.read(f"/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/{pod}")
    assert found["containers"][0]["usage"]["memory"].endswith("Ki")
    assert "WINDOW" in shop.kubectl("get", "pods.metrics.k8s.io")
    assert "NotFound" in shop.kubectl("get", "nodes.metrics.k8s.io", "none", check=False)


def test_endpoints_of_services(shop: Instance, tmp_path: Path) -> None:
    """Those with a selector show their pods; those that a user writes carry traffic."""
    addresses = sorted(p["status"]["podIP"] for p in shop.ready_pods("app=web"))

    def shown() -> list[str]:
        found: Any = shop.read("/api/v1/namespaces/default/endpoints/web")
        return [a["ip"] for s in found.get("subsets", ()) for a in s.get("addresses", ())]

    wait_for(lambda: sorted(shown()) == addresses, "Endpoints of the Service")
    assert f"{addresses[0]}:" in shop.kubectl("get", "endpoints", "web")
    port = shop.read("/api/v1/namespaces/default/endpoints/web")["subsets"][0]["ports"][0]["port"]
    outside = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }  # fmt: skip
    points = {
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "outside"},
        "subsets": [{"addresses": [{"ip": addresses[0]}],
                     "ports": [{"name": "http", "port": port}]}],
    }  # fmt: skip
    text = json.dumps(outside) + "\n---\n" + json.dumps(points)
    shop.kubectl("apply", "-f", "-", stdin=text)
    pod = shop.ready_pods("app=web")[0]["metadata"]["name"]
    ask = "import os, urllib.request as u; print(u.urlopen('http://outside/who').read().decode())"

    def answered() -> bool:
        return "v1" in shop.kubectl("exec", pod, "--", sys.executable, "-c", ask, check=False)

    wait_for(answered, "calls through the mirrored slice")


def test_a_replication_controller_keeps_pods(shop: Instance) -> None:
    labels = {"app": "old"}
    pod = {"containers": [{"name": "echo", "image": "echo:1"}], "terminationGracePeriodSeconds": 1}
    template = {"metadata": {"labels": labels}, "spec": pod}
    body = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old"},
            "spec": {"replicas": 1, "template": template}}  # fmt: skip
    shop.kubectl("create", "-f", "-", stdin=json.dumps(body))
    shop.wait_ready("app=old", 1)
    assert "scaled" in shop.kubectl("scale", "rc/old", "--replicas=0", "--timeout=30s")
    assert "0 current / 0 desired" in shop.kubectl("describe", "rc", "old")
    shop.kubectl("delete", "rc", "old")


def test_an_eviction_takes_from_its_budget_once(shop: Instance) -> None:
    """Two at once for one allowed disruption: one goes, the other is told to try again."""
    shop.kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=1")
    status = {"status": {"disruptionsAllowed": 1, "desiredHealthy": 1, "currentHealthy": 2,
                         "expectedPods": 2, "observedGeneration": 1}}  # fmt: skip
    shop.kubectl("patch", "pdb", "web", "--subresource=status", "--type=merge",
                 "-p", json.dumps(status))  # fmt: skip
    path = "/api/v1/namespaces/default/pods/{0}/eviction"
    running = []
    for pod in shop.ready_pods("app=web"):
        name = pod["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        command = ["create", "--raw", path.format(name), "-f", "-"]
        running.append(_start(shop, command, json.dumps(body)))
    said = [process.communicate(timeout=30) for process in running]
    assert sorted(process.returncode for process in running) == [0, 1]
    assert "disruption budget" in "".join(err for _, err in said)
    shop.kubectl("delete", "pdb", "web")


def _start(shop: Instance, args: list[str], stdin: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [str(kubectl_binary()), "--kubeconfig", str(shop.kubeconfig), *args],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("script", kubectl_scripts.scripts(Path(__file__).parent / "checks"))
def test_controllers_do_what_kubectl_expects(shop: Instance, script: Path, tmp_path: Path) -> None:
    """Checks in the manner of Kubernetes' test/cmd: nothing that they make needs to run."""
    binary = kubectl_binary()
    assert binary
    kubectl_scripts.run(script, binary, shop.kubeconfig, tmp_path, "checks")
