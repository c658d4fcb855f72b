"""Nodes whose agent fell silent: Ready becomes Unknown, taints keep pods away and move them.

A node is heard when its Lease is seen changing. What time stands in the Lease does not matter: it
is by the node's clock, which may be wrong by any amount.

Source of times, taints, reasons: Kubernetes' node lifecycle and taint eviction controllers.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.conditions import condition, is_true
from weft.api.k8s.coordination_v1 import Lease
from weft.api.k8s.core_v1 import Node, NodeCondition, Taint
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, meta
from weft.api.taints import (
    PRESSURES,
    TAINT_NOT_READY,
    TAINT_UNREACHABLE,
    TAINT_UNSCHEDULABLE,
    covers,
)
from weft.api.wellknown import REASON_NODE_NOT_READY
from weft.controllers.support import podstate
from weft.controllers.support.patches import object_patch, status_patch
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Delete, Key, Plan, RecordEvent

LEASE_NAMESPACE = "kube-node-lease"
SILENCE_SECONDS_MAX = 50.0
"""A node whose Lease is not seen changing for this long is Unknown."""
TOLERATION_SECONDS_DEFAULT = 300
"""How long pods that say nothing stay on a node that is not ready or unreachable."""
REASON_SILENT = "NodeStatusUnknown"
REASON_NEVER_TOLD = "NodeStatusNeverUpdated"
_OURS = (TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE, *PRESSURES.values())
_AWAY = (TAINT_NOT_READY, TAINT_UNREACHABLE)
_WATCHED_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Judge one node by its Lease."""
    node = snapshot.get(Node, key.name)
    if node is None or node.metadata.deletion_timestamp:
        return NOTHING
    left = SILENCE_SECONDS_MAX - _silent_seconds(snapshot, node, now)
    conditions = node.status.conditions
    if left <= 0:
        conditions = _unknown(node, now)
    elif _renews(snapshot, node):
        conditions = _heard(node, now)
    judged = replace(node, status=replace(node.status, conditions=conditions))
    actions: list[Action] = []
    taints = _taints(judged, now)
    if taints != node.spec.taints:
        changed = replace(node, spec=replace(node.spec, taints=taints))
        actions += object_patch(node, changed, conditional=True)
    actions += status_patch(node, judged.status)
    actions += _turned(node, taints, judged)
    return Plan(tuple(actions), requeue_after=left if left > 0 else None)


def _turned(node: Node, taints: Iterable[Taint], judged: Node) -> Iterable[RecordEvent]:
    """That pods are kept away and moved from now on, or come again; and why."""
    was, is_ = (any(t.key in _AWAY for t in each) for each in (node.spec.taints, taints))
    if was is is_:
        return
    word = "NodeNotReady" if is_ else "NodeReady"
    ready = condition(judged.status.conditions, "Ready")
    why = f"{ready.message.rstrip('.')}. " if ready is not None and ready.message else ""
    what = (
        "Its pods get no calls, and are moved when their tolerations end."
        if is_
        else "It takes pods again."
    )
    text = f"Node {node.metadata.name} status is now: {word}. {why}{what}"
    yield RecordEvent(node, "Normal", word, text)


def _silent_seconds(snapshot: Snapshot, node: Node, now: float) -> float:
    """Since its Lease was last seen changing, or first seen; without a Lease since its creation."""
    name = node.metadata.name
    if snapshot.get(Lease, name, LEASE_NAMESPACE) is None:
        return now - seconds(node.metadata.creation_timestamp)
    return snapshot.observed(Lease, name, LEASE_NAMESPACE).unchanged_seconds


def _renews(snapshot: Snapshot, node: Node) -> bool:
    """Whether its Lease was seen changing: one that is only there may be of long ago."""
    if snapshot.get(Lease, node.metadata.name, LEASE_NAMESPACE) is None:
        return True
    return snapshot.observed(Lease, node.metadata.name, LEASE_NAMESPACE).changed


def _unknown(node: Node, now: float) -> tuple[NodeCondition, ...]:
    known = {c.type for c in node.status.conditions}
    missing = (_never_told(t, node, now) for t in _WATCHED_CONDITIONS if t not in known)
    told = (_silent(c, now) if c.type in _WATCHED_CONDITIONS else c for c in node.status.conditions)
    return (*told, *missing)


def _never_told(name: str, node: Node, now: float) -> NodeCondition:
    return NodeCondition(
        type=name,
        last_heartbeat_time=node.metadata.creation_timestamp,
        status="Unknown",
        reason=REASON_NEVER_TOLD,
        message="The node's agent never posted node status.",
        last_transition_time=rfc3339(now),
    )


def _heard(node: Node, now: float) -> tuple[NodeCondition, ...]:
    """Ready again for a node that was only silent: its own report comes minutes later, and until
    then it would lose its pods."""
    return tuple(
        replace(
            c,
            status="True",
            reason="LeaseRenewed",
            message="The node's agent renews its Lease again.",
            last_transition_time=rfc3339(now),
        )
        if c.type == "Ready" and c.reason in (REASON_SILENT, REASON_NEVER_TOLD)
        else c
        for c in node.status.conditions
    )


def _silent(condition: NodeCondition, now: float) -> NodeCondition:
    if condition.status == "Unknown":
        return condition
    return replace(
        condition,
        status="Unknown",
        reason=REASON_SILENT,
        message="The node's agent stopped posting node status.",
        last_transition_time=rfc3339(now),
    )


def _ready(node: Node) -> str:
    found = condition(node.status.conditions, "Ready")
    return found.status if found is not None else ""


def _taints(node: Node, now: float) -> tuple[Taint, ...]:
    """Other people's taints, and those that the node's state asks for."""
    wanted: list[tuple[str, str]] = []
    if _ready(node) == "Unknown":
        wanted += [(TAINT_UNREACHABLE, "NoSchedule"), (TAINT_UNREACHABLE, "NoExecute")]
    elif _ready(node) == "False":
        wanted += [(TAINT_NOT_READY, "NoSchedule"), (TAINT_NOT_READY, "NoExecute")]
    if node.spec.unschedulable:
        wanted.append((TAINT_UNSCHEDULABLE, "NoSchedule"))
    conditions = node.status.conditions
    wanted += [(t, "NoSchedule") for kind, t in PRESSURES.items() if is_true(conditions, kind)]
    kept = [t for t in node.spec.taints if t.key not in _OURS or (t.key, t.effect) in wanted]
    there = {(t.key, t.effect) for t in kept}
    new = [
        Taint(key=k, effect=e, time_added=rfc3339(now)) for k, e in wanted if (k, e) not in there
    ]
    return (*kept, *new)


def _node_of_lease(lease: Struct, snapshot: Snapshot) -> Iterable[Key]:
    if meta(lease).namespace != LEASE_NAMESPACE:
        return ()
    node = snapshot.get(Node, meta(lease).name)
    # A renewal of a node in good order changes nothing: its timer asks again in time.
    if node is None or _ready(node) == "True":
        return ()
    return (Key("", meta(lease).name),)


CONTROLLER = Controller(
    name="node-lifecycle",
    primary=Node,
    plan=plan,
    watches=(Watch(Lease, _node_of_lease),),
    observed=(Lease,),
)


# --- moving pods away


def plan_eviction(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Delete a pod whose node has a NoExecute taint that the pod does not tolerate any longer.

    When no node at all is ready the fault is likely ours or the network's: nothing moves.
    """
    pod = snapshot.get(Pod, key.name, key.namespace)
    if pod is None or not pod.spec.node_name or not podstate.is_active(pod):
        return NOTHING
    node = snapshot.get(Node, pod.spec.node_name)
    taints = [t for t in node.spec.taints if t.effect == "NoExecute"] if node else []
    due = [at for t in taints if (at := _leaves_at(pod, t)) is not None]
    if not due:
        return NOTHING
    left = min(due) - now
    if left > 0:
        return Plan(requeue_after=left)
    if not any(_ready(n) == "True" for n in snapshot.list(Node)):
        return Plan(requeue_after=SILENCE_SECONDS_MAX)
    found = pod.metadata
    drives = min((t for t in taints if _leaves_at(pod, t) is not None),
                 key=lambda t: _leaves_at(pod, t) or 0.0)  # fmt: skip
    text = f"Deleting pod {found.namespace}/{found.name}: node {pod.spec.node_name} has the taint "
    text += f"{drives.key}, which it does not tolerate any longer"
    return Plan(
        (
            RecordEvent(pod, "Normal", "TaintManagerEviction", text),
            Delete(Pod, found.namespace, found.name, found.uid),
        )
    )


def _leaves_at(pod: Pod, taint: Taint) -> float | None:
    """When the taint drives the pod away; None: never."""
    found = [t for t in pod.spec.tolerations if covers(t, taint)]
    added = seconds(taint.time_added)
    if not found:
        silent = taint.key in (TAINT_NOT_READY, TAINT_UNREACHABLE)
        return added + TOLERATION_SECONDS_DEFAULT if silent else added
    limits = [t.toleration_seconds for t in found if t.toleration_seconds is not None]
    return added + max(0, min(limits)) if limits else None


def _tainted_pod(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    node = snapshot.get(Node, pod.spec.node_name) if isinstance(pod, Pod) else None
    if node is None or not _drives_away(node):
        return ()
    return (Key(meta(pod).namespace, meta(pod).name),)


def _pods_of_tainted(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    if not isinstance(node, Node) or not _drives_away(node):
        return ()
    return [
        Key(pod.metadata.namespace, pod.metadata.name)
        for pod in snapshot.list(Pod)
        if pod.spec.node_name == node.metadata.name
    ]


def _drives_away(node: Node) -> bool:
    return any(t.effect == "NoExecute" for t in node.spec.taints)


EVICTION = Controller(
    name="taint-eviction",
    primary=Pod,
    plan=plan_eviction,
    primary_keys=_tainted_pod,
    watches=(Watch(Node, _pods_of_tainted),),
)


# --- pods of a silent node


def plan_unready(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """A pod whose node is silent is not ready, so that its services call others. The node's agent
    says what is so when it is back."""
    pod = snapshot.get(Pod, key.name, key.namespace)
    node = snapshot.get(Node, pod.spec.node_name) if pod is not None else None
    if pod is None or node is None or _ready(node) != "Unknown" or not podstate.is_ready(pod):
        return NOTHING
    conditions = tuple(
        replace(
            c,
            status="False",
            reason=REASON_NODE_NOT_READY,
            message=f"The pod's node {node.metadata.name} is silent.",
            last_transition_time=rfc3339(now),
        )
        if c.type == "Ready"
        else c
        for c in pod.status.conditions
    )
    text = f"Node {node.metadata.name} is silent: the pod gets no calls until its agent is heard."
    event = RecordEvent(pod, "Warning", REASON_NODE_NOT_READY, text)
    return Plan((*status_patch(pod, replace(pod.status, conditions=conditions)), event))


UNREADY = Controller(
    name="pods-of-silent-nodes",
    primary=Pod,
    plan=plan_unready,
    primary_keys=_tainted_pod,
    watches=(Watch(Node, _pods_of_tainted),),
)
