"""Pods as workloads: which take part, and what they are called."""

import pytest
from msgspec.structs import replace

from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodSpec, PodStatus
from weft.mesh.workloads import pod_facts, workload_name

CONNECTED = (PodCondition(type="PodReadyToStartContainers", status="True"),)
RUNNING = Pod(
    metadata=ObjectMeta(name="web-1", namespace="shop", uid="u"),
    spec=PodSpec(),
    status=PodStatus(phase="Pending", pod_ip="10.0.0.1", conditions=CONNECTED),
)


@pytest.mark.parametrize(
    ("status", "connected"),
    [
        (RUNNING.status, True),
        (replace(RUNNING.status, pod_ip=""), False),
        (replace(RUNNING.status, conditions=()), False),
        (
            replace(
                RUNNING.status,
                conditions=(PodCondition(type="PodReadyToStartContainers", status="False"),),
            ),
            False,
        ),
        (replace(RUNNING.status, phase="Succeeded"), False),
        (replace(RUNNING.status, phase="Failed"), False),
    ],
)
def test_a_pod_takes_part_once_its_network_is_up(status: PodStatus, connected: bool) -> None:
    assert pod_facts(replace(RUNNING, status=status), "td").connected is connected


def test_a_pod_in_the_nodes_network_takes_no_part() -> None:
    pod = replace(RUNNING, spec=PodSpec(host_network=True))
    assert not pod_facts(pod, "td").connected


def test_identity() -> None:
    assert pod_facts(RUNNING, "td").principal == "spiffe://td/ns/shop/sa/default"
    named = replace(RUNNING, spec=PodSpec(service_account_name="web"))
    assert pod_facts(named, "td").principal == "spiffe://td/ns/shop/sa/web"


@pytest.mark.parametrize(
    ("owner", "labels", "name"),
    [
        (("ReplicaSet", "web-5d4f"), {"pod-template-hash": "5d4f"}, "web"),
        (("ReplicaSet", "web-5d4f"), {}, "web-5d4f"),
        (("Job", "import"), {}, "import"),
        (None, {}, "web-1"),
    ],
)
def test_the_workload_is_what_a_user_created(
    owner: tuple[str, str] | None, labels: dict[str, str], name: str
) -> None:
    owners = (OwnerReference(kind=owner[0], name=owner[1], controller=True),) if owner else ()
    meta = ObjectMeta(name="web-1", owner_references=owners, labels=labels)
    assert workload_name(Pod(metadata=meta)) == name


def test_unreadable_annotations_count_as_absent() -> None:
    for text in ("{", '{"a": 1}', "[]", '{"80": "x"}'):
        meta = ObjectMeta(name="web-1", annotations={"weft.dev/host-ports": text})
        assert dict(pod_facts(Pod(metadata=meta), "td").host_ports) == {}
