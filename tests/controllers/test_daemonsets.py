"""DaemonSets: which nodes have a pod, and how a new template reaches them."""

from typing import Any

import pytest

from tests.controllers.simulate import World, finish, make, ready, terminate
from weft.api.k8s.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.node_selectors import named
from weft.controllers import daemonset_nodes, daemonsets, gc

LABELS = {"app": "logs"}


def template(image: str = "v1", **spec: Any) -> Any:
    return {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "main", "image": image}], **spec},
    }


def node(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Node:
    return make(Node, {"metadata": {"labels": labels or {}}, "spec": spec}, name=name)


def world(nodes: int = 3, **spec: Any) -> World:
    w = World([daemonsets.CONTROLLER, gc.CONTROLLER])
    for i in range(nodes):
        w.put(node(f"n{i}"))
    base = {"selector": {"matchLabels": LABELS}, "template": template()}
    w.put(make(DaemonSet, {"spec": base | spec}, name="logs"))
    return w


def place(w: World) -> None:
    for pod in w.all(Pod):
        if not pod.spec.node_name:
            target = daemonset_nodes.node_of(pod)
            w.patch(Pod, pod.metadata.name, {"spec": {"nodeName": target}})


def agent(w: World) -> bool:
    place(w)
    for pod in w.all(Pod):
        if pod.metadata.deletion_timestamp:
            if pod.metadata.deletion_grace_period_seconds:
                terminate(w, pod)
                return True
        elif pod.status.phase == "Pending" and pod.spec.containers[0].image != "bad":
            ready(w, pod)
            return True
    return bool(w.queue)


def running(w: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in w.all(Pod):
        if not pod.metadata.deletion_timestamp:
            image = pod.spec.containers[0].image
            found.setdefault(daemonset_nodes.node_of(pod), []).append(image)
    return {name: sorted(images) for name, images in sorted(found.items())}


def status(w: World) -> DaemonSetStatus:
    return w.need(DaemonSet, "logs").status


def roll(w: World, to: str) -> None:
    w.patch(DaemonSet, "logs", {"spec": {"template": template(to)}})


def test_every_node_gets_one_pod() -> None:
    w = world()
    w.settle(agent)
    assert running(w) == {"n0": ["v1"], "n1": ["v1"], "n2": ["v1"]}
    found = status(w)
    assert (found.desired_number_scheduled, found.current_number_scheduled) == (3, 3)
    assert (found.number_ready, found.number_available, found.updated_number_scheduled) == (3, 3, 3)
    assert (found.number_misscheduled, found.number_unavailable) == (0, None)
    w.put(node("n3"))
    w.settle(agent)
    assert list(running(w)) == ["n0", "n1", "n2", "n3"]


def test_a_pod_is_pinned_and_tolerates_trouble() -> None:
    w = world(1)
    w.settle()
    (pod,) = w.all(Pod)
    assert named(pod.spec) == {"n0"}
    keys = {(t.key, t.effect) for t in pod.spec.tolerations}
    assert ("node.kubernetes.io/not-ready", "NoExecute") in keys
    assert ("node.kubernetes.io/unschedulable", "NoSchedule") in keys
    assert pod.metadata.generate_name == "logs-"


def test_selectors_choose_nodes() -> None:
    w = world(1, template=template(nodeSelector={"disk": "ssd"}))
    w.put(node("fast", {"disk": "ssd"}))
    w.settle(agent)
    assert list(running(w)) == ["fast"]
    w.patch(Node, "n0", {"metadata": {"labels": {"disk": "ssd"}}}, "")
    w.settle(agent)
    assert list(running(w)) == ["fast", "n0"]
    w.patch(Node, "fast", {"metadata": {"labels": {"disk": None}}}, "")
    w.settle(agent)
    assert list(running(w)) == ["n0"]


@pytest.mark.parametrize(
    ("effect", "tolerated", "before", "after"),
    [
        ("NoSchedule", False, 1, 1),
        ("NoExecute", False, 1, 0),
        ("NoExecute", True, 1, 1),
        ("PreferNoSchedule", False, 1, 1),
    ],
)
def test_taints(effect: str, tolerated: bool, before: int, after: int) -> None:
    more = {"tolerations": [{"key": "gpu", "operator": "Exists"}]} if tolerated else {}
    w = world(1, template=template(**more))
    w.settle(agent)
    assert len(running(w)) == before
    taint = {"key": "gpu", "effect": effect}
    w.patch(Node, "n0", {"spec": {"taints": [taint]}}, "")
    w.settle(agent)
    assert len(running(w)) == after
    w.put(node("n1", taints=[taint]))
    w.settle(agent)
    starts = tolerated or effect == "PreferNoSchedule"
    assert ("n1" in running(w)) == starts


def test_cordoned_nodes_get_it_too() -> None:
    w = world(0)
    w.put(node("n0", unschedulable=True))
    w.settle(agent)
    assert list(running(w)) == ["n0"]


def test_an_update_takes_one_node_after_another() -> None:
    w = world()
    w.settle(agent)
    roll(w, "v2")
    w.settle()
    assert len(running(w)) == 2
    told = [e.reason for e in w.events]
    assert told.count("SuccessfulDelete") == 1
    w.settle(agent)
    assert running(w) == {"n0": ["v2"], "n1": ["v2"], "n2": ["v2"]}
    assert len(w.all(ControllerRevision)) == 2


def test_several_nodes_at_once() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}
    w = world(4, updateStrategy=rolling)
    w.settle(agent)
    roll(w, "v2")
    w.settle()
    assert len(running(w)) == 2


def test_a_bad_update_stops_and_can_be_left() -> None:
    w = world()
    w.settle(agent)
    roll(w, "bad")
    w.settle(agent)
    assert sorted(running(w).values()) == [["bad"], ["v1"], ["v1"]]
    roll(w, "v1")
    w.settle(agent)
    assert running(w) == {"n0": ["v1"], "n1": ["v1"], "n2": ["v1"]}


def test_a_surge_starts_the_new_pod_before_the_old_one_goes() -> None:
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    w = world(updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    w.settle(agent)
    roll(w, "v2")
    w.settle()
    assert sorted(running(w).values()) == [["v1"], ["v1"], ["v1", "v2"]]
    w.check = _every_node_serves
    w.settle(agent)
    w.check = lambda world: None
    assert running(w) == {"n0": ["v2"], "n1": ["v2"], "n2": ["v2"]}


def _every_node_serves(w: World) -> None:
    up = {p.spec.node_name for p in w.all(Pod) if p.status.phase == "Running"}
    assert up == {"n0", "n1", "n2"}


def test_on_delete_waits_for_people() -> None:
    w = world(2, updateStrategy={"type": "OnDelete"})
    w.settle(agent)
    roll(w, "v2")
    w.settle(agent)
    assert running(w) == {"n0": ["v1"], "n1": ["v1"]}
    w.delete(Pod, w.all(Pod)[0].metadata.name)
    w.settle(agent)
    assert sorted(running(w).values()) == [["v1"], ["v2"]]
    assert status(w).updated_number_scheduled == 1


def test_a_pod_that_ended_is_made_again_after_a_while() -> None:
    w = world(1)
    w.settle(agent)
    finish(w, w.all(Pod)[0], 1)
    w.settle(agent)
    assert w.all(Pod)[0].status.phase == "Failed"
    w.pass_time(61)
    w.settle(agent)
    assert w.all(Pod)[0].status.phase == "Running"
    assert "FailedDaemonPod" in [e.reason for e in w.events]


def test_a_second_pod_of_a_node_is_removed() -> None:
    w = world(1)
    w.settle(agent)
    (pod,) = w.all(Pod)
    w.pass_time(5)
    second = make(Pod, {"spec": {"nodeName": "n0"}}, name="second", labels=pod.metadata.labels)
    w.put(second)
    w.settle(agent)
    assert [p.metadata.name for p in w.all(Pod)] == [pod.metadata.name]


def test_availability_takes_time() -> None:
    w = world(1, minReadySeconds=10)
    w.settle(agent)
    assert (status(w).number_ready, status(w).number_available) == (1, None)
    assert status(w).number_unavailable == 1
    w.pass_time(11)
    w.settle(agent)
    assert status(w).number_available == 1
