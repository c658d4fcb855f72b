"""Deployments: roll ReplicaSets from one template to the next.

One plan takes one step (create the new set, or scale, or clean up); the changes it makes wake it
again. Source of the steps: Kubernetes' deployment controller.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.apps_v1 import Deployment, DeploymentStatus, ReplicaSet
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, controller_of
from weft.api.wellknown import ANNOTATION_DEPLOYMENT_REVISION
from weft.controllers import deployment_revisions as revisions
from weft.controllers import deployment_scaling as scaling
from weft.controllers import deployment_status as statuses
from weft.controllers.deployment_scaling import Sets, Sizes
from weft.controllers.support import ownership, podstate
from weft.controllers.support.patches import object_patch, status_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Patch, Plan, RecordEvent


class _Step(Struct, frozen=True):
    """What one plan changes."""

    sets: Sets
    """As they are, with annotations brought up to date."""
    conditions: statuses.Conditions
    sizes: Sizes = {}
    made: ReplicaSet | None = None
    collided: bool = False


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The next step of whatever the Deployment is doing, and its status."""
    deployment = snapshot.get(Deployment, key.name, key.namespace)
    if deployment is None:
        return NOTHING
    owned, claims = ownership.claim(snapshot, deployment, ReplicaSet, deployment.spec.selector)
    sets = _with_pods(snapshot, revisions.split(deployment, owned), now)
    if deployment.metadata.deletion_timestamp:
        status = statuses.counts(deployment, sets, deployment.status.conditions, now)
        return Plan((*claims, *status_patch(deployment, status)))
    step = _step(snapshot, deployment, sets, now)
    status, wait = _status(deployment, step, now)
    actions: list[Action] = [
        *claims,
        *_write_sets(deployment, sets, step),
        *_write_revision(deployment, step),
        *status_patch(deployment, status),
    ]
    if statuses.is_complete(deployment, status) or deployment.spec.paused:
        actions += [_delete(r) for r in revisions.expired(deployment, step.sets)]
    return Plan(tuple(actions), requeue_after=wait)


def _with_pods(snapshot: Snapshot, sets: Sets, now: float) -> Sets:
    """Add what the pods themselves say: the sets' statuses may be a step behind."""
    there: dict[str, int] = {}
    available: dict[str, int] = {}
    for replica_set in sets.all:
        name, wait = replica_set.metadata.name, replica_set.spec.min_ready_seconds or 0
        owned = snapshot.owned(Pod, replica_set.metadata.uid)
        pods = [p for p in owned if podstate.is_active(p)]
        there[name] = len(pods)
        available[name] = sum(podstate.is_available(p, wait, now) for p in pods)
    return replace(sets, pods=there, available_pods=available)


def _step(snapshot: Snapshot, deployment: Deployment, sets: Sets, now: float) -> _Step:
    conditions = statuses.pausing(deployment, now)
    if sets.new is not None:
        new = revisions.updated(deployment, sets.new, revisions.next_revision(sets))
        sets = replace(sets, new=new)
        if statuses.deadline(deployment) is not None and not statuses.get(
            conditions, "Progressing"
        ):
            text = f'Found new replica set "{new.metadata.name}"'
            found = statuses.made("Progressing", "True", statuses.REASON_FOUND, text)
            conditions = statuses.put(conditions, found, now)
    if deployment.spec.paused or scaling.was_scaled(deployment, sets):
        return _Step(sets, conditions, scaling.rescale(deployment, sets))
    if not scaling.is_rolling(deployment) and (
        (sizes := scaling.recreate(sets)) or _old_pods_remain(snapshot, sets.old)
    ):
        return _Step(sets, conditions, sizes)
    if sets.new is None:
        return _create(snapshot, deployment, sets, conditions, now)
    return _Step(sets, conditions, scaling.roll(deployment, sets))


def _create(
    snapshot: Snapshot,
    deployment: Deployment,
    sets: Sets,
    conditions: statuses.Conditions,
    now: float,
) -> _Step:
    made = revisions.made(deployment, sets)
    if snapshot.get(ReplicaSet, made.metadata.name, made.metadata.namespace) is not None:
        return _Step(sets, conditions, collided=True)
    if statuses.deadline(deployment) is not None:
        text = f'Created new replica set "{made.metadata.name}"'
        created = statuses.made("Progressing", "True", statuses.REASON_CREATED, text)
        conditions = statuses.put(conditions, created, now)
    return _Step(sets, conditions, made=made)


def _old_pods_remain(snapshot: Snapshot, old: Sequence[ReplicaSet]) -> bool:
    """Recreate starts only when no old pod runs any more, terminating ones included."""
    return any(
        r.status.replicas
        or any(not podstate.is_finished(p) for p in snapshot.owned(Pod, r.metadata.uid))
        for r in old
    )


def _status(
    deployment: Deployment, step: _Step, now: float
) -> tuple[DeploymentStatus, float | None]:
    status = statuses.counts(deployment, step.sets, step.conditions, now)
    if step.collided:
        return replace(status, collision_count=(status.collision_count or 0) + 1), None
    if deployment.spec.paused:
        return status, None
    known = replace(step.sets, new=step.sets.new or step.made)
    return statuses.progress(deployment, known, status, now)


def _write_sets(deployment: Deployment, before: Sets, step: _Step) -> list[Action]:
    """One patch per set that changes, each scaling with its event."""
    actions: list[Action] = []
    if step.made is not None:
        actions.append(Create(step.made))
        if scaling.size(step.made):
            actions.append(_scaled(deployment, step.made.metadata.name, 0, step.made))
    for old, new in zip(before.all, step.sets.all, strict=True):
        size = step.sizes.get(new.metadata.name, scaling.size(new))
        changed = new
        if new.metadata.name in step.sizes and (size != scaling.size(new) or scaling.size(new) > 0):
            marks = dict(new.metadata.annotations) | scaling.scale_marks(deployment)
            changed = replace(
                new,
                metadata=replace(new.metadata, annotations=marks),
                spec=replace(new.spec, replicas=size),
            )
        actions += object_patch(old, changed)
        if size != scaling.size(old):
            actions.append(_scaled(deployment, new.metadata.name, scaling.size(old), changed))
    return actions


def _scaled(deployment: Deployment, name: str, before: int, after: ReplicaSet) -> RecordEvent:
    size = scaling.size(after)
    way = "up" if size > before else "down"
    text = f"Scaled {way} replica set {name} from {before} to {size}"
    return RecordEvent(deployment, "Normal", "ScalingReplicaSet", text)


def _write_revision(deployment: Deployment, step: _Step) -> tuple[Action, ...]:
    """With the status, where an annotation makes no new generation."""
    current = step.sets.new or step.made
    if current is None:
        return ()
    number = current.metadata.annotations.get(ANNOTATION_DEPLOYMENT_REVISION, "")
    found = deployment.metadata
    if found.annotations.get(ANNOTATION_DEPLOYMENT_REVISION) == number:
        return ()
    body = {"metadata": {"annotations": {ANNOTATION_DEPLOYMENT_REVISION: number}}}
    return (Patch(Deployment, found.namespace, found.name, body, "status"),)


def _delete(replica_set: ReplicaSet) -> Delete:
    found = replica_set.metadata
    return Delete(ReplicaSet, found.namespace, found.name, found.uid)


def _recreated(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Pods matter directly only to Deployments that wait for old pods to be gone."""
    owner = controller_of(pod)
    if owner is None or owner.kind != "ReplicaSet" or not isinstance(pod, Pod):
        return ()
    replica_set = snapshot.get(ReplicaSet, owner.name, pod.metadata.namespace)
    above = controller_of(replica_set) if replica_set is not None else None
    if above is None or above.kind != "Deployment":
        return ()
    deployment = snapshot.get(Deployment, above.name, pod.metadata.namespace)
    if deployment is None or scaling.is_rolling(deployment):
        return ()
    return (Key(pod.metadata.namespace, above.name),)


CONTROLLER = Controller(
    name="deployment",
    primary=Deployment,
    plan=plan,
    watches=(Watch(ReplicaSet, ownership.owner_keys(Deployment)), Watch(Pod, _recreated)),
)
