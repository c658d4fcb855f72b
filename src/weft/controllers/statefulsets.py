"""StatefulSets: pods with names that stay, started, scaled and updated in order.

One plan takes the next step (or, with podManagementPolicy Parallel, all at once). Source of the
order: Kubernetes' stateful_set_control.go, with one repair: a pod of an outdated template that
cannot become ready is replaced instead of waited for.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.apps_v1 import ControllerRevision, StatefulSet
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.controllers import statefulset_pods as members
from weft.controllers import statefulset_status as statuses
from weft.controllers.support import history as histories
from weft.controllers.support import ownership, podstate
from weft.controllers.support.history import History
from weft.controllers.support.patches import object_patch, status_patch
from weft.controllers.support.rounding import scaled
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan, RecordEvent


class _Set(Struct, frozen=True):
    """One StatefulSet at one moment."""

    spec: StatefulSet
    pods: Mapping[int, Pod]
    claims: Mapping[str, PersistentVolumeClaim]
    history: History
    current: str
    """Name of the revision that pods below the partition have."""
    now: float

    @property
    def ordinals(self) -> range:
        start = members.first(self.spec)
        return range(start, start + members.count(self.spec))

    @property
    def in_order(self) -> bool:
        return self.spec.spec.pod_management_policy != "Parallel"

    @property
    def update(self) -> str:
        return self.history.update.metadata.name

    @property
    def partition(self) -> int:
        """Ordinals below it keep the current revision."""
        strategy = self.spec.spec.update_strategy
        rolling = strategy.rolling_update if strategy else None
        return members.first(self.spec) + ((rolling.partition or 0) if rolling else 0)

    def is_available(self, pod: Pod) -> bool:
        wait = self.spec.spec.min_ready_seconds or 0
        return members.is_healthy(pod) and podstate.is_available(pod, wait, self.now)


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The next step, and the status."""
    found = snapshot.get(StatefulSet, key.name, key.namespace)
    if found is None:
        return NOTHING
    owned, claims = ownership.claim(
        snapshot, found, Pod, found.spec.selector, lambda p: members.belongs(found, p)
    )
    pods = {members.ordinal(found, p): p for p in owned}
    history = _history(snapshot, found)
    current = found.status.current_revision
    if not current or history.find(current) is None:
        current = history.update.metadata.name
    there = _claims(snapshot, found)
    this = _Set(found, pods, there, history, current, now)
    actions: list[Action] = [*claims, *history.actions]
    collisions = (found.status.collision_count or 0) + history.collided
    if not found.metadata.deletion_timestamp and not history.collided:
        actions += _retention(this)
        actions += _steps(this)
        live = {current, this.update, *(members.revision_of(p) for p in owned)}
        actions += histories.expired(history, found.spec.revision_history_limit, live)
    status = statuses.counted(found, owned, (current, this.update), collisions, now)
    actions += status_patch(found, status)
    return Plan(tuple(actions), requeue_after=_next_availability(this))


def _history(snapshot: Snapshot, found: StatefulSet) -> History:
    everything = snapshot.list(ControllerRevision, found.metadata.namespace)
    owned = snapshot.owned(ControllerRevision, found.metadata.uid)
    taken = {r.metadata.name for r in everything} - {r.metadata.name for r in owned}
    collisions = found.status.collision_count or 0
    return histories.follow(found, found.spec.template, owned, collisions, taken)


def _claims(snapshot: Snapshot, found: StatefulSet) -> Mapping[str, PersistentVolumeClaim]:
    if not found.spec.volume_claim_templates:
        return {}
    claims = snapshot.list(PersistentVolumeClaim, found.metadata.namespace)
    return {c.metadata.name: c for c in claims}


# --- steps


def _steps(this: _Set) -> Iterator[Action]:
    """What is to be done now, in the order that the policy asks for."""
    for number in this.ordinals:
        actions, wait = _keep(this, number)
        yield from actions
        if wait and this.in_order:
            return
    condemned = sorted((n for n in this.pods if n not in this.ordinals), reverse=True)
    unhealthy = next((n for n in sorted(this.pods) if not _is_healthy(this, n)), None)
    for number in condemned:
        pod = this.pods[number]
        ready = this.is_available(pod) or number == unhealthy
        if not podstate.is_terminating(pod) and (ready or not this.in_order):
            yield from _delete(this, pod)
        if this.in_order:
            return
    yield from _replace_outdated(this)


def _is_healthy(this: _Set, number: int) -> bool:
    return members.is_healthy(this.pods[number])


def _keep(this: _Set, number: int) -> tuple[list[Action], bool]:
    """Bring one pod about; whether later ones have to wait for it."""
    pod = this.pods.get(number)
    if pod is None:
        return list(_create(this, number)), True
    if podstate.is_finished(pod) and not podstate.is_terminating(pod):
        name = pod.metadata.name
        text = f"StatefulSet {_path(this)} is recreating {pod.status.phase} Pod {name}"
        why = RecordEvent(this.spec, "Warning", "RecreatingFailedPod", text)
        return [why, *_delete(this, pod)], True
    if _is_left_behind(this, pod, number):
        text = f"Pod {pod.metadata.name} is of an earlier template and does not become ready: it is"
        stuck = RecordEvent(this.spec, "Warning", "ReplacingStuckPod", f"{text} replaced")
        return [stuck, *_delete(this, pod)], True
    return list(_missing_claims(this, number)), not this.is_available(pod)


def _is_left_behind(this: _Set, pod: Pod, number: int) -> bool:
    """Whether waiting for this pod is in vain: it is of an earlier template and not ready, and
    either left over from a rollout that never ended or unable to start. Kubernetes waits."""
    revision = members.revision_of(pod)
    if podstate.is_terminating(pod) or podstate.is_ready(pod) or revision == this.update:
        return False
    if not statuses.is_rolling(this.spec) or number < this.partition:
        return False
    return revision != this.current or members.is_stuck(pod)


def _create(this: _Set, number: int) -> Iterator[Action]:
    templates = this.spec.spec.volume_claim_templates
    names = [members.claim_name(this.spec, t, number) for t in templates]
    claims = [this.claims[n] for n in names if n in this.claims]
    if any(members.is_leaving(c, this.pods.values()) for c in claims):
        return  # the claim has to be gone before a new one can take its name
    yield from _missing_claims(this, number)
    template, revision = _template(this, number)
    pod = members.made(this.spec, template, revision, number)
    what = f"create Pod {{name}} in StatefulSet {this.spec.metadata.name}"
    yield Create(pod, this.spec, f"{what} successful", f"{what} failed error: {{error}}")


def _template(this: _Set, number: int) -> tuple[PodTemplateSpec, str]:
    """Ordinals below the partition are made anew from the current revision."""
    if statuses.is_rolling(this.spec) and number < this.partition:
        revision = this.history.find(this.current)
        kept = histories.template_of(revision) if revision is not None else None
        if kept is not None:
            return kept, this.current
    return this.spec.spec.template, this.update


def _missing_claims(this: _Set, number: int) -> Iterator[Action]:
    owner, pod = this.spec.metadata.name, f"{this.spec.metadata.name}-{number}"
    for template in this.spec.spec.volume_claim_templates:
        name = members.claim_name(this.spec, template, number)
        if name not in this.claims:
            what = f"create Claim {{name}} Pod {pod} in StatefulSet {owner}"
            claim = members.claim(this.spec, template, number)
            yield Create(claim, this.spec, f"{what} success", f"{what} failed error: {{error}}")


def _delete(this: _Set, pod: Pod) -> Iterator[Action]:
    found = pod.metadata
    yield Delete(Pod, found.namespace, found.name, found.uid)
    text = f"delete Pod {found.name} in StatefulSet {this.spec.metadata.name} successful"
    yield RecordEvent(this.spec, "Normal", "SuccessfulDelete", text)


def _replace_outdated(this: _Set) -> Iterator[Action]:
    """Rolling update: the highest outdated pods go, as many as may be unavailable."""
    if not statuses.is_rolling(this.spec):
        return
    here = [(n, this.pods[n]) for n in this.ordinals if n in this.pods]
    spare = _max_unavailable(this) - sum(not this.is_available(p) for _, p in here)
    for number, pod in reversed(here):
        if number < this.partition:
            return
        if members.revision_of(pod) == this.update or podstate.is_terminating(pod):
            continue
        if this.is_available(pod):
            if spare <= 0:
                return
            spare -= 1
        yield from _delete(this, pod)


def _max_unavailable(this: _Set) -> int:
    strategy = this.spec.spec.update_strategy
    rolling = strategy.rolling_update if strategy else None
    limit = rolling.max_unavailable if rolling else None
    if limit is None:
        return 1
    return max(1, scaled(limit, members.count(this.spec), "1%", up=True))


def _retention(this: _Set) -> Iterator[Action]:
    """Bring the owners of claims to what the retention policy asks for."""
    policy = this.spec.spec.persistent_volume_claim_retention_policy
    if policy is None:
        return
    for number, pod in this.pods.items():
        condemned = pod if number not in this.ordinals else None
        for template in this.spec.spec.volume_claim_templates:
            claim = this.claims.get(members.claim_name(this.spec, template, number))
            if claim is None or claim.metadata.deletion_timestamp:
                continue
            owners = members.claim_owners(this.spec, condemned)
            ours = {this.spec.metadata.uid, pod.metadata.uid}
            kept = tuple(o for o in claim.metadata.owner_references if o.uid not in ours)
            metadata = replace(claim.metadata, owner_references=(*kept, *owners))
            yield from object_patch(claim, replace(claim, metadata=metadata), conditional=True)


def _next_availability(this: _Set) -> float | None:
    wait = this.spec.spec.min_ready_seconds or 0
    waits = (podstate.available_in(p, wait, this.now) for p in this.pods.values())
    return min((w for w in waits if w), default=None)


def _path(this: _Set) -> str:
    return f"{this.spec.metadata.namespace}/{this.spec.metadata.name}"


def _of_claim(claim: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """The sets whose claim this may be, by its name: a set waits for old claims to be gone."""
    if not isinstance(claim, PersistentVolumeClaim):
        return ()
    found = claim.metadata
    return [
        Key(found.namespace, s.metadata.name)
        for s in snapshot.list(StatefulSet, found.namespace)
        if any(
            found.name.startswith(f"{t.metadata.name}-{s.metadata.name}-")
            for t in s.spec.volume_claim_templates
        )
    ]


CONTROLLER = Controller(
    name="statefulset",
    primary=StatefulSet,
    plan=plan,
    watches=(
        Watch(Pod, ownership.owner_keys(StatefulSet)),
        Watch(ControllerRevision, ownership.owner_keys(StatefulSet)),
        Watch(PersistentVolumeClaim, _of_claim),
    ),
)
