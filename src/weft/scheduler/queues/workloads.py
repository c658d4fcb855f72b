"""Jobs, groups of pods and pods as workloads of queues. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from weft.api.conditions import is_true
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.snapshot import Snapshot
from weft.api.weft.queue_v1alpha1 import Queue as QueueObject
from weft.api.wellknown import (
    ANNOTATION_ADMITTED_AT,
    ANNOTATION_POD_GROUP_COUNT,
    ANNOTATION_QUEUED_AT,
    GATE_QUEUE,
    LABEL_POD_GROUP,
    LABELS_QUEUE,
)
from weft.lib.timefmt import parse_rfc3339
from weft.scheduler import resources
from weft.scheduler.kueue.belonging import local_queue
from weft.scheduler.queues import history
from weft.scheduler.queues.model import (
    LAST,
    NO_PREEMPTION,
    TAKES_BACK,
    Amounts,
    Queue,
    Workload,
)
from weft.scheduler.resources import CPU, MEMORY, PODS

FINISHED_PHASES = ("Succeeded", "Failed")
_TOTALS = (CPU, MEMORY, PODS)


class Item(Struct, frozen=True):
    """A workload, and the objects that it stands for."""

    workload: Workload
    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    """Of a group or a single pod; those that have not ended."""

    @property
    def count(self) -> int:
        return self.workload.needs[PODS]


def queue_of(meta: ObjectMeta) -> str:
    """The queue that an object is to wait in; empty for none."""
    return next((name for label in LABELS_QUEUE if (name := meta.labels.get(label, ""))), "")


def seen_at(meta: ObjectMeta) -> str:
    """When it was first seen waiting, which sorts those of one second."""
    return meta.annotations.get(ANNOTATION_QUEUED_AT, LAST)


def is_gated(pod: Pod) -> bool:
    return any(gate.name == GATE_QUEUE for gate in pod.spec.scheduling_gates)


def queues(snapshot: Snapshot) -> Mapping[str, Queue]:
    """As their objects say."""
    found = {}
    for obj in snapshot.list(QueueObject):
        spec, name = obj.spec, obj.metadata.name
        found[name] = Queue(
            name=name,
            policy=spec.policy or "FirstComeFirstServed",
            quota=resources.amounts(spec.quota),
            cohort=spec.cohort,
            borrowing=resources.amounts(spec.borrowing_limit),
            weight=float(spec.weight or 1),
            passing="Nobody" if spec.backfill is False else "Harmless",
            preemption=TAKES_BACK if spec.preemption else NO_PREEMPTION,
            suspended=bool(spec.suspend),
        )
    return found


def items(snapshot: Snapshot) -> tuple[Item, ...]:
    """All that has a queue, not a LocalQueue, and has not ended."""
    jobs = snapshot.list(Job)
    known = history.learned(jobs) if any(queue_of(j.metadata) for j in jobs) else {}
    classes = {c.metadata.name: c.value or 0 for c in snapshot.list(PriorityClass)}
    found = [
        _job(j, known, classes)
        for j in jobs
        if queue_of(j.metadata) and not has_ended(j) and not local_queue(snapshot, j)
    ]
    groups: dict[str, list[Pod]] = {}
    for pod in snapshot.list(Pod):
        name = queue_of(pod.metadata)
        if not name or is_of_job(pod) or pod.status.phase in FINISHED_PHASES:
            continue
        if not local_queue(snapshot, pod):
            groups.setdefault(_group(pod.metadata), []).append(pod)
    found.extend(_pods(key, pods) for key, pods in groups.items())
    return tuple(found)


def has_ended(job: Job) -> bool:
    conditions = job.status.conditions
    return is_true(conditions, "Complete") or is_true(conditions, "Failed")


def is_of_job(pod: Pod) -> bool:
    """Jobs wait as a whole, so their pods do not."""
    return any(o.controller and o.kind == "Job" for o in pod.metadata.owner_references)


def _group(meta: ObjectMeta) -> str:
    group = meta.labels.get(LABEL_POD_GROUP, "")
    kind, name = ("group", group) if group else ("pod", meta.name)
    return f"{kind}/{meta.namespace}/{name}"


def _job(job: Job, known: history.Known, classes: Mapping[str, int]) -> Item:
    spec, meta = job.spec, job.metadata
    pod = spec.template.spec
    side_by_side = 1 if spec.parallelism is None else spec.parallelism
    if spec.completions is not None:
        left = max(spec.completions - (job.status.succeeded or 0), 0)
        side_by_side = min(side_by_side, left)
    each = resources.requested(pod) if pod is not None else {}
    workload = Workload(
        key=f"job/{meta.namespace}/{meta.name}",
        queue=queue_of(meta),
        needs=_times(each, side_by_side),
        created=meta.creation_timestamp,
        priority=_priority(pod.priority, pod.priority_class_name, classes) if pod else 0,
        seconds=history.expected(job, known),
        started=None if spec.suspend else _started(meta, job.status.start_time),
        queued=seen_at(meta),
    )
    return Item(workload, job=job)


def _priority(given: int | None, name: str, classes: Mapping[str, int]) -> int:
    return given if given is not None else classes.get(name, 0)


def _started(meta: ObjectMeta, otherwise: str) -> float:
    """When it was admitted."""
    for text in (meta.annotations.get(ANNOTATION_ADMITTED_AT, ""), otherwise):
        try:
            if text:
                return parse_rfc3339(text)
        except ValueError:
            continue
    return 0.0


def _pods(key: str, pods: Sequence[Pod]) -> Item:
    first = min(pods, key=lambda p: (p.metadata.creation_timestamp, p.metadata.name))
    waits = all(is_gated(p) or p.metadata.deletion_timestamp for p in pods)
    needs: dict[str, int] = {}
    for pod in pods:
        for name, much in _times(resources.requested(pod.spec), 1).items():
            needs[name] = needs.get(name, 0) + much
    problem = incomplete(first.metadata, len(pods)) if waits else ""
    lengths = [s for p in pods if (s := history.duration(p.metadata)) is not None]
    workload = Workload(
        key=key,
        queue=queue_of(first.metadata),
        needs=needs,
        created=first.metadata.creation_timestamp,
        priority=max(p.spec.priority or 0 for p in pods),
        seconds=max(lengths, default=None),
        started=None if waits else _started(first.metadata, first.status.start_time),
        problem=problem,
        queued=seen_at(first.metadata),
    )
    return Item(workload, pods=tuple(pods))


def pods_wanted(meta: ObjectMeta) -> int | None:
    """How many pods a group says it has."""
    written = meta.annotations.get(ANNOTATION_POD_GROUP_COUNT, "")
    return int(written) if written.isdecimal() else None


def incomplete(meta: ObjectMeta, count: int) -> str:
    if not meta.labels.get(LABEL_POD_GROUP):
        return ""
    wanted = pods_wanted(meta)
    if wanted is None:
        return f"annotation {ANNOTATION_POD_GROUP_COUNT} says how many pods the group has"
    return "" if count >= wanted else f"{count} of {wanted} pods of the group are there"


def _times(each: Mapping[str, int], count: int) -> dict[str, int]:
    return {**{n: much * count for n, much in each.items() if much and n != PODS}, PODS: count}


def capacity(nodes: Iterable[Node], pods: Iterable[Pod], mine: Iterable[Item]) -> Amounts:
    """What usable nodes have for workloads of queues: without what other pods take. Pods on their
    way out count for nobody: what waits for them finds no node until they are gone."""
    total = dict.fromkeys(_TOTALS, 0)
    usable = set()
    for node in nodes:
        if not node.spec.unschedulable and is_true(node.status.conditions, "Ready"):
            usable.add(node.metadata.name)
            for name, much in resources.offered(node).items():
                total[name] = total.get(name, 0) + much
    jobs = {i.job.metadata.uid for i in mine if i.job is not None}
    own = {p.metadata.uid for i in mine for p in i.pods}
    for pod in pods:
        if pod.spec.node_name not in usable or pod.status.phase in FINISHED_PHASES:
            continue
        owned = any(o.controller and o.uid in jobs for o in pod.metadata.owner_references)
        if owned or pod.metadata.uid in own or pod.metadata.deletion_timestamp:
            continue
        for name, much in _times(resources.requested(pod.spec), 1).items():
            if name in total:
                total[name] -= much
    return {name: max(much, 0) for name, much in total.items()}
