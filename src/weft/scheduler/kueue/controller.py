"""Kueue's objects as a controller: all of them are planned under one key.

What is decided is written into Workloads. Jobs and pods follow their Workloads: they are let go
when these are admitted and stopped when they are not, so that a plan that was interrupted is
finished by the next one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.conditions import is_true
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod, Toleration
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.kueue.v1beta2 import (
    ClusterQueue,
    Cohort,
    LocalQueue,
    ResourceFlavor,
    WorkloadPriorityClass,
)
from weft.api.kueue.workload import Admission, WorkloadSpec
from weft.api.kueue.workload import Workload as WorkloadObject
from weft.api.snapshot import Snapshot
from weft.api.validate.kueue import POD_SETS_MAX
from weft.api.validate.names import subdomain_problem
from weft.api.wellknown import ANNOTATION_WAITS_FOR, GATE_QUEUE
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Patch, Plan, RecordEvent
from weft.scheduler.kueue import conditions, statuses
from weft.scheduler.kueue.belonging import KUEUE_LABEL, workload_name
from weft.scheduler.kueue.queues import Setup, setup
from weft.scheduler.kueue.workloads import Item, has_stopped, items
from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.controller import told
from weft.scheduler.queues.model import Decision, Workload
from weft.scheduler.queues.workloads import incomplete, is_gated

ALL = Key("", "kueue")
LABEL_JOB_UID = "kueue.x-k8s.io/job-uid"
NOBODY = Decision()


def look(snapshot: Snapshot, now: float) -> tuple[Setup, Sequence[Item], Decision]:
    """What waits and runs, and what would be decided now. Quotas alone decide, as in Kueue."""
    found = setup(snapshot)
    every = items(snapshot, found)
    able = [i.workload for i in every if i.obj is not None and i.ended is None and i.stop is None]
    decision = decide(
        found.queues, able, {}, now, cohorts=found.cohorts, by_share=False
    ) if able else NOBODY  # fmt: skip
    return found, every, decision


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Write what is decided, and make Jobs and pods follow. Idempotent."""
    if not any(snapshot.list(cls) for cls in (LocalQueue, ClusterQueue, WorkloadObject)):
        return NOTHING
    found, every, decision = look(snapshot, now)
    by_key = {item.workload.key: item for item in every}
    evicted = {eviction.key: eviction for eviction in decision.evicted}
    actions: list[Action] = []
    for item in every:
        its = item.workload.key
        runs = item.is_admitted and not item.workload.leaving
        held = _held(item) if not runs and item.ended is None else []
        actions += held
        if item.ended is not None:
            actions += _ended(item, now)
        elif item.obj is None:
            actions += _made(item, now)
        elif item.stop is not None:
            actions += _evicted(item, conditions.evicted(item.obj, *item.stop, now), item.stop)
        elif item.workload.leaving:
            actions += _released(item, now)
        elif its in decision.chosen:
            actions += _admitted(item, decision.chosen[its], found, now)
        elif its in evicted:
            by = by_key[evicted[its].by]
            why = evicted[its].why
            text = conditions.preempted(by.workload.name, _uid(by), why)
            body = conditions.evicted(item.obj, "Preempted", text, now, why)
            actions += _evicted(item, body, ("Preempted", text))
        elif item.is_admitted:
            actions += _runs(item, snapshot) + _too_long(item, now)
        else:
            actions += _renewed(item)
            if not held:
                actions += _waits(item, decision.waits.get(its, ""), now)
    actions += statuses.plan(snapshot, found, every, decision, now)
    return Plan(tuple(actions), _until(every, now), independent=True)


def _uid(item: Item) -> str:
    return item.obj.metadata.uid if item.obj is not None else ""


# --- Workloads


def _made(item: Item, now: float) -> list[Action]:
    if not item.targets or any(t.metadata.deletion_timestamp for t in item.targets):
        return []
    first = item.targets[0]
    problem = incomplete(first.metadata, len(item.targets)) or _unwritable(item)
    if problem:
        return told(item.targets, problem, now)
    owners = tuple(_owner(t, alone=len(item.targets) == 1) for t in item.targets)
    meta = ObjectMeta(
        namespace=item.workload.namespace,
        name=workload_name(first),
        labels={LABEL_JOB_UID: first.metadata.uid},
        owner_references=owners,
    )
    made = WorkloadObject(metadata=meta, spec=item.wanted)
    text = f"Created Workload: {meta.namespace}/{meta.name}"
    return [Create(made), RecordEvent(first, "Normal", "CreatedWorkload", text)]


def _unwritable(item: Item) -> str:
    """Why there can be no Workload for it."""
    name, sets = workload_name(item.targets[0]), len(item.wanted.pod_sets)
    if problem := subdomain_problem(name):
        return f"its group's name `{name}` is no name of a Workload: {problem}"
    if sets > POD_SETS_MAX:
        return f"its pods are of {sets} kinds, a Workload has {POD_SETS_MAX} at most"
    return ""


def _owner(obj: Job | Pod, *, alone: bool) -> OwnerReference:
    is_job = isinstance(obj, Job)
    return OwnerReference(
        api_version="batch/v1" if is_job else "v1",
        kind="Job" if is_job else "Pod",
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        controller=alone or None,
        block_owner_deletion=alone or None,
    )


def _renewed(item: Item) -> list[Action]:
    """Follow what users changed of a Job that waits."""
    assert item.obj is not None
    had, wanted = item.obj.spec, item.wanted
    body: dict[str, Any] = {}
    if had.queue_name != wanted.queue_name:
        body["queueName"] = wanted.queue_name
    if had.priority_class_ref != wanted.priority_class_ref:
        ref = wanted.priority_class_ref
        body["priorityClassRef"] = msgspec.to_builtins(ref) if ref is not None else None
        body["priority"] = wanted.priority
    if _counts(had) != _counts(wanted) and not _was_admitted(item.obj):
        body["podSets"] = [msgspec.to_builtins(p) for p in wanted.pod_sets]
    return [_patch(item.obj, {"spec": body}, "")] if body else []


def _counts(spec: WorkloadSpec) -> list[tuple[str, int, int | None]]:
    return [(p.name, p.count, p.min_count) for p in spec.pod_sets]


def _was_admitted(obj: WorkloadObject) -> bool:
    """Its Job may have what it was admitted with, still."""
    return any(c.type == conditions.ADMITTED for c in obj.status.conditions)


def _patch(obj: WorkloadObject, body: Mapping[str, Any], subresource: str = "status") -> Patch:
    return Patch(WorkloadObject, obj.metadata.namespace, obj.metadata.name, body, subresource)


def _ended(item: Item, now: float) -> list[Action]:
    obj = item.obj
    if obj is None or item.ended is None or is_true(obj.status.conditions, conditions.FINISHED):
        return []
    return [_patch(obj, conditions.finished(obj, *item.ended, now))]


def _waits(item: Item, why: str, now: float) -> list[Action]:
    obj = item.obj
    assert obj is not None
    if not why:
        return []
    reason = "Inadmissible" if item.workload.problem else "Pending"
    body = conditions.waits(obj, reason, why, now)
    actions = told(item.targets, why, now)
    return [_patch(obj, body), RecordEvent(obj, "Normal", "Pending", why), *actions] if body else (
        actions
    )  # fmt: skip


def _admitted(item: Item, chosen: Workload, found: Setup, now: float) -> list[Action]:
    obj = item.obj
    assert obj is not None
    covered = {n for g in found.queues[chosen.queue].groups for n in g.resources}
    sets = tuple(
        conditions.assignment(
            p, chosen.flavors, chosen.count if item.job is not None else p.count, covered
        )
        for p in obj.spec.pod_sets
    )
    body = conditions.admitted(obj, Admission(chosen.queue, sets), now)
    text = f"Admitted by ClusterQueue {chosen.queue}"
    return [_patch(obj, body), RecordEvent(obj, "Normal", "Admitted", text)]


def _evicted(item: Item, body: Mapping[str, Any], why: tuple[str, str]) -> list[Action]:
    assert item.obj is not None
    reason, text = why
    return [
        _patch(item.obj, body),
        RecordEvent(item.obj, "Normal", f"EvictedDueTo{reason}", text),
        *(RecordEvent(t, "Normal", "Stopped", text) for t in item.targets[:1]),
    ]


def _released(item: Item, now: float) -> list[Action]:
    """Its quota is free once its pods are gone."""
    assert item.obj is not None
    gone = has_stopped(item.job) if item.job is not None else all(is_gated(p) for p in item.pods)
    return [_patch(item.obj, conditions.released(item.obj, now))] if gone else []


def _too_long(item: Item, now: float) -> list[Action]:
    """Deactivate what ran for longer than it may."""
    left = _seconds_left(item, now)
    if item.obj is None or left is None or left > 0:
        return []
    text = "The maximum execution time is exceeded"
    return [
        _patch(item.obj, {"spec": {"active": False}}, ""),
        RecordEvent(item.obj, "Warning", "MaximumExecutionTimeExceeded", text),
    ]


def _seconds_left(item: Item, now: float) -> float | None:
    most = item.obj.spec.maximum_execution_time_seconds if item.obj is not None else None
    if most is None or item.workload.started is None or item.ended is not None:
        return None
    return item.workload.started + most - now


def _until(every: Iterable[Item], now: float) -> float | None:
    left = [s for item in every if (s := _seconds_left(item, now)) is not None]
    return max(min(left), 0.0) if left else None


# --- Jobs and pods


def _runs(item: Item, snapshot: Snapshot) -> list[Action]:
    """Let go what is admitted."""
    obj = item.obj
    assert obj is not None
    actions: list[Action] = []
    if item.job is not None and item.job.spec.suspend:
        actions.append(_start(item, item.job, snapshot))
        text = f"Admitted by clusterQueue {item.workload.queue}"
        actions.append(RecordEvent(item.job, "Normal", "Started", text))
    gated = [p for p in item.pods if is_gated(p)]
    return [*actions, *(_ungate(item, pod, snapshot) for pod in gated)]


def _start(item: Item, job: Job, snapshot: Snapshot) -> Patch:
    """On nodes of its flavors, with as many pods as it was given."""
    assert item.obj is not None
    admission = item.obj.status.admission
    given = admission.pod_set_assignments if admission is not None else ()
    spec: dict[str, Any] = {"suspend": False}
    if given and given[0].count is not None and given[0].count != item.obj.spec.pod_sets[0].count:
        spec["parallelism"] = given[0].count
    spec |= _placed(item.obj, job, *_placing(item, snapshot))
    its = job.metadata
    notes = {ANNOTATION_WAITS_FOR: None}
    meta = {"resourceVersion": its.resource_version, "annotations": notes}
    return Patch(Job, its.namespace, its.name, {"metadata": meta, "spec": spec})


def _placed(
    obj: WorkloadObject, job: Job, labels: Mapping[str, str], more: Iterable[Toleration]
) -> dict[str, Any]:
    """What has to change of a Job's template so that it is as written, with these added."""
    original, present = obj.spec.pod_sets[0].template.spec, job.spec.template.spec
    if original is None or present is None:
        return {}
    placed: dict[str, Any] = {}
    selector = {**original.node_selector, **labels}
    if selector != present.node_selector:
        placed["nodeSelector"] = {**dict.fromkeys(present.node_selector), **selector}
    wished = _union(original.tolerations, more)
    if wished != tuple(present.tolerations):
        placed["tolerations"] = [msgspec.to_builtins(t) for t in wished]
    return {"template": {"spec": placed}} if placed else {}


def _placing(item: Item, snapshot: Snapshot) -> tuple[dict[str, str], tuple[Toleration, ...]]:
    """What the flavors add to pods."""
    labels: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    for name in sorted(set(item.workload.flavors.values())):
        flavor = snapshot.get(ResourceFlavor, name)
        if flavor is not None:
            labels |= flavor.spec.node_labels
            tolerations = _union(tolerations, flavor.spec.tolerations)
    return labels, tolerations


def _union(some: Iterable[Toleration], more: Iterable[Toleration]) -> tuple[Toleration, ...]:
    found = list(some)
    return (*found, *(t for t in more if t not in found))


def _ungate(item: Item, pod: Pod, snapshot: Snapshot) -> Patch:
    its = pod.metadata
    labels, tolerations = _placing(item, snapshot)
    wished = _union(pod.spec.tolerations, tolerations)
    rest = [{"name": g.name} for g in pod.spec.scheduling_gates if g.name != GATE_QUEUE]
    spec: dict[str, Any] = {"schedulingGates": rest or None}
    if labels:
        spec["nodeSelector"] = labels
    if len(wished) > len(pod.spec.tolerations):
        spec["tolerations"] = [msgspec.to_builtins(t) for t in wished]
    notes = {ANNOTATION_WAITS_FOR: None}
    meta = {"resourceVersion": its.resource_version, "annotations": notes}
    return Patch(Pod, its.namespace, its.name, {"metadata": meta, "spec": spec})


def _held(item: Item) -> list[Action]:
    """Stop what runs without being admitted, and take back what it was given: a Job is again as
    it was written. Pods that were evicted do not come back."""
    job = item.job
    if job is not None:
        earlier = item.obj if item.obj is not None and _was_admitted(item.obj) else None
        spec: dict[str, Any] = {}
        if not job.spec.suspend:
            spec["suspend"] = True
            if earlier is not None:
                spec["parallelism"] = earlier.spec.pod_sets[0].count
        elif earlier is not None and not job.status.start_time:
            spec = _placed(earlier, job, {}, ())
        if not spec:
            return []
        meta = {"resourceVersion": job.metadata.resource_version}
        body = {"metadata": meta, "spec": spec}
        return [Patch(Job, job.metadata.namespace, job.metadata.name, body)]
    if item.obj is None or not is_true(item.obj.status.conditions, conditions.EVICTED):
        return []
    ended = [p for p in item.pods if not is_gated(p) and not p.metadata.deletion_timestamp]
    return [Delete(Pod, p.metadata.namespace, p.metadata.name, p.metadata.uid) for p in ended]


# --- what wakes it


def _of_queue(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    assert isinstance(obj, Job | Pod)
    return (ALL,) if obj.metadata.labels.get(KUEUE_LABEL) else ()


def _all(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (ALL,)


CONTROLLER = Controller(
    name="kueue",
    primary=ClusterQueue,
    plan=plan,
    primary_keys=_all,
    watches=(
        *(Watch(cls, _all) for cls in (ResourceFlavor, Cohort, LocalQueue, WorkloadObject)),
        *(Watch(cls, _of_queue) for cls in (Job, Pod)),
        Watch(WorkloadPriorityClass, _all),
        Watch(Namespace, _all),
        Watch(PriorityClass, lambda _obj, _snapshot: ()),
    ),
)
