"""Queues as a controller: all of them are planned under one key.

Jobs of queues are created suspended and pods with a gate (`apiserver.queue_gates`); what is
admitted is let go, and what has to make room is suspended again or deleted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.snapshot import Snapshot
from weft.api.weft.queue_v1alpha1 import Queue as QueueObject
from weft.api.weft.queue_v1alpha1 import QueueStatus
from weft.api.wellknown import (
    ANNOTATION_ADMITTED_AT,
    ANNOTATION_QUEUED_AT,
    ANNOTATION_WAITS_FOR,
    GATE_QUEUE,
)
from weft.lib.timefmt import rfc3339, rfc3339_micro
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Delete, Key, Patch, Plan, RecordEvent
from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.model import Decision
from weft.scheduler.queues.placing import Trial
from weft.scheduler.queues.workloads import (
    FINISHED_PHASES,
    Item,
    capacity,
    is_gated,
    items,
    queue_of,
    queues,
)

ALL = Key("", "queues")
LOOK_SECONDS = 15.0
"""Between two looks while somebody waits: what others take of the nodes changes."""


def look(snapshot: Snapshot, now: float) -> tuple[Sequence[Item], Decision]:
    """What waits and runs, and what would be decided now."""
    found = items(snapshot)
    room = capacity(snapshot.list(Node), snapshot.list(Pod), found)
    trial = Trial(snapshot, found)
    workloads = [item.workload for item in found]
    return found, decide(queues(snapshot), workloads, room, now, trial.place)


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Let go what is admitted; say of the rest why it waits. Idempotent."""
    objects = snapshot.list(QueueObject)
    if not objects and not any(queue_of(o.metadata) for o in _candidates(snapshot)):
        return NOTHING
    found, decision = look(snapshot, now)
    by_key = {item.workload.key: item for item in found}
    actions: list[Action] = []
    for name in decision.admitted:
        actions += _let_go(by_key[name], now)
    gone = {eviction.key for eviction in decision.evicted}
    for eviction in decision.evicted:
        actions += _stop(by_key[eviction.key], eviction.by)
    for item in found:  # what a plan that was interrupted left gated
        if item.workload.started is not None and item.workload.key not in gone:
            actions += [a for p in item.pods if is_gated(p) for a in _ungated(p, now)]
    for name, why in decision.waits.items():
        item = by_key[name]
        targets = (item.job,) if item.job is not None else item.pods
        actions += told(targets, why, now)
    actions += _statuses(objects, found, decision)
    waiting = bool(decision.waits)
    return Plan(tuple(actions), LOOK_SECONDS if waiting else None, independent=True)


def _candidates(snapshot: Snapshot) -> Iterable[Job | Pod]:
    yield from snapshot.list(Job)
    yield from snapshot.list(Pod)


def _let_go(item: Item, now: float) -> list[Action]:
    queue = item.workload.queue
    if item.job is None:
        actions = [a for p in item.pods if is_gated(p) for a in _ungated(p, now)]
        events = [RecordEvent(p, "Normal", "Admitted", f"by queue {queue}") for p in item.pods[:1]]
        return [*actions, *events]
    its = item.job.metadata
    notes = {ANNOTATION_ADMITTED_AT: rfc3339(now), ANNOTATION_WAITS_FOR: None}
    body = {
        "metadata": {"resourceVersion": its.resource_version, "annotations": notes},
        "spec": {"suspend": False},
    }
    return [
        Patch(Job, its.namespace, its.name, body),
        RecordEvent(item.job, "Normal", "Admitted", f"by queue {queue}"),
    ]


def _ungated(pod: Pod, now: float) -> list[Action]:
    its = pod.metadata
    rest = [{"name": g.name} for g in pod.spec.scheduling_gates if g.name != GATE_QUEUE]
    notes = {ANNOTATION_ADMITTED_AT: rfc3339(now), ANNOTATION_WAITS_FOR: None}
    body: Mapping[str, Any] = {
        "metadata": {"resourceVersion": its.resource_version, "annotations": notes},
        "spec": {"schedulingGates": rest or None},
    }
    return [Patch(Pod, its.namespace, its.name, body)]


def _stop(item: Item, by: str) -> list[Action]:
    """It waits again; pods by themselves do not come back."""
    text = f"makes room for {by.partition('/')[2]} in queue {item.workload.queue}"
    if item.job is None:
        found: list[Action] = []
        for pod in item.pods:
            its = pod.metadata
            found.append(RecordEvent(pod, "Warning", "Preempted", text))
            found.append(Delete(Pod, its.namespace, its.name, its.uid))
        return found
    its = item.job.metadata
    notes = {ANNOTATION_ADMITTED_AT: None, ANNOTATION_WAITS_FOR: text}
    body = {
        "metadata": {"resourceVersion": its.resource_version, "annotations": notes},
        "spec": {"suspend": True},
    }
    return [
        Patch(Job, its.namespace, its.name, body),
        RecordEvent(item.job, "Warning", "Preempted", text),
    ]


def told(targets: Iterable[Job | Pod], why: str, now: float) -> list[Action]:
    """Say why they wait, unless it was said."""
    actions: list[Action] = []
    for target in targets:
        its = target.metadata
        if its.annotations.get(ANNOTATION_WAITS_FOR) != why:
            notes = {ANNOTATION_WAITS_FOR: why}
            if ANNOTATION_QUEUED_AT not in its.annotations:
                notes[ANNOTATION_QUEUED_AT] = rfc3339_micro(now)
            body = {"metadata": {"annotations": notes}}
            actions.append(Patch(type(target), its.namespace, its.name, body))
            actions.append(RecordEvent(target, "Normal", "Queued", why))
    return actions


def _statuses(
    objects: Iterable[QueueObject], found: Sequence[Item], decision: Decision
) -> list[Action]:
    actions: list[Action] = []
    gone = {eviction.key for eviction in decision.evicted}
    for obj in objects:
        name = obj.metadata.name
        mine = [i for i in found if i.workload.queue == name]
        on = [
            i
            for i in mine
            if i.workload.key not in gone
            and (i.workload.started is not None or i.workload.key in decision.admitted)
        ]
        used: dict[str, int] = {}
        for item in on:
            for resource, much in item.workload.needs.items():
                used[resource] = used.get(resource, 0) + much
        shown = {n: f"{much}m" if n == "cpu" else str(much) for n, much in sorted(used.items())}
        head = decision.reserved.get(name)
        status = QueueStatus(
            admitted=len(on),
            pending=len(mine) - len(on),
            used=shown,
            next=head.workload.partition("/")[2] if head is not None else "",
        )
        if status != obj.status:
            body = {
                "status": {
                    "admitted": status.admitted,
                    "pending": status.pending,
                    "used": {**dict.fromkeys(obj.status.used), **shown},
                    "next": status.next or None,
                }
            }
            actions.append(Patch(QueueObject, "", name, body, "status"))
    return actions


# --- what wakes it


def _of_queue(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Jobs and pods of queues; and pods that free what they held, while there are queues."""
    assert isinstance(obj, Job | Pod)
    if queue_of(obj.metadata):
        return (ALL,)
    if isinstance(obj, Pod) and snapshot.list(QueueObject):
        its = obj.metadata
        freed = obj.status.phase in FINISHED_PHASES
        gone = snapshot.get(Pod, its.name, its.namespace) is None
        return (ALL,) if freed or gone else ()
    return ()


def _all(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (ALL,)


def _while_needed(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Nodes send their status all the time."""
    return (ALL,) if snapshot.list(QueueObject) else ()


CONTROLLER = Controller(
    name="queues",
    primary=QueueObject,
    plan=plan,
    primary_keys=_all,
    watches=(
        Watch(Job, _of_queue),
        Watch(Pod, _of_queue),
        Watch(Node, _while_needed),
        Watch(PriorityClass, lambda _obj, _snapshot: ()),
    ),
)
