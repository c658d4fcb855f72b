"""DaemonSets: one pod on every node that suits it.

Source of the rules: Kubernetes' daemon_controller.go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.controllers import daemonset_nodes as nodes
from weft.controllers import daemonset_update as updates
from weft.controllers.daemonset_nodes import Fit
from weft.controllers.support import history as histories
from weft.controllers.support import ownership, podstate
from weft.controllers.support.history import LABEL_HASH, History
from weft.controllers.support.patches import status_patch
from weft.controllers.support.podstate import seconds
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan, RecordEvent

ENDED_PAUSE_SECONDS = 1.0
"""A pod that ended is replaced after this time."""
ENDED_AGE_SECONDS_MIN = 60.0
"""Nor before it is this old, so that pods that end at once are not made over and over."""


class _Set(Struct, frozen=True):
    """One DaemonSet at one moment."""

    spec: DaemonSet
    fits: Mapping[str, Fit]
    """Of every node."""
    pods: Mapping[str, Sequence[Pod]]
    """By node, oldest first."""
    digest: str
    now: float

    @property
    def desired(self) -> list[str]:
        return [name for name, fit in self.fits.items() if fit.starts]


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Create what nodes lack, delete what they should not have, roll the template, report."""
    found = snapshot.get(DaemonSet, key.name, key.namespace)
    if found is None:
        return NOTHING
    owned, claims = ownership.claim(snapshot, found, Pod, found.spec.selector)
    history = _history(snapshot, found)
    digest = history.update.metadata.labels.get(LABEL_HASH, "")
    fits = {n.metadata.name: nodes.fit(found, n) for n in snapshot.list(Node)}
    this = _Set(found, fits, _by_node(owned), digest, now)
    actions: list[Action] = [*claims, *history.actions]
    collisions = (found.status.collision_count or 0) + history.collided
    wait = None
    if not found.metadata.deletion_timestamp and not history.collided:
        changes, wait = _manage(this)
        actions += changes
        if not changes and updates.is_rolling(found):
            actions += _roll(this)
        used = {p.metadata.labels.get(LABEL_HASH, "") for p in owned}
        live = {f"{found.metadata.name}-{digest}" for digest in used}
        live.add(history.update.metadata.name)
        actions += histories.expired(history, found.spec.revision_history_limit, live)
    actions += status_patch(found, _status(this, collisions))
    waits = [w for w in (wait, _next_availability(this)) if w]
    return Plan(tuple(actions), requeue_after=min(waits, default=None))


def _history(snapshot: Snapshot, found: DaemonSet) -> History:
    everything = snapshot.list(ControllerRevision, found.metadata.namespace)
    owned = snapshot.owned(ControllerRevision, found.metadata.uid)
    taken = {r.metadata.name for r in everything} - {r.metadata.name for r in owned}
    collisions = found.status.collision_count or 0
    return histories.follow(found, found.spec.template, owned, collisions, taken)


def _by_node(pods: Iterable[Pod]) -> Mapping[str, Sequence[Pod]]:
    found: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=_age):
        found.setdefault(nodes.node_of(pod), []).append(pod)
    return found


def _age(pod: Pod) -> tuple[float, str]:
    return seconds(pod.metadata.creation_timestamp), pod.metadata.name


# --- which nodes have a pod


def _manage(this: _Set) -> tuple[list[Action], float | None]:
    """Creations and deletions, and the wait until a pod that ended may be replaced."""
    actions: list[Action] = []
    waits: list[float] = []
    for node, fit in this.fits.items():
        pods = this.pods.get(node, ())
        if fit.starts and not pods:
            actions.append(Create(nodes.made(this.spec, node, this.digest), this.spec))
        elif pods and not fit.stays:
            for pod in (p for p in pods if not podstate.is_terminating(p)):
                actions += _delete(this, pod)
        elif pods:
            ended, wait = _ended(this, node, pods)
            actions += ended
            waits += [wait] if wait else []
            for pod in _surplus(this, pods):
                actions += _delete(this, pod)
    for node in this.pods.keys() - this.fits.keys():  # the node is gone
        for pod in this.pods[node]:
            if not pod.spec.node_name and not podstate.is_terminating(pod):
                actions += _delete(this, pod)
    return actions, min(waits, default=None)


def _ended(this: _Set, node: str, pods: Sequence[Pod]) -> tuple[list[Action], float | None]:
    """Pods that ended are deleted, and so replaced, after a pause."""
    actions: list[Action] = []
    wait = None
    for pod in pods:
        if podstate.is_terminating(pod) or not podstate.is_finished(pod):
            continue
        created = seconds(pod.metadata.creation_timestamp)
        due = max(_ended_at(pod) + ENDED_PAUSE_SECONDS, created + ENDED_AGE_SECONDS_MIN)
        if due > this.now:
            wait = due - this.now
            continue
        failed = pod.status.phase == "Failed"
        reason = "FailedDaemonPod" if failed else "SucceededDaemonPod"
        kind = "failed daemon pod" if failed else "succeeded daemon pod"
        path = f"{pod.metadata.namespace}/{pod.metadata.name}"
        verb = "kill" if failed else "delete"
        text = f"Found {kind} {path} on node {node}, will try to {verb} it"
        level = "Warning" if failed else "Normal"
        actions.append(RecordEvent(this.spec, level, reason, text))  # type: ignore[arg-type]
        actions += _delete(this, pod)
    return actions, wait


def _ended_at(pod: Pod) -> float:
    ends = (s.state.terminated for s in pod.status.container_statuses if s.state)
    return max((seconds(t.finished_at) for t in ends if t), default=0.0)


def _surplus(this: _Set, pods: Sequence[Pod]) -> Iterator[Pod]:
    """All but the oldest; while a surge update runs, the oldest of each template."""
    surges = updates.is_rolling(this.spec) and updates.limits(this.spec, len(this.desired))[0]
    kept: set[bool] = set()
    for pod in pods:
        if not podstate.is_active(pod):
            continue
        kind = updates.is_new(pod, this.digest) if surges else True
        if kind in kept:
            yield pod
        kept.add(kind)


def _roll(this: _Set) -> Iterator[Action]:
    running = {n: this.pods.get(n, ()) for n in this.desired}
    step = updates.roll(this.spec, running, this.digest, len(this.desired), this.now)
    for pod in step.deleted:
        yield from _delete(this, pod)
    for node in step.created:
        yield Create(nodes.made(this.spec, node, this.digest), this.spec)


def _delete(this: _Set, pod: Pod) -> tuple[Action, ...]:
    found = pod.metadata
    return (
        Delete(Pod, found.namespace, found.name, found.uid),
        RecordEvent(this.spec, "Normal", "SuccessfulDelete", f"Deleted pod: {found.name}"),
    )


# --- status


def _status(this: _Set, collisions: int) -> DaemonSetStatus:
    wait = this.spec.spec.min_ready_seconds or 0
    desired = set(this.desired)
    alive = {n: [p for p in ps if podstate.is_active(p)] for n, ps in this.pods.items()}
    scheduled = [ps for n, ps in alive.items() if n in desired and ps]
    ready = sum(any(podstate.is_ready(p) for p in ps) for ps in scheduled)
    available = sum(any(podstate.is_available(p, wait, this.now) for p in ps) for ps in scheduled)
    updated = sum(any(updates.is_new(p, this.digest) for p in ps) for ps in scheduled)
    return replace(
        this.spec.status,
        observed_generation=this.spec.metadata.generation,
        desired_number_scheduled=len(desired),
        current_number_scheduled=len(scheduled),
        number_misscheduled=sum(bool(ps) for n, ps in alive.items() if n not in desired),
        number_ready=ready,
        number_available=available or None,
        number_unavailable=(len(desired) - available) or None,
        updated_number_scheduled=updated or None,
        collision_count=collisions or None,
    )


def _next_availability(this: _Set) -> float | None:
    wait = this.spec.spec.min_ready_seconds or 0
    pods = (p for ps in this.pods.values() for p in ps)
    waits = (podstate.available_in(p, wait, this.now) for p in pods)
    return min((w for w in waits if w), default=None)


def _everywhere(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """A node that comes, goes or changes concerns every DaemonSet."""
    return [Key(d.metadata.namespace, d.metadata.name) for d in snapshot.list(DaemonSet)]


CONTROLLER = Controller(
    name="daemonset",
    primary=DaemonSet,
    plan=plan,
    watches=(
        Watch(Pod, ownership.owner_keys(DaemonSet)),
        Watch(ControllerRevision, ownership.owner_keys(DaemonSet)),
        Watch(Node, _everywhere),
    ),
)
