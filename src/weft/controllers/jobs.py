"""Jobs: run pods until enough of them have succeeded, or too many have failed.

Source of the rules: Kubernetes' job controller; see job_status for how pods are counted.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from weft.api.k8s.batch_v1 import Job, JobCondition, JobStatus
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, controller_of, meta
from weft.api.wellknown import LABEL_JOB_NAME
from weft.controllers import job_indexes, job_pods, job_policies, job_status
from weft.controllers.job_pods import Pods
from weft.controllers.job_status import Tally
from weft.controllers.support import ownership, podstate
from weft.controllers.support.patches import object_patch, status_patch
from weft.controllers.support.podstate import seconds
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan, RecordEvent

PODS_PER_PLAN_MAX = 500
"""Pods created or deleted by one plan."""
PARALLELISM_DEFAULT = 1
MANAGER = "kubernetes.io/job-controller"
"""`managedBy` of Jobs that are ours; those that name another are left alone."""


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Count what ended, decide whether the Job is decided, then create or delete pods."""
    job = snapshot.get(Job, key.name, key.namespace)
    if job is None:
        return Plan(tuple(_release_left(snapshot, key)))
    if job.spec.managed_by not in ("", MANAGER):
        return NOTHING
    everything, claims = _claim(snapshot, job)
    if job.metadata.deletion_timestamp:
        return Plan(tuple(_release(everything)))
    if job_status.is_finished(job):
        return _after(job, everything, now)
    pods = job_pods.sort(job, everything)
    done = job_status.tally(job, pods, everything)
    decided = job_status.verdict(job, pods, done, now)
    status = job_status.written(job, pods, done, decided, now)
    actions: list[Action] = [*claims, *status_patch(job, status), *_events(job, status)]
    over = done.released
    actions += _release(p for p in everything if p.metadata.uid in over or _spared(job, p))
    waits: list[float | None] = [job_status.deadline_in(job, now) if decided is None else None]
    if decided is not None or job.spec.suspend:
        actions += [_delete(p) for p in pods.active[:PODS_PER_PLAN_MAX]]
    else:
        changes, wait = _manage(job, pods, done, now)
        actions += changes
        waits.append(wait)
    return Plan(tuple(actions), requeue_after=min((w for w in waits if w), default=None))


def _claim(snapshot: Snapshot, job: Job) -> tuple[tuple[Pod, ...], tuple[Action, ...]]:
    return ownership.claim(snapshot, job, Pod, job_pods.selector(job))


def _spared(job: Job, pod: Pod) -> bool:
    """A pod that was stopped because the Job is suspended: it counts as nothing."""
    return (
        bool(job.spec.suspend) and podstate.is_terminating(pod) and pod.status.phase != "Succeeded"
    )


def _manage(job: Job, pods: Pods, done: Tally, now: float) -> tuple[list[Action], float | None]:
    """Bring the number of active pods to what is wanted; the wait until more may be created."""
    parallelism = job.spec.parallelism
    parallelism = PARALLELISM_DEFAULT if parallelism is None else parallelism
    wanted = parallelism
    if job.spec.completions is not None:
        over = done.succeeded + len(done.failed_indexes)
        wanted = min(parallelism, job.spec.completions - over)
    elif done.succeeded:
        wanted = min(parallelism, len(pods.active))
    surplus = _surplus(job, pods.active, done, wanted)
    if surplus:
        return [_delete(p) for p in surplus[:PODS_PER_PLAN_MAX]], None
    missing = wanted - len(pods.active) - job_pods.replaced_late(job, pods)
    if missing <= 0:
        return [], None
    missing = min(missing, PODS_PER_PLAN_MAX)
    if job_indexes.has_limits(job):
        return _fill_indexes(job, pods, done, missing, now)
    if wait := job_pods.backoff(pods, now):
        return [], wait
    if job_indexes.is_indexed(job):
        indexes = _open_indexes(job, pods, done)
        return [Create(job_pods.made(job, i), job) for i in indexes[:missing]], None
    return [Create(job_pods.made(job), job)] * missing, None


def _open_indexes(job: Job, pods: Pods, done: Tally) -> list[int]:
    late = pods.terminating if job_pods.replaced_late(job, pods) else ()
    over = done.indexes | done.failed_indexes
    return job_indexes.missing(job, over, (*pods.active, *late))


def _fill_indexes(
    job: Job, pods: Pods, done: Tally, missing: int, now: float
) -> tuple[list[Action], float | None]:
    """Each index waits for itself after its failures; others take its place meanwhile."""
    last = job_indexes.last_failed(p for p in pods.failed if job_pods.is_held(p))
    made: list[Action] = []
    waits: list[float] = []
    for index in _open_indexes(job, pods, done):
        before = last.get(index)
        if before is not None:
            failures = job_indexes.failures_in_all(before) + 1
            wait = job_pods.backoff_after(failures, job_pods.finished_at(before), now)
            if wait:
                waits.append(wait)
                continue
        if len(made) < missing:
            counted = before is None or job_policies.ruling(job, before).counts
            counts = job_indexes.counts_after(before, counted=counted)
            made.append(Create(job_pods.made(job, index, counts), job))
    return made, min(waits, default=None)


def _surplus(job: Job, active: Sequence[Pod], done: Tally, wanted: int) -> list[Pod]:
    """Active pods beyond what is wanted: second ones of an index, then the least advanced."""
    twice: list[Pod] = []
    if job_indexes.is_indexed(job):
        taken = set(done.indexes | done.failed_indexes)
        for pod in sorted(active, key=_advanced, reverse=True):
            if job_indexes.index(pod) in taken:
                twice.append(pod)
            taken.add(job_indexes.index(pod))
    rest = sorted((p for p in active if p not in twice), key=_advanced)
    return twice + rest[: max(0, len(rest) - max(0, wanted))]


def _advanced(pod: Pod) -> tuple[object, ...]:
    return (
        bool(pod.spec.node_name),
        pod.status.phase == "Running",
        podstate.is_ready(pod),
        -seconds(pod.metadata.creation_timestamp),
        pod.metadata.name,
    )


def _after(job: Job, everything: Sequence[Pod], now: float) -> Plan:
    """A finished Job: let its pods go, and delete it when its time is over."""
    actions: list[Action] = list(_release(everything))
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None:
        return Plan(tuple(actions))
    final = job_status.get(job, "Complete") or job_status.get(job, "Failed")
    left = seconds(final.last_transition_time) + ttl - now if final else 0.0
    if left > 0:
        return Plan(tuple(actions), requeue_after=left)
    found = job.metadata
    if not found.deletion_timestamp:
        text = f"it ended {ttl} s ago (ttlSecondsAfterFinished): it is deleted with its pods"
        actions.append(RecordEvent(job, "Normal", "TTLExpired", text))
    actions.append(Delete(Job, found.namespace, found.name, found.uid, propagation="Foreground"))
    return Plan(tuple(actions))


def _events(job: Job, status: JobStatus) -> Iterable[RecordEvent]:
    """One event for each condition that is new."""
    old = {(c.type, c.status) for c in job.status.conditions}
    for condition in status.conditions:
        if (condition.type, condition.status) not in old:
            yield from _event(job, condition)


def _event(job: Job, condition: JobCondition) -> Iterable[RecordEvent]:
    match condition.type:
        case "Complete":
            yield RecordEvent(job, "Normal", "Completed", "Job completed")
        case "Failed":
            yield RecordEvent(job, "Warning", condition.reason, condition.message)
        case "Suspended":
            reason = "Suspended" if condition.status == "True" else "Resumed"
            yield RecordEvent(job, "Normal", reason, condition.message)


def _release(pods: Iterable[Pod]) -> Iterable[Action]:
    """Take the finalizer off pods that need not be counted any more."""
    for pod in pods:
        if job_pods.is_held(pod):
            yield from object_patch(pod, job_pods.without_finalizer(pod), conditional=True)


def _release_left(snapshot: Snapshot, key: Key) -> Iterable[Action]:
    """Pods whose Job is gone must not wait to be counted for ever."""
    left = []
    for pod in snapshot.list(Pod, key.namespace):
        owner = controller_of(pod)
        if owner is not None and owner.kind == "Job" and owner.name == key.name:
            left.append(pod)
    return _release(left)


def _delete(pod: Pod) -> Delete:
    return Delete(Pod, pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)


def _job_of(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """The Job that controls the pod; one that lost its owner but is still held goes by label."""
    if controller_of(pod) is not None:
        return ownership.owner_keys(Job)(pod, snapshot)
    name = meta(pod).labels.get(LABEL_JOB_NAME)
    return (Key(meta(pod).namespace, name),) if name else ()


CONTROLLER = Controller(
    name="job",
    primary=Job,
    plan=plan,
    watches=(Watch(Pod, _job_of),),
)
