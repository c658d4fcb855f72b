"""A Job's counts and conditions.

Counting takes two plans, so that no pod is counted twice or never: the first writes the pod's uid
to status.uncountedTerminatedPods and then takes the finalizer off the pod; the next one, seeing
the finalizer gone, moves the uid to the number. Source: Kubernetes' job tracking.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import job_indexes, job_pods, job_policies
from weft.controllers.job_pods import Pods
from weft.controllers.support import podstate
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339

REASON_BACKOFF = "BackoffLimitExceeded"
MESSAGE_BACKOFF = "Job has reached the specified backoff limit"
REASON_DEADLINE = "DeadlineExceeded"
MESSAGE_DEADLINE = "Job was active longer than specified deadline"
REASON_COMPLETIONS = "CompletionsReached"
MESSAGE_COMPLETIONS = "Reached expected number of succeeded pods"
REASON_POLICY = "PodFailurePolicy"
REASON_INDEXES_MAX = "MaxFailedIndexesExceeded"
MESSAGE_INDEXES_MAX = "Job has exceeded the specified maximal number of failed indexes"
REASON_INDEXES = "FailedIndexes"
MESSAGE_INDEXES = "Job has failed indexes"
REASON_SUCCESS_POLICY = "SuccessPolicy"
BACKOFF_LIMIT_DEFAULT = 6


class Tally(Struct, frozen=True):
    """How many pods ended how, counted or about to be counted."""

    succeeded: int
    failed: int
    flushed_succeeded: int
    """Of these, those that need no uid any more: the numbers in the status."""
    flushed_failed: int
    uncounted: UncountedTerminatedPods
    indexes: frozenset[int]
    """Completed indexes of an Indexed Job."""
    failed_indexes: frozenset[int]
    """Indexes that failed as often as they may."""
    ignored: frozenset[str]
    """Uids of failed pods that the pod failure policy does not count."""
    waiting: frozenset[str]
    """Uids of failed pods that are counted once their replacements are there."""

    @property
    def released(self) -> frozenset[str]:
        """Uids of pods that need not be held any more."""
        return self.ignored.union(self.uncounted.succeeded, self.uncounted.failed)


def tally(job: Job, pods: Pods, everything: Sequence[Pod]) -> Tally:
    """Count what ended since the last plan."""
    before = job.status.uncounted_terminated_pods or UncountedTerminatedPods()
    held = {p.metadata.uid for p in everything if job_pods.is_held(p)}
    fresh = held - {*before.succeeded, *before.failed}
    succeeded = [p for p in pods.succeeded if p.metadata.uid in fresh]
    failed = [p for p in pods.failed if p.metadata.uid in fresh]
    indexes = job_indexes.parse(job.status.completed_indexes)
    if job_indexes.is_indexed(job):
        # A second pod of an index that is done already adds nothing to the completions.
        valid = range(job.spec.completions or 0)
        indexes |= {i for p in succeeded if (i := job_indexes.index(p)) in valid}
    over = job_indexes.parse(job.status.failed_indexes)
    if _decided(job) is None:  # pods stopped after that say nothing about their index
        over |= {job_indexes.index(p) for p in failed if _fails_index(job, p)}
    ignored = {p.metadata.uid for p in failed if not job_policies.ruling(job, p).counts}
    late = _held_for_count(job, pods, failed, indexes | over)
    uncounted = UncountedTerminatedPods(
        succeeded=(
            *(u for u in before.succeeded if u in held),
            *(p.metadata.uid for p in succeeded),
        ),
        failed=(
            *(u for u in before.failed if u in held),
            *(u for p in failed if (u := p.metadata.uid) not in ignored | late),
        ),
    )
    flushed_failed = (job.status.failed or 0) + sum(u not in held for u in before.failed)
    flushed_succeeded = (job.status.succeeded or 0) + sum(u not in held for u in before.succeeded)
    total = flushed_succeeded + len(uncounted.succeeded)
    if job_indexes.is_indexed(job):
        total = flushed_succeeded = len(indexes)
    return Tally(
        succeeded=total,
        failed=flushed_failed + len(uncounted.failed) + len(late - ignored),
        flushed_succeeded=flushed_succeeded,
        flushed_failed=flushed_failed,
        uncounted=uncounted,
        indexes=indexes,
        failed_indexes=over,
        ignored=frozenset(ignored - late),
        waiting=late,
    )


def _fails_index(job: Job, pod: Pod) -> bool:
    """Whether the failure of the pod is one too many for its index."""
    limit = job.spec.backoff_limit_per_index
    if limit is None or job_indexes.index(pod) not in range(job.spec.completions or 0):
        return False
    ruling = job_policies.ruling(job, pod)
    fatal = ruling.action == job_policies.FAIL_INDEX
    return fatal or (ruling.counts and job_indexes.failures(pod) >= limit)


def _held_for_count(
    job: Job, pods: Pods, failed: Sequence[Pod], over: frozenset[int]
) -> frozenset[str]:
    """Uids of failed pods that alone know how often their index failed."""
    if not job_indexes.has_limits(job) or _decided(job) is not None:
        return frozenset()
    carried = over | {job_indexes.index(p) for p in pods.active}
    last = job_indexes.last_failed(failed)
    return frozenset(p.metadata.uid for i, p in last.items() if i not in carried)


def get(job: Job, kind: str) -> JobCondition | None:
    """The condition of that type, if it is True."""
    return next((c for c in job.status.conditions if c.type == kind and c.status == "True"), None)


def is_finished(job: Job) -> bool:
    """Whether the Job has its final condition."""
    return get(job, "Complete") is not None or get(job, "Failed") is not None


def verdict(job: Job, pods: Pods, done: Tally, now: float) -> JobCondition | None:
    """The interim condition that decides the Job: SuccessCriteriaMet, FailureTarget, or None."""
    if (decided := _decided(job)) is not None:
        return decided
    if why := job_policies.fails_job(job, pods.failed):
        return _failure(REASON_POLICY, why, now)
    limit = job.spec.backoff_limit
    limit = BACKOFF_LIMIT_DEFAULT if limit is None else limit
    if done.failed > limit or _restarted_too_often(job, pods, limit):
        return _failure(REASON_BACKOFF, MESSAGE_BACKOFF, now)
    if deadline_in(job, now) == 0.0:
        return _failure(REASON_DEADLINE, MESSAGE_DEADLINE, now)
    if job_indexes.has_limits(job) and (failure := _failed_indexes(job, done, now)):
        return failure
    if why := job_policies.succeeds(job, done.indexes):
        return _condition("SuccessCriteriaMet", REASON_SUCCESS_POLICY, why, now)
    if _is_complete(job, pods, done):
        return _condition("SuccessCriteriaMet", REASON_COMPLETIONS, MESSAGE_COMPLETIONS, now)
    return None


def _decided(job: Job) -> JobCondition | None:
    """The interim condition that was written already."""
    return get(job, "FailureTarget") or get(job, "SuccessCriteriaMet")


def _failed_indexes(job: Job, done: Tally, now: float) -> JobCondition | None:
    """Too many indexes failed, or some failed and all others are done."""
    count = len(done.failed_indexes)
    limit = job.spec.max_failed_indexes
    if limit is not None and count > limit:
        return _failure(REASON_INDEXES_MAX, MESSAGE_INDEXES_MAX, now)
    if count and count + len(done.indexes) >= (job.spec.completions or 0):
        return _failure(REASON_INDEXES, MESSAGE_INDEXES, now)
    return None


def _is_complete(job: Job, pods: Pods, done: Tally) -> bool:
    """All completions; without a number, one success and no pod left working."""
    if job.spec.completions is None:
        return done.succeeded > 0 and not pods.active
    return done.succeeded >= job.spec.completions


def _restarted_too_often(job: Job, pods: Pods, limit: int) -> bool:
    """With restartPolicy OnFailure, restarts inside of pods are the failures."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        s.restart_count or 0
        for p in pods.active
        for s in (*p.status.init_container_statuses, *p.status.container_statuses)
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def deadline_in(job: Job, now: float) -> float | None:
    """Seconds until activeDeadlineSeconds is over; 0.0 when it is, None when there is none."""
    limit = job.spec.active_deadline_seconds
    if limit is None or not job.status.start_time or job.spec.suspend:
        return None
    return max(0.0, seconds(job.status.start_time) + limit - now)


def _failure(reason: str, message: str, now: float) -> JobCondition:
    return _condition("FailureTarget", reason, message, now)


def _condition(
    kind: str, reason: str, message: str, now: float, status: str = "True"
) -> JobCondition:
    return JobCondition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_probe_time=rfc3339(now),
        last_transition_time=rfc3339(now),
    )


def written(
    job: Job, pods: Pods, done: Tally, decided: JobCondition | None, now: float
) -> JobStatus:
    """The status to write. The final condition comes when every pod has ended and is counted."""
    conditions = _suspension(job, now)
    if decided is not None and decided not in conditions:
        conditions = (*conditions, decided)
    start = job.status.start_time
    if job.spec.suspend and decided is None:
        start = ""
    elif not start:
        start = rfc3339(now)
    uncounted = done.uncounted if done.uncounted.succeeded or done.uncounted.failed else None
    status = replace(
        job.status,
        active=len(pods.active) or None,
        ready=sum(podstate.is_ready(p) for p in pods.active),
        terminating=len(pods.terminating),
        succeeded=done.flushed_succeeded or None,
        failed=done.flushed_failed or None,
        uncounted_terminated_pods=uncounted or UncountedTerminatedPods(),
        completed_indexes=job_indexes.text(done.indexes),
        failed_indexes=job_indexes.text(done.failed_indexes),
        start_time=start,
        conditions=conditions,
    )
    ended = not (pods.active or pods.terminating or uncounted or done.waiting)
    if decided is None or not ended:
        return status
    final = "Complete" if decided.type == "SuccessCriteriaMet" else "Failed"
    last = _condition(final, decided.reason, decided.message, now)
    return replace(
        status,
        conditions=(*conditions, last),
        completion_time=rfc3339(now) if final == "Complete" else "",
    )


def _suspension(job: Job, now: float) -> tuple[JobCondition, ...]:
    """The conditions after noticing that the Job was suspended or resumed."""
    current = next((c for c in job.status.conditions if c.type == "Suspended"), None)
    suspended = current is not None and current.status == "True"
    if bool(job.spec.suspend) == suspended:
        return job.status.conditions
    others = tuple(c for c in job.status.conditions if c.type != "Suspended")
    if job.spec.suspend:
        return (*others, _condition("Suspended", "JobSuspended", "Job suspended", now))
    resumed = _condition("Suspended", "JobResumed", "Job resumed", now, status="False")
    return (*others, resumed)
