"""A Deployment's status: counts, and the conditions that `kubectl rollout status` waits for.

Source of reasons and messages: Kubernetes' deployment controller.
"""

from msgspec.structs import replace

from weft.api.k8s.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus
from weft.controllers.deployment_scaling import Sets, min_available, total_size, wanted
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339

PROGRESS_DEADLINE_DEFAULT_SECONDS = 600
NO_DEADLINE_SECONDS = 2**31 - 1
REASON_AVAILABLE = "NewReplicaSetAvailable"
REASON_CREATED = "NewReplicaSetCreated"
REASON_FOUND = "FoundNewReplicaSet"
REASON_UPDATED = "ReplicaSetUpdated"
REASON_TIMED_OUT = "ProgressDeadlineExceeded"
REASON_PAUSED = "DeploymentPaused"
REASON_RESUMED = "DeploymentResumed"

Conditions = tuple[DeploymentCondition, ...]


def get(conditions: Conditions, kind: str) -> DeploymentCondition | None:
    """The condition of that type."""
    return next((c for c in conditions if c.type == kind), None)


def made(kind: str, status: str, reason: str, message: str) -> DeploymentCondition:
    """A condition without its times; `put` adds them."""
    return DeploymentCondition(type=kind, status=status, reason=reason, message=message)


def put(conditions: Conditions, new: DeploymentCondition, now: float) -> Conditions:
    """Set a condition; one that has this status and reason already stays as it is."""
    current = get(conditions, new.type)
    if current is not None and (current.status, current.reason) == (new.status, new.reason):
        return conditions
    since = rfc3339(now)
    if current is not None and current.status == new.status:
        since = current.last_transition_time
    new = replace(new, last_update_time=rfc3339(now), last_transition_time=since)
    return (*drop(conditions, new.type), new)


def drop(conditions: Conditions, kind: str) -> Conditions:
    return tuple(c for c in conditions if c.type != kind)


_MINIMUM = made(
    "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
)
_NO_MINIMUM = made(
    "Available",
    "False",
    "MinimumReplicasUnavailable",
    "Deployment does not have minimum availability.",
)


def deadline(deployment: Deployment) -> int | None:
    """Seconds without progress after which a rollout counts as failed; None: never."""
    found = deployment.spec.progress_deadline_seconds
    found = PROGRESS_DEADLINE_DEFAULT_SECONDS if found is None else found
    return None if found == NO_DEADLINE_SECONDS else found


def pausing(deployment: Deployment, now: float) -> Conditions:
    """The conditions after noticing that the Deployment was paused or resumed."""
    conditions = deployment.status.conditions
    current = get(conditions, "Progressing")
    if deadline(deployment) is None or (current and current.reason == REASON_TIMED_OUT):
        return conditions
    marked = current is not None and current.reason == REASON_PAUSED
    if deployment.spec.paused and not marked:
        noticed = made("Progressing", "Unknown", REASON_PAUSED, "Deployment is paused")
        return put(conditions, noticed, now)
    if not deployment.spec.paused and marked:
        noticed = made("Progressing", "Unknown", REASON_RESUMED, "Deployment is resumed")
        return put(conditions, noticed, now)
    return conditions


def counts(
    deployment: Deployment, sets: Sets, conditions: Conditions, now: float
) -> DeploymentStatus:
    """The status as the ReplicaSets report it, with the Available condition."""
    everything = [r.status for r in sets.all]
    available = sum(s.available_replicas or 0 for s in everything)
    verdict = _MINIMUM if available >= min_available(deployment) else _NO_MINIMUM
    conditions = put(conditions, verdict, now)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=sum(s.replicas or 0 for s in everything) or None,
        updated_replicas=(sets.new.status.replicas if sets.new else 0) or None,
        ready_replicas=sum(s.ready_replicas or 0 for s in everything) or None,
        available_replicas=available or None,
        unavailable_replicas=max(0, total_size(sets.all) - available) or None,
        terminating_replicas=sum(s.terminating_replicas or 0 for s in everything) or None,
        collision_count=deployment.status.collision_count,
        conditions=conditions,
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether every pod is of the present template and available."""
    numbers = {status.updated_replicas or 0, status.replicas or 0, status.available_replicas or 0}
    return numbers == {wanted(deployment)}


def progress(
    deployment: Deployment, sets: Sets, status: DeploymentStatus, now: float
) -> tuple[DeploymentStatus, float | None]:
    """The status with its Progressing condition, and seconds until the deadline must be checked."""
    limit = deadline(deployment)
    if limit is None:
        return replace(status, conditions=drop(status.conditions, "Progressing")), None
    before = get(deployment.status.conditions, "Progressing")
    settled = before is not None and before.reason == REASON_AVAILABLE
    if not (settled and (status.replicas or 0) == (status.updated_replicas or 0)):
        conditions = _progressing(deployment, sets, status, limit, now)
        status = replace(status, conditions=conditions)
    current = get(status.conditions, "Progressing")
    if current is None or current.reason in (REASON_TIMED_OUT, REASON_AVAILABLE):
        return status, None
    return status, max(1.0, seconds(current.last_update_time) + limit - now + 1.0)


def _progressing(
    deployment: Deployment, sets: Sets, status: DeploymentStatus, limit: int, now: float
) -> Conditions:
    name = f'Deployment "{deployment.metadata.name}"'
    if sets.new is not None:
        name = f'ReplicaSet "{sets.new.metadata.name}"'
    conditions = status.conditions
    if is_complete(deployment, status):
        text = f"{name} has successfully progressed."
        return put(conditions, made("Progressing", "True", REASON_AVAILABLE, text), now)
    current = get(conditions, "Progressing")
    if _has_progressed(deployment.status, status):
        text = f"{name} is progressing."
        return _renew(conditions, made("Progressing", "True", REASON_UPDATED, text), now)
    if _timed_out(current, limit, now):
        text = f"{name} has timed out progressing."
        return put(conditions, made("Progressing", "False", REASON_TIMED_OUT, text), now)
    return conditions


def _renew(conditions: Conditions, new: DeploymentCondition, now: float) -> Conditions:
    """Set a condition even when it says so already: the deadline counts from its update time."""
    current = get(conditions, new.type)
    fresh = put((), new, now)[0]
    if current is not None and current.status == new.status:
        fresh = replace(fresh, last_transition_time=current.last_transition_time)
    return (*drop(conditions, new.type), fresh)


def _has_progressed(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    def outdated(status: DeploymentStatus) -> int:
        return (status.replicas or 0) - (status.updated_replicas or 0)

    return (
        (after.updated_replicas or 0) > (before.updated_replicas or 0)
        or outdated(after) < outdated(before)
        or (after.ready_replicas or 0) > (before.ready_replicas or 0)
        or (after.available_replicas or 0) > (before.available_replicas or 0)
    )


def _timed_out(current: DeploymentCondition | None, limit: int, now: float) -> bool:
    if current is None or current.reason == REASON_AVAILABLE:
        return False
    if current.reason == REASON_TIMED_OUT:
        return True
    return seconds(current.last_update_time) + limit < now
