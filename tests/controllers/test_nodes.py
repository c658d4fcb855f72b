"""Silent nodes: conditions, taints, evictions."""

from typing import Any

import pytest

from tests.controllers.simulate import START, World, kubelet, make
from weft.api.k8s.coordination_v1 import Lease
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import meta
from weft.controllers import nodes
from weft.lib.timefmt import rfc3339, rfc3339_micro

UNREACHABLE = "node.kubernetes.io/unreachable"


def world(names: tuple[str, ...] = ("n1", "n2")) -> World:
    w = World([nodes.CONTROLLER, nodes.EVICTION])
    for name in names:
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": rfc3339(START)}
        w.put(make(Node, {"status": {"conditions": [ready]}}, name=name))
        renew(w, name)
    w.settle()
    return w


def renew(w: World, name: str, skew: float = 0.0) -> None:
    """As an agent does whose clock is `skew` seconds ahead."""
    spec = {"renewTime": rfc3339_micro(w.now + skew)}
    if w.get(Lease, name, "kube-node-lease"):
        w.patch(Lease, name, {"spec": spec}, "kube-node-lease")
    else:
        w.put(make(Lease, {"spec": spec}, name=name, namespace="kube-node-lease"))


def pass_time(w: World, seconds: int, *alive: str) -> None:
    """Time passes in steps of ten seconds; the named nodes renew their Leases."""
    for _ in range(seconds // 10):
        w.pass_time(10)
        for name in alive:
            renew(w, name)
        w.settle()


def status(w: World, name: str) -> str:
    return next(c.status for c in w.need(Node, name, "").status.conditions if c.type == "Ready")


def taints(w: World, name: str) -> set[tuple[str, str]]:
    return {(t.key, t.effect) for t in w.need(Node, name, "").spec.taints}


def test_a_node_that_renews_stays_ready() -> None:
    w = world()
    pass_time(w, 200, "n1", "n2")
    assert status(w, "n1") == "True"
    assert w.writes == []


def test_a_node_that_never_told_anything_is_unknown_in_all_respects() -> None:
    w = world(())
    w.put(make(Node, {}, name="n1"))
    pass_time(w, 60)
    found = w.need(Node, "n1", "").status.conditions
    assert {c.type for c in found} == {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}
    assert {(c.status, c.reason) for c in found} == {("Unknown", "NodeStatusNeverUpdated")}


def test_a_silent_node_is_unknown_after_fifty_seconds() -> None:
    w = world()
    pass_time(w, 40, "n2")
    assert status(w, "n1") == "True"
    pass_time(w, 20, "n2")
    assert status(w, "n1") == "Unknown"
    assert taints(w, "n1") == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    assert status(w, "n2") == "True"
    (event,) = w.events
    assert event.reason == "NodeNotReady"
    assert event.message == (
        "Node n1 status is now: NodeNotReady. The node's agent stopped posting node status. "
        "Its pods get no calls, and are moved when their tolerations end."
    )


@pytest.mark.parametrize("skew", [-86_400, -60, 60, 86_400])
def test_clocks_of_nodes_do_not_matter(skew: float) -> None:
    """One that is behind is no silence, one that is ahead hides none."""
    w = world()
    for _ in range(12):
        w.pass_time(10)
        renew(w, "n1", skew)
        renew(w, "n2")
        w.settle()
        assert status(w, "n1") == "True"
    pass_time(w, 40, "n2")
    assert status(w, "n1") == "True"
    pass_time(w, 20, "n2")
    assert status(w, "n1") == "Unknown"
    w.pass_time(10)
    renew(w, "n1", skew)
    w.settle()
    assert status(w, "n1") == "True"


def test_a_controller_that_has_just_started_knows_of_no_silence_and_of_no_return() -> None:
    """It waits as for a node that was heard just now; a Lease that is only there is no sign."""
    w = world()
    pass_time(w, 60, "n2")
    assert status(w, "n1") == "Unknown"
    again = World([nodes.CONTROLLER])
    again.now = w.now + 1000
    for name in ("n1", "n2"):
        again.put(w.need(Node, name, ""))
        again.put(w.need(Lease, name, "kube-node-lease"))
    again.settle()
    assert (status(again, "n1"), status(again, "n2")) == ("Unknown", "True")
    pass_time(again, 40, "n1")
    assert (status(again, "n1"), status(again, "n2")) == ("True", "True")
    pass_time(again, 20, "n1")
    assert status(again, "n2") == "Unknown"


def test_a_node_that_speaks_again_is_ready_and_loses_our_taints() -> None:
    w = world()
    pass_time(w, 60, "n2")
    ours = [
        {"key": t.key, "effect": t.effect, "timeAdded": t.time_added}
        for t in w.need(Node, "n1", "").spec.taints
    ]
    mine = {"key": "mine", "effect": "NoSchedule"}
    w.patch(Node, "n1", {"spec": {"taints": [*ours, mine]}}, "")
    pass_time(w, 10, "n1", "n2")
    assert status(w, "n1") == "True"
    assert taints(w, "n1") == {("mine", "NoSchedule")}


def test_a_node_that_says_it_is_not_ready_is_believed() -> None:
    w = world()
    body = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "X"}]}}
    w.set_status(w.need(Node, "n1", ""), make(Node, body, name="x").status)
    pass_time(w, 20, "n1", "n2")
    assert status(w, "n1") == "False"
    not_ready = "node.kubernetes.io/not-ready"
    assert taints(w, "n1") == {(not_ready, "NoSchedule"), (not_ready, "NoExecute")}


def test_cordon_adds_its_taint() -> None:
    w = world()
    w.patch(Node, "n1", {"spec": {"unschedulable": True}}, "")
    w.settle()
    assert taints(w, "n1") == {("node.kubernetes.io/unschedulable", "NoSchedule")}
    w.patch(Node, "n1", {"spec": {"unschedulable": None}}, "")
    w.settle()
    assert taints(w, "n1") == set()


def put_pod(w: World, **spec: Any) -> None:
    w.put(make(Pod, {"spec": {"nodeName": "n1", **spec}}, name="p"))
    w.settle(kubelet)


def is_leaving(w: World) -> bool:
    found = w.get(Pod, "p")
    return found is None or bool(found.metadata.deletion_timestamp)


def test_pods_of_a_silent_node_leave_after_five_minutes() -> None:
    w = world()
    put_pod(w)
    pass_time(w, 60, "n2")
    pass_time(w, 280, "n2")
    assert not is_leaving(w)
    pass_time(w, 30, "n2")
    assert is_leaving(w)
    said = next(e.message for e in w.events if e.reason == "TaintManagerEviction")
    assert said == (
        f"Deleting pod default/p: node n1 has the taint {UNREACHABLE}, which it does not tolerate "
        "any longer"
    )


@pytest.mark.parametrize(
    ("toleration", "stays"),
    [
        ({"operator": "Exists"}, True),
        ({"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"}, True),
        ({"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 1000}, True),
        ({"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 20}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_decide(toleration: dict[str, Any], stays: bool) -> None:
    w = world()
    put_pod(w, tolerations=[toleration])
    pass_time(w, 600, "n2")
    assert is_leaving(w) is not stays


def test_when_every_node_is_silent_nothing_moves() -> None:
    w = world()
    put_pod(w)
    pass_time(w, 600)
    assert status(w, "n1") == status(w, "n2") == "Unknown"
    assert not is_leaving(w)


def test_a_users_no_execute_taint_drives_pods_away_at_once() -> None:
    w = world()
    put_pod(w)
    taint = {"key": "repair", "effect": "NoExecute", "timeAdded": rfc3339(w.now)}
    w.patch(Node, "n1", {"spec": {"taints": [taint]}}, "")
    w.settle()
    assert is_leaving(w)


def test_pods_of_a_silent_node_are_not_ready() -> None:
    w = World([nodes.CONTROLLER, nodes.UNREADY])
    for name in ("n1", "n2"):
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": rfc3339(START)}
        w.put(make(Node, {"status": {"conditions": [ready]}}, name=name))
        renew(w, name)
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        w.put(make(Pod, {"spec": {"nodeName": name}, "status": status}, name=f"on-{name}"))
    pass_time(w, 60, "n1")
    found = {
        name: {c.type: (c.status, c.reason) for c in w.need(Pod, name).status.conditions}["Ready"]
        for name in ("on-n1", "on-n2")
    }
    assert found == {"on-n1": ("True", ""), "on-n2": ("False", "NodeNotReady")}
    told = [meta(e.regarding).name for e in w.events if "the pod gets no calls" in e.message]
    assert told == ["on-n2"]


def test_pressures_taint_a_node_while_they_last() -> None:
    kinds = {"MemoryPressure": "memory", "PIDPressure": "pid", "DiskPressure": "disk"}
    w = World([nodes.CONTROLLER])
    for name, held in (("all", tuple(kinds)), ("pids", ("PIDPressure",)), ("none", ())):
        told = [{"type": k, "status": str(k in held)} for k in kinds]
        ready = {"type": "Ready", "status": "True"}
        old = [{"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}]
        body = {"spec": {"taints": old}, "status": {"conditions": [ready, *told]}}
        w.put(make(Node, body, name=name))
        renew(w, name)
        w.settle()
        assert taints(w, name) == {
            (f"node.kubernetes.io/{kinds[k]}-pressure", "NoSchedule") for k in held
        }
