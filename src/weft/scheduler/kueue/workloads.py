"""Jobs, pods and groups of pods of LocalQueues, and their Workloads, as workloads of queues."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.conditions import condition, is_true
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Namespace, Node, PodTemplateSpec
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import NodeSelector, NodeSelectorTerm, Pod, PodSpec
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.kueue.v1beta2 import (
    ClusterQueue,
    LocalQueue,
    ResourceFlavor,
    WorkloadPriorityClass,
)
from weft.api.kueue.workload import PodSet, PriorityClassRef, WorkloadSpec
from weft.api.kueue.workload import Workload as WorkloadObject
from weft.api.node_selectors import admits
from weft.api.selectors import matches_selector
from weft.api.snapshot import Snapshot
from weft.api.taints import covers
from weft.lib.timefmt import parse_rfc3339
from weft.scheduler.kueue.belonging import group_of, local_queue, workload_name
from weft.scheduler.kueue.queues import STOPS, Setup
from weft.scheduler.queues import history
from weft.scheduler.queues.model import Workload
from weft.scheduler.queues.workloads import (
    FINISHED_PHASES,
    has_ended,
    incomplete,
    is_gated,
    is_of_job,
    pods_wanted,
    seen_at,
)
from weft.scheduler.resources import PODS, requested

LABEL_PRIORITY = "kueue.x-k8s.io/priority-class"
LABEL_SECONDS_MAX = "kueue.x-k8s.io/max-exec-time-seconds"
ANNOTATION_LEAST = "kueue.x-k8s.io/job-min-parallelism"
HELD = ("NoSchedule", "NoExecute")


class Item(Struct, frozen=True):
    """A workload of a LocalQueue, and the objects that it stands for."""

    workload: Workload
    queue: LocalQueue | None
    wanted: WorkloadSpec
    obj: WorkloadObject | None = None
    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    """Those that have not ended."""
    ended: tuple[str, str] | None = None
    """Reason and message of the end."""
    stop: tuple[str, str] | None = None
    """Why it may not run on: reason and message."""

    @property
    def namespace(self) -> str:
        return self.workload.namespace

    @property
    def targets(self) -> Sequence[Job | Pod]:
        return (self.job,) if self.job is not None else self.pods

    @property
    def is_admitted(self) -> bool:
        return self.workload.started is not None


def items(snapshot: Snapshot, setup: Setup) -> tuple[Item, ...]:
    """All that has a LocalQueue."""
    reader = _Reader(snapshot, setup)
    return (*reader.jobs(), *reader.groups())


class _Reader:
    def __init__(self, snapshot: Snapshot, setup: Setup) -> None:
        self.snapshot, self.setup = snapshot, setup
        self.classes = {c.metadata.name: c.value or 0 for c in snapshot.list(PriorityClass)}
        self.flavors = {f.metadata.name: f for f in snapshot.list(ResourceFlavor)}

    def jobs(self) -> Iterator[Item]:
        jobs = self.snapshot.list(Job)
        known: history.Known | None = None
        for job in jobs:
            queue = local_queue(self.snapshot, job)
            if not queue:
                continue
            known = history.learned(jobs) if known is None else known
            yield self._job(job, queue, known)

    def groups(self) -> Iterator[Item]:
        found: dict[tuple[str, str], list[Pod]] = {}
        for pod in self.snapshot.list(Pod):
            if not is_of_job(pod) and local_queue(self.snapshot, pod):
                key = (pod.metadata.namespace, workload_name(pod))
                found.setdefault(key, []).append(pod)
        for pods in found.values():
            yield self._group(pods)

    def _job(self, job: Job, queue: str, known: history.Known) -> Item:
        spec, meta = job.spec, job.metadata
        obj = self.snapshot.get(WorkloadObject, workload_name(job), meta.namespace)
        count = 1 if spec.parallelism is None else spec.parallelism
        whole = count if spec.completions is None else min(count, spec.completions)
        left = whole
        if spec.completions is not None:
            left = min(whole, max(spec.completions - (job.status.succeeded or 0), 0))
        least = _least(meta, whole)
        template = spec.template
        wanted = self._spec(queue, meta, (PodSet("main", template, whole, least),))
        workload = self._workload(f"job/{meta.namespace}/{meta.name}", obj, wanted)
        admitted = workload.started is not None
        pods = (PodSet("main", template, left if admitted else whole),)
        workload = replace(
            workload,
            needs=self._needs(workload.queue, pods),
            seconds=history.expected(job, known),
            created=meta.creation_timestamp,
            queued=seen_at(meta),
            count=whole,
            count_min=least,
        )
        if not admitted and not workload.problem and not has_stopped(job):
            workload = replace(workload, problem="its pods have not ended yet")
        ended = _end_of(job) if has_ended(job) else None
        return self._item(workload, queue, wanted, obj, ended, job=job)

    def _group(self, pods: Sequence[Pod]) -> Item:
        first = min(pods, key=lambda p: (p.metadata.creation_timestamp, p.metadata.name))
        meta = first.metadata
        group = group_of(meta)
        name = workload_name(first)
        obj = self.snapshot.get(WorkloadObject, name, meta.namespace)
        queue = local_queue(self.snapshot, first)
        wanted = self._spec(queue, meta, _pod_sets(pods, alone=not group))
        key = f"{'group' if group else 'pod'}/{meta.namespace}/{group or meta.name}"
        workload = self._workload(key, obj, wanted)
        alive = tuple(p for p in pods if p.status.phase not in FINISHED_PHASES)
        counted = _pod_sets(alive, alone=not group) if workload.started is not None else ()
        lengths = [s for p in pods if (s := history.duration(p.metadata)) is not None]
        problem = workload.problem
        if workload.started is None:
            problem = problem or incomplete(meta, len(pods))
            if any(not is_gated(p) for p in alive):
                problem = problem or "its pods have not ended yet"
        workload = replace(
            workload,
            needs=self._needs(workload.queue, counted or wanted.pod_sets),
            created=meta.creation_timestamp,
            queued=seen_at(meta),
            seconds=max(lengths, default=None),
            problem=problem,
        )
        return self._item(workload, queue, wanted, obj, _end_of_pods(pods), pods=alive)

    def _item(
        self,
        workload: Workload,
        queue: str,
        wanted: WorkloadSpec,
        obj: WorkloadObject | None,
        ended: tuple[str, str] | None,
        *,
        job: Job | None = None,
        pods: tuple[Pod, ...] = (),
    ) -> Item:
        found = self.snapshot.get(LocalQueue, queue, workload.namespace)
        stop = self._stop(workload, found, obj)
        return Item(workload, found, wanted, obj, job, pods, ended, stop)

    def _workload(self, key: str, obj: WorkloadObject | None, wanted: WorkloadSpec) -> Workload:
        """What its objects' status and its queue say."""
        namespace = key.split("/")[1]
        queue = self.snapshot.get(LocalQueue, wanted.queue_name, namespace)
        cluster_queue = queue.spec.cluster_queue if queue is not None else ""
        admission = obj.status.admission if obj is not None else None
        asked = obj.spec if obj is not None else wanted  # its Job may have earlier flavors, still
        started: float | None = None
        flavors: dict[str, str] = {}
        if obj is not None and admission is not None:
            cluster_queue = admission.cluster_queue
            for pods in admission.pod_set_assignments:
                flavors |= pods.flavors
            at = condition(obj.status.conditions, "QuotaReserved")
            started = _time(at.last_transition_time) if at is not None else 0.0
        return Workload(
            *(key, cluster_queue, {}),
            priority=asked.priority or 0,
            started=started,
            leaving=started is not None
            and obj is not None
            and is_true(obj.status.conditions, "Evicted"),
            problem=self._problem(wanted.queue_name, queue, namespace, obj),
            flavors=flavors,
            barred=self._barred(cluster_queue, asked.pod_sets) if started is None else {},
        )

    # --- what keeps it from running

    def _problem(
        self, name: str, queue: LocalQueue | None, namespace: str, obj: WorkloadObject | None
    ) -> str:
        if queue is None:
            return f"LocalQueue {name} doesn't exist"
        if obj is not None and obj.spec.active is False:
            return "The workload is deactivated"
        if queue.spec.stop_policy in STOPS:
            return f"LocalQueue {name} is inactive: it is stopped"
        its = queue.spec.cluster_queue
        if its in self.setup.inactive:
            return f"ClusterQueue {its} is inactive: {self.setup.inactive[its][1]}"
        found = self.snapshot.get(ClusterQueue, its)
        if found is None:
            return f"ClusterQueue {its} doesn't exist"
        space = self.snapshot.get(Namespace, namespace)
        labels = {"kubernetes.io/metadata.name": namespace}
        if space is not None:
            labels |= space.metadata.labels
        if not matches_selector(found.spec.namespace_selector, labels):
            return f"Workload namespace doesn't match ClusterQueue {its}'s selector"
        return ""

    def _stop(
        self, workload: Workload, queue: LocalQueue | None, obj: WorkloadObject | None
    ) -> tuple[str, str] | None:
        if obj is None or workload.started is None or workload.leaving:
            return None
        if obj.spec.active is False:
            return "Deactivated", "The workload is deactivated"
        if queue is not None and queue.spec.stop_policy == "HoldAndDrain":
            return "LocalQueueStopped", "The LocalQueue is stopped"
        found = self.snapshot.get(ClusterQueue, workload.queue)
        if found is not None and found.spec.stop_policy == "HoldAndDrain":
            return "ClusterQueueStopped", "The ClusterQueue is stopped"
        return None

    def _barred(self, cluster_queue: str, pod_sets: Iterable[PodSet]) -> Mapping[str, str]:
        queue = self.setup.queues.get(cluster_queue)
        specs = [p.template.spec for p in pod_sets if p.template.spec is not None]
        found = {}
        for name in (f for group in (queue.groups if queue else ()) for f in group.flavors):
            why = next((w for s in specs if (w := barred(s, self.flavors[name]))), "")
            if why:
                found[name] = why
        return found

    # --- what it asks for

    def _needs(self, cluster_queue: str, pod_sets: Iterable[PodSet]) -> Mapping[str, int]:
        """Pods count only where the ClusterQueue has a quota of pods."""
        queue = self.setup.queues.get(cluster_queue)
        counts = queue is not None and any(PODS in group.resources for group in queue.groups)
        total: dict[str, int] = {}
        for pods in pod_sets:
            spec = pods.template.spec
            each = dict(requested(spec)) if spec is not None else {}
            each.pop(PODS, None)
            if counts:
                each[PODS] = 1
            for name, much in each.items():
                total[name] = total.get(name, 0) + much * pods.count
        return total

    def _spec(self, queue: str, meta: ObjectMeta, pod_sets: tuple[PodSet, ...]) -> WorkloadSpec:
        name = meta.labels.get(LABEL_PRIORITY, "")
        found = self.snapshot.get(WorkloadPriorityClass, name) if name else None
        seconds = meta.labels.get(LABEL_SECONDS_MAX, "")
        if found is not None:
            ref = PriorityClassRef("kueue.x-k8s.io", "WorkloadPriorityClass", name)
            priority = found.value
        else:
            specs = [p.template.spec for p in pod_sets if p.template.spec is not None]
            name = next((s.priority_class_name for s in specs if s.priority_class_name), "")
            ref = PriorityClassRef("scheduling.k8s.io", "PriorityClass", name)
            given = [s.priority for s in specs if s.priority is not None]
            priority = max(given, default=self.classes.get(name, 0))
        return WorkloadSpec(
            pod_sets=pod_sets,
            queue_name=queue,
            priority_class_ref=ref if name else None,
            priority=priority,
            active=True,
            maximum_execution_time_seconds=int(seconds) or None if seconds.isdecimal() else None,
        )


def barred(spec: PodSpec, flavor: ResourceFlavor) -> str:
    """Why pods cannot run on a flavor's nodes, as far as the flavor says what these are."""
    name, its = flavor.metadata.name, flavor.spec
    tolerations = (*spec.tolerations, *its.tolerations)
    for taint in its.node_taints:
        if taint.effect in HELD and not any(covers(t, taint) for t in tolerations):
            text = f"{taint.key}={taint.value}:{taint.effect}"
            return f"untolerated taint {text} in flavor {name}"
    node = Node(metadata=ObjectMeta(labels=its.node_labels))
    if not admits(_known_part(spec, its.node_labels), node):
        return f"flavor {name} doesn't match node affinity"
    return ""


def _known_part(spec: PodSpec, labels: Mapping[str, str]) -> PodSpec:
    """What the pod asks of nodes, as far as it is about a flavor's labels. Terms are
    alternatives: one that is about none of them takes every flavor."""
    made = PodSpec(node_selector={k: v for k, v in spec.node_selector.items() if k in labels})
    affinity = spec.affinity.node_affinity if spec.affinity else None
    needed = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    if spec.affinity is None or affinity is None or needed is None:
        return made
    terms = [
        NodeSelectorTerm(match_expressions=tuple(e for e in t.match_expressions if e.key in labels))
        for t in needed.node_selector_terms
    ]
    if not all(t.match_expressions for t in terms):
        return made
    required = replace(
        affinity,
        required_during_scheduling_ignored_during_execution=NodeSelector(tuple(terms)),
    )
    return replace(made, affinity=replace(spec.affinity, node_affinity=required))


def _time(text: str) -> float:
    try:
        return parse_rfc3339(text)
    except ValueError:
        return 0.0


def _least(meta: ObjectMeta, count: int) -> int | None:
    written = meta.annotations.get(ANNOTATION_LEAST, "")
    if not written.isdecimal() or not 0 < int(written) < count:
        return None
    return int(written)


def has_stopped(job: Job) -> bool:
    """Whether it is suspended, and none of its pods is left."""
    status = job.status
    left = status.start_time or status.active or status.terminating
    return bool(job.spec.suspend) and not left


def _end_of(job: Job) -> tuple[str, str]:
    if is_true(job.status.conditions, "Complete"):
        return "Succeeded", "Job finished successfully"
    failed = condition(job.status.conditions, "Failed")
    return "Failed", failed.message if failed is not None else "Job failed"


def _end_of_pods(pods: Sequence[Pod]) -> tuple[str, str] | None:
    """Of a group: when as many as it has succeeded; failed ones may be replaced."""
    meta = pods[0].metadata
    phases = [p.status.phase for p in pods]
    if not group_of(meta):
        if phases[0] == "Succeeded":
            return "Succeeded", "Pod succeeded"
        return ("Failed", "Pod failed") if phases[0] == "Failed" else None
    wanted = pods_wanted(meta)
    done = phases.count("Succeeded")
    if wanted is None or done < wanted:
        return None
    return "Succeeded", f"Pods succeeded: {done}/{wanted}."


def _pod_sets(pods: Iterable[Pod], *, alone: bool) -> tuple[PodSet, ...]:
    """Pods that ask for the same are one set, called by a hash of that."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        spec = pod.spec
        asks = (
            *(sorted(requested(spec).items()), sorted(spec.node_selector.items())),
            *(spec.tolerations, spec.affinity, spec.priority, spec.overhead),
        )
        digest = hashlib.sha256(msgspec.json.encode(asks)).hexdigest()[:8]
        found.setdefault("main" if alone else digest, []).append(pod)
    return tuple(
        PodSet(name, _template(alike[0]), len(alike)) for name, alike in sorted(found.items())
    )


def _template(pod: Pod) -> PodTemplateSpec:
    meta = ObjectMeta(labels=pod.metadata.labels)
    return PodTemplateSpec(meta, replace(pod.spec, node_name="", scheduling_gates=()))
