"""CronJobs: a Job whenever the schedule is due.

Source of the rules and words: Kubernetes' cronjob_controllerv2.go.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.batch_v1 import CronJob, CronJobStatus, Job, JobTemplateSpec
from weft.api.k8s.core_v1 import ObjectReference
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import Snapshot
from weft.controllers import cron_schedule
from weft.controllers.cron_schedule import ScheduleError
from weft.controllers.support import ownership
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import status_patch
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan, RecordEvent

SUCCESSFUL_KEPT_DEFAULT = 3
FAILED_KEPT_DEFAULT = 1
MISSED_TIMES_WARNED = 100
"""More due times than this without a Job are worth a warning."""
ANNOTATION_TIME = "batch.kubernetes.io/cronjob-scheduled-timestamp"
ANNOTATION_MANUAL = "cronjob.kubernetes.io/instantiate"
"""On Jobs that people made from the template: they are no run of the schedule."""


class _Runs(Struct, frozen=True):
    """The Jobs of a CronJob."""

    all: tuple[Job, ...]
    active: tuple[Job, ...]
    """Unfinished runs of the schedule, oldest first."""
    succeeded: tuple[Job, ...]
    failed: tuple[Job, ...]


class _Due(Struct, frozen=True):
    """What the schedule asks for."""

    actions: tuple[Action, ...] = ()
    at: float | None = None
    """The time that was started now."""
    replaced: bool = False
    wait: float | None = None


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Note what ended, drop old Jobs, start a Job when it is time."""
    found = snapshot.get(CronJob, key.name, key.namespace)
    if found is None or found.metadata.deletion_timestamp:
        return NOTHING
    runs = _runs(snapshot.owned(Job, found.metadata.uid))
    due = _due(found, runs, now)
    status = _status(found, runs, due)
    actions = (
        *_completed(found, runs), *_expired(found, runs), *due.actions,
        *status_patch(found, status),
    )  # fmt: skip
    return Plan(actions, requeue_after=due.wait)


def _runs(jobs: Sequence[Job]) -> _Runs:
    ordered = sorted(jobs, key=_started)
    scheduled = [j for j in ordered if ANNOTATION_MANUAL not in j.metadata.annotations]
    return _Runs(
        all=tuple(ordered),
        active=tuple(j for j in scheduled if not _ended(j) and not j.metadata.deletion_timestamp),
        succeeded=tuple(j for j in ordered if _ended(j) == "Complete"),
        failed=tuple(j for j in ordered if _ended(j) == "Failed"),
    )


def _started(job: Job) -> tuple[float, str]:
    start = job.status.start_time or job.metadata.creation_timestamp
    return seconds(start), job.metadata.name


def _ended(job: Job) -> str:
    """`Complete` or `Failed`; "" while it runs."""
    final = (c.type for c in job.status.conditions if c.status == "True")
    return next((kind for kind in final if kind in ("Complete", "Failed")), "")


# --- the schedule


def _due(found: CronJob, runs: _Runs, now: float) -> _Due:
    if found.spec.suspend:
        return _Due()
    try:
        return _judge(found, runs, now)
    except ScheduleError as error:
        zone = found.spec.time_zone
        about_zone = "time zone" in str(error)
        reason = "UnknownTimeZone" if about_zone else "UnparseableSchedule"
        if isinstance(error, cron_schedule.NeverDueError):
            reason = "InvalidSchedule"
        subject = f"timeZone: {zone!r}" if about_zone else f"schedule: {found.spec.schedule!r}"
        text = f"invalid {subject}: {error}"
        return _Due((RecordEvent(found, "Warning", reason, text),))


def _judge(found: CronJob, runs: _Runs, now: float) -> _Due:
    schedule, zone = found.spec.schedule, found.spec.time_zone
    since = _since(found, now)
    upcoming = cron_schedule.following(schedule, zone, now)
    wait = None if upcoming is None else upcoming - now
    at = cron_schedule.latest(schedule, zone, since, now)
    if at is None:
        return _Due(wait=wait)
    late = _too_many(found, since, now)
    limit = found.spec.starting_deadline_seconds
    if limit is not None and at + limit < now:
        text = f"Missed scheduled time to start a job: {rfc3339(at)}"
        return _Due((*late, RecordEvent(found, "Warning", "MissSchedule", text)), wait=wait)
    name = _name(found, at)
    if any(j.metadata.name == name for j in runs.all):
        return _Due(at=at, wait=wait)  # made before the status could be written
    policy = found.spec.concurrency_policy
    if policy == "Forbid" and runs.active:
        text = (
            "Not starting job because prior execution is running and concurrency policy is Forbid"
        )
        event = RecordEvent(found, "Normal", "JobAlreadyActive", text)
        return _Due((*late, event), wait=wait)
    gone: tuple[Action, ...] = ()
    if policy == "Replace":
        gone = tuple(a for j in runs.active for a in _delete(found, j))
    job = _made(found, name, at)
    event = RecordEvent(found, "Normal", "SuccessfulCreate", f"Created job {name}")
    return _Due((*late, *gone, Create(job), event), at, bool(gone), wait)


def _since(found: CronJob, now: float) -> float:
    """After when a time counts: the last start, or the making of the CronJob; not longer ago
    than the starting deadline."""
    since = seconds(found.status.last_schedule_time or found.metadata.creation_timestamp)
    limit = found.spec.starting_deadline_seconds
    return since if limit is None else max(since, now - limit - 1)


def _too_many(found: CronJob, since: float, now: float) -> tuple[Action, ...]:
    """A warning when much was missed: by how far apart the first two times are."""
    schedule, zone = found.spec.schedule, found.spec.time_zone
    first = cron_schedule.following(schedule, zone, since)
    second = cron_schedule.following(schedule, zone, first) if first is not None else None
    if first is None or second is None or (now - first) / (second - first) < MISSED_TIMES_WARNED:
        return ()
    text = (
        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds "
        "or check clock skew"
    )
    return (RecordEvent(found, "Warning", "TooManyMissedTimes", text),)


def _name(found: CronJob, at: float) -> str:
    return f"{found.metadata.name}-{int(at) // 60}"


def _made(found: CronJob, name: str, at: float) -> Job:
    template = found.spec.job_template or JobTemplateSpec()
    annotations = dict(template.metadata.annotations) | {ANNOTATION_TIME: rfc3339(at)}
    return Job(
        api_version="batch/v1",
        kind="Job",
        metadata=ObjectMeta(
            name=name,
            namespace=found.metadata.namespace,
            labels=template.metadata.labels,
            annotations=annotations,
            owner_references=(owner_reference(found),),
        ),
        spec=template.spec,
    )


# --- what was


def _completed(found: CronJob, runs: _Runs) -> Iterator[Action]:
    """News of runs that were active."""
    jobs = {j.metadata.uid: j for j in runs.all}
    for reference in found.status.active:
        job = jobs.get(reference.uid)
        if job is None:
            text = f"Active job went missing: {reference.name}"
            yield RecordEvent(found, "Normal", "MissingJob", text)
        elif kind := _ended(job):
            text = f"Saw completed job: {job.metadata.name}, condition: {kind}"
            yield RecordEvent(found, "Normal", "SawCompletedJob", text)


def _expired(found: CronJob, runs: _Runs) -> Iterator[Action]:
    for jobs, limit, default in (
        (runs.succeeded, found.spec.successful_jobs_history_limit, SUCCESSFUL_KEPT_DEFAULT),
        (runs.failed, found.spec.failed_jobs_history_limit, FAILED_KEPT_DEFAULT),
    ):
        kept = default if limit is None else limit
        present = [j for j in jobs if not j.metadata.deletion_timestamp]
        for job in present[: max(0, len(present) - kept)]:
            yield from _delete(found, job)


def _delete(found: CronJob, job: Job) -> tuple[Action, ...]:
    target = job.metadata
    return (
        Delete(Job, target.namespace, target.name, target.uid, propagation="Background"),
        RecordEvent(found, "Normal", "SuccessfulDelete", f"Deleted job {target.name}"),
    )


def _status(found: CronJob, runs: _Runs, due: _Due) -> CronJobStatus:
    done = [j.status.completion_time for j in runs.succeeded]
    before = found.status.last_successful_time
    active = () if due.replaced else tuple(_reference(j) for j in runs.active)
    return replace(
        found.status,
        active=active,
        last_schedule_time=rfc3339(due.at)
        if due.at is not None
        else found.status.last_schedule_time,
        last_successful_time=max((before, *done), key=seconds),
    )


def _reference(job: Job) -> ObjectReference:
    found = job.metadata
    return ObjectReference(
        api_version="batch/v1",
        kind="Job",
        namespace=found.namespace,
        name=found.name,
        uid=found.uid,
    )


CONTROLLER = Controller(
    name="cronjob",
    primary=CronJob,
    plan=plan,
    watches=(Watch(Job, ownership.owner_keys(CronJob)),),
)
