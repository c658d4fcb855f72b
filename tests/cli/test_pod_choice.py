"""Which pod `deploy/web` and `svc/web` mean, and which port."""

from typing import Any

import pytest

from weft.cli import pod_choice


def pod(name: str, phase: str = "Running", **metadata: str) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("owner", "labels"),
    [
        ({"kind": "Deployment", "spec": {"selector": {"matchLabels": {"a": "b"}}}}, {"a": "b"}),
        ({"kind": "Service", "spec": {"selector": {"a": "b"}}}, {"a": "b"}),
        ({"kind": "Service", "spec": {}}, {}),
        ({"kind": "ConfigMap", "data": {}}, {}),
        ({"kind": "Service", "spec": {"selector": {"matchLabels": "x"}}}, {"matchLabels": "x"}),
    ],
)
def test_the_labels_of_its_pods(owner: dict[str, Any], labels: dict[str, str]) -> None:
    assert pod_choice.labels_of(owner) == labels


def test_a_pod_that_runs_and_stays_comes_first() -> None:
    pods = [
        pod("ends", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("waits", "Pending"),
        pod("runs"),
    ]
    assert pod_choice.names_in_order(pods) == ["runs", "waits", "ends"]


def test_a_port_of_a_service_is_the_pods_port_behind_it() -> None:
    ports = [{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "web"}, {"port": 82}]
    service = {"kind": "Service", "spec": {"ports": [*ports, {"port": 83, "targetPort": "none"}]}}
    chosen = {"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 9000}]}]}}
    found = [pod_choice.target_port(service, chosen, port) for port in (80, 81, 82, 83, 84)]
    assert found == [8080, 9000, 82, None, None]
