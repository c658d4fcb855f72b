"""What Kubernetes fills in."""

import copy
from typing import Any

import pytest

from tests.api.test_structure import SAMPLES, kind_of
from weft.api import registry
from weft.api.defaults import default


def defaulted(api_version: str, kind: str, **body: Any) -> dict[str, Any]:
    found = registry.find_api_version(api_version, kind)
    assert found is not None
    return default(found, {"metadata": {"name": "x"}, **body})


def pod(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = defaulted("v1", "Pod", spec=spec)["spec"]
    return found


def test_pod() -> None:
    made = pod(containers=[{"name": "c", "image": "i"}])
    assert made == {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("i", "Always"), ("i:latest", "Always"), ("i:1", "IfNotPresent"),
        ("r.example.com:5000/i", "Always"), ("r.example.com:5000/i:2", "IfNotPresent"),
        ("i@sha256:abc", "IfNotPresent"),
    ],
)  # fmt: skip
def test_pull_policy(image: str, policy: str) -> None:
    made = pod(containers=[{"name": "c", "image": image}])
    assert made["containers"][0]["imagePullPolicy"] == policy


def test_parts_of_containers() -> None:
    container = {
        "name": "c",
        "image": "i:1",
        "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5},
        "livenessProbe": {"grpc": {"port": 1}, "failureThreshold": 0},
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    }
    made = pod(containers=[container])["containers"][0]
    assert [port["protocol"] for port in made["ports"]] == ["TCP", "UDP"]
    assert made["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "periodSeconds": 5,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert made["livenessProbe"]["grpc"] == {"port": 1, "service": ""}
    assert made["livenessProbe"]["failureThreshold"] == 3
    assert made["lifecycle"]["preStop"]["httpGet"]["scheme"] == "HTTP"
    assert made["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert made["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_volumes() -> None:
    made = pod(
        containers=[],
        volumes=[
            {"name": "a"},
            {"name": "b", "configMap": {"name": "x"}},
            {"name": "c", "secret": {"secretName": "x", "defaultMode": 256}},
            {
                "name": "d",
                "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "f"}}]},
            },
            {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        ],
    )["volumes"]
    assert made[0] == {"name": "a", "emptyDir": {}}
    assert made[1]["configMap"]["defaultMode"] == 420
    assert made[2]["secret"]["defaultMode"] == 256
    assert made[3]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert made[4]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600


def test_host_network_ports() -> None:
    made = pod(hostNetwork=True, containers=[{"name": "c", "ports": [{"containerPort": 80}]}])
    assert made["containers"][0]["ports"][0]["hostPort"] == 80


def test_deployment_and_template() -> None:
    spec = defaulted("apps/v1", "Deployment", spec={"template": {"spec": {}}})["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert "enableServiceLinks" not in spec["template"]["spec"]
    recreate = defaulted("apps/v1", "Deployment", spec={"strategy": {"type": "Recreate"}})
    assert recreate["spec"]["strategy"] == {"type": "Recreate"}
    zero = defaulted("apps/v1", "Deployment", spec={"replicas": 0})
    assert zero["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    ("given", "completions", "parallelism"),
    [({}, 1, 1), ({"parallelism": 3}, None, 3), ({"completions": 5}, 5, 1)],
)
def test_job(given: dict[str, Any], completions: int | None, parallelism: int) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {}}
    job = defaulted("batch/v1", "Job", spec={**given, "template": template})
    spec = job["spec"]
    assert (spec.get("completions"), spec["parallelism"]) == (completions, parallelism)
    assert (spec["backoffLimit"], spec["completionMode"], spec["suspend"]) == (
        6,
        "NonIndexed",
        False,
    )
    assert job["metadata"]["labels"] == {"a": "b"}


def test_service() -> None:
    spec = defaulted("v1", "Service", spec={"ports": [{"port": 80}]})["spec"]
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    balancer = defaulted("v1", "Service", spec={"type": "LoadBalancer"})["spec"]
    assert balancer["externalTrafficPolicy"] == "Cluster"
    assert balancer["allocateLoadBalancerNodePorts"] is True
    sticky = defaulted("v1", "Service", spec={"sessionAffinity": "ClientIP"})["spec"]
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    external = defaulted("v1", "Service", spec={"type": "ExternalName"})["spec"]
    assert "ipFamilies" not in external


def test_small_kinds() -> None:
    assert defaulted("v1", "Secret")["type"] == "Opaque"
    space = defaulted("v1", "Namespace")
    assert space["status"] == {"phase": "Active"}
    assert space["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    slice_ = defaulted("discovery.k8s.io/v1", "EndpointSlice", ports=[{"port": 1}])
    assert slice_["ports"] == [{"port": 1, "protocol": "TCP", "name": ""}]
    node = defaulted("v1", "Node", status={"capacity": {"cpu": "2"}})
    assert node["status"]["allocatable"] == {"cpu": "2"}


@pytest.mark.parametrize("obj", SAMPLES, ids=lambda o: o["kind"])
def test_twice_is_once_and_own_values_stay(obj: dict[str, Any]) -> None:
    kind = kind_of(obj)
    once = default(kind, copy.deepcopy(obj))
    assert default(kind, copy.deepcopy(once)) == once
    if obj["kind"] == "VirtualService":
        assert once == obj
