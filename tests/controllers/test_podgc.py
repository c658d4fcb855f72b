"""Pods without an agent: removed, but not before their node had time to come back."""

from tests.controllers.simulate import World, make
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import podgc


def world() -> World:
    w = World([podgc.CONTROLLER])
    w.put(make(Node, {}, name="n1"))
    w.put(make(Pod, {"spec": {"nodeName": "n1"}}, name="p"))
    w.settle()
    return w


def test_a_pod_on_a_node_is_left_alone() -> None:
    w = world()
    assert w.writes == []


def test_pods_of_a_lost_node_go_after_quarantine() -> None:
    w = world()
    w.delete(Node, "n1", "")
    w.settle()
    (mark,) = w.need(Pod, "p").status.conditions
    assert (mark.type, mark.reason) == ("DisruptionTarget", "DeletionByPodGC")
    w.pass_time(39)
    w.settle()
    assert w.get(Pod, "p") is not None
    w.pass_time(2)
    w.settle()
    assert w.get(Pod, "p") is None
    assert [e.message for e in w.events] == ["node n1 is gone for 40 s: its pod is removed"]


def test_a_node_that_comes_back_keeps_its_pods() -> None:
    w = world()
    w.delete(Node, "n1", "")
    w.settle()
    w.pass_time(20)
    w.put(make(Node, {}, name="n1"))
    w.settle()
    w.pass_time(100)
    w.settle()
    assert w.need(Pod, "p").status.conditions == ()


def test_a_pod_deleted_before_it_was_placed_goes_at_once() -> None:
    w = World([podgc.CONTROLLER])
    w.put(
        make(
            Pod, {}, name="p", deletionTimestamp="2026-01-01T00:00:00Z",
            deletionGracePeriodSeconds=30,
        )
    )  # fmt: skip
    w.settle()
    assert w.get(Pod, "p") is None
