"""Pods that nobody else will ever remove.

A pod of a node that no longer exists is marked first and removed when the node stayed away; a pod
that was never placed has no agent that could confirm its end. Source: Kubernetes' podgc.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod, PodCondition
from weft.api.snapshot import Snapshot, meta
from weft.controllers.support import podstate
from weft.controllers.support.patches import status_patch
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Delete, Key, Plan, RecordEvent

QUARANTINE_SECONDS = 40.0
"""How long a node may be gone before its pods are removed."""
CONDITION = "DisruptionTarget"
REASON = "DeletionByPodGC"
MESSAGE = "PodGC: node no longer exists"


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Mark, unmark or remove one pod."""
    pod = snapshot.get(Pod, key.name, key.namespace)
    if pod is None:
        return NOTHING
    if not pod.spec.node_name:
        return Plan((_remove(pod),)) if podstate.is_terminating(pod) else NOTHING
    mark = podstate.condition(pod, CONDITION)
    marked = mark is not None and mark.reason == REASON
    if snapshot.get(Node, pod.spec.node_name) is not None:
        return Plan(_with_mark(pod, None)) if marked else NOTHING
    if mark is None or not marked:
        new = PodCondition(
            type=CONDITION,
            status="True",
            reason=REASON,
            message=MESSAGE,
            last_transition_time=rfc3339(now),
        )
        return Plan(_with_mark(pod, new), requeue_after=QUARANTINE_SECONDS)
    left = podstate.seconds(mark.last_transition_time) + QUARANTINE_SECONDS - now
    if left > 0:
        return Plan(requeue_after=left)
    text = f"node {pod.spec.node_name} is gone for {QUARANTINE_SECONDS:.0f} s: its pod is removed"
    return Plan((RecordEvent(pod, "Warning", "NodeGone", text), _remove(pod)))


def _with_mark(pod: Pod, mark: PodCondition | None) -> tuple[Action, ...]:
    others = tuple(c for c in pod.status.conditions if c.type != CONDITION)
    conditions = (*others, mark) if mark else others
    return status_patch(pod, replace(pod.status, conditions=conditions))


def _remove(pod: Pod) -> Delete:
    found = pod.metadata
    return Delete(Pod, found.namespace, found.name, found.uid, grace_period_seconds=0)


def _own(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Only pods that need anything: most never do."""
    if not isinstance(pod, Pod):
        return ()
    lost = not pod.spec.node_name and podstate.is_terminating(pod)
    mark = podstate.condition(pod, CONDITION)
    marked = mark is not None and mark.reason == REASON
    absent = pod.spec.node_name and snapshot.get(Node, pod.spec.node_name) is None
    key = Key(pod.metadata.namespace, pod.metadata.name)
    return (key,) if lost or marked or absent else ()


def _of_node(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """All pods of a node that went away or came back."""
    name = meta(node).name
    gone = snapshot.get(Node, name) is None
    return [
        Key(pod.metadata.namespace, pod.metadata.name)
        for pod in snapshot.list(Pod)
        if pod.spec.node_name == name and (gone or podstate.condition(pod, CONDITION) is not None)
    ]


CONTROLLER = Controller(
    name="pod-gc",
    primary=Pod,
    plan=plan,
    primary_keys=_own,
    watches=(Watch(Node, _of_node),),
)
