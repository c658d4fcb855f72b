"""Rollouts: one plan takes one step; the changes it makes wake it again.

Its fields mean what Argo Rollouts documents, so that its users' manifests and its command work.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.analysis import AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate
from weft.api.argo.common import POD_HASH
from weft.api.argo.experiment import Experiment
from weft.api.argo.rollout import BlueGreenStatus, CanaryStatus, Rollout, RolloutStatus
from weft.api.gateway.v1 import GRPCRoute, HTTPRoute, TCPRoute, TLSRoute
from weft.api.istio.networking_v1 import DestinationRule, VirtualService
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.core_v1 import PodTemplate, PodTemplateSpec, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.api.snapshot import Snapshot, controller_of, meta
from weft.controllers import (
    rollout_analysis,
    rollout_blue_green,
    rollout_canary,
    rollout_istio,
    rollout_restart,
    rollout_services,
    rollout_sets,
    rollout_status,
    rollout_workload,
)
from weft.controllers.deployment_revisions import template_hash
from weft.controllers.rollout_view import (
    ANNOTATION_MANAGED,
    ANNOTATION_REVISION,
    Draft,
    View,
    counted,
    hash_of,
    next_revision_of,
    resolved,
    revision,
)
from weft.controllers.support import ownership
from weft.controllers.support.patches import object_patch, status_patch
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Key, Plan


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The next step of whatever the Rollout is doing, and its status."""
    rollout = snapshot.get(Rollout, key.name, key.namespace)
    if rollout is None:
        return Plan(tuple(_released(snapshot, key, (), "")))
    if rollout.metadata.deletion_timestamp:
        return NOTHING
    found = resolved(snapshot, rollout)
    if isinstance(found, str):
        return _unresolved(rollout, found, now)
    template, selector = found
    owned, claims = ownership.claim(snapshot, rollout, ReplicaSet, selector)
    digest = template_hash(template, rollout.status.collision_count or 0)
    draft = _draft(snapshot, rollout, (template, selector, digest), owned, now)
    view = draft.view
    aborted_before = draft.status.abort
    actions: list[Action] = [*claims]
    if view.new is None and not rollout.spec.paused:
        name = rollout_sets.set_name(rollout, view.hash)
        if snapshot.get(ReplicaSet, name, key.namespace) is not None:
            count = (rollout.status.collision_count or 0) + 1
            return Plan(status_patch(rollout, replace(rollout.status, collision_count=count)))
        actions += rollout_sets.create(view)
    rollout_sets.keep_revision(draft)
    if rollout.status.current_pod_hash != view.hash:
        draft.event("RolloutUpdated", f"Rollout updated to revision {next_revision_of(view)}")
    rollout_analysis.require(draft)
    if view.canary is not None:
        steps = rollout_canary.plan(draft, view.canary)
    elif view.blue_green is not None:
        steps = rollout_blue_green.plan(draft, view.blue_green)
    else:
        steps = []
    rollout_restart.plan(draft)
    rollout_status.counted(draft)
    why = draft.status.message if draft.status.abort and not aborted_before else ""
    _deadline(draft, rollout)
    rollout_status.concluded(draft, why)
    workload = rollout_workload.plan(draft)
    if draft.status.abort and not draft.status.aborted_at:
        draft.set(aborted_at=rfc3339(now))
        if not why:  # somebody did it
            number = next_revision_of(view)
            text = f"Rollout aborted update to revision {number}"
            draft.event("RolloutAborted", text, warning=True)
    actions += [
        *rollout_sets.written(draft),
        *steps,
        *draft.actions,
        *workload,
        *_released(
            snapshot, key, rollout_services.named(rollout), rollout_istio.named_rule(rollout)
        ),
        *_write_revision(draft),
        *status_patch(rollout, draft.status),
    ]
    if view.promoted:
        actions += rollout_sets.expired(view, (view.hash, rollout.status.stable_rs))
    return Plan(tuple(actions), requeue_after=min(draft.waits, default=None))


def _released(
    snapshot: Snapshot, key: Key, services: Sequence[str], rule: str
) -> list[Action]:  # fmt: skip
    """What the Rollout wrote and names no more."""
    return [
        *rollout_services.released(snapshot, key.namespace, key.name, services),
        *rollout_istio.released(snapshot, key.namespace, key.name, rule),
    ]


def _unresolved(rollout: Rollout, problem: str, now: float) -> Plan:
    status = rollout_status.put(rollout.status, "InvalidSpec", True, ("InvalidSpec", problem), now)
    status = replace(
        status, phase="Degraded", message=f"InvalidSpec: {problem}",
        observed_generation=str(rollout.metadata.generation or 0),
    )  # fmt: skip
    return Plan(status_patch(rollout, status))


def _draft(
    snapshot: Snapshot,
    rollout: Rollout,
    known: tuple[PodTemplateSpec, LabelSelector, str],
    owned: Sequence[ReplicaSet],
    now: float,
) -> Draft:
    template, selector, digest = known
    status = rollout.status
    there, available = counted(snapshot, owned, rollout.spec.min_ready_seconds or 0, now)
    new = next((r for r in owned if hash_of(r) == digest), None)
    stable = next((r for r in owned if hash_of(r) == status.stable_rs), None)
    others = sorted((r for r in owned if r is not new and r is not stable), key=revision)
    view = View(
        snapshot, rollout, template, selector, digest, new, stable, tuple(others), now,
        there, available,
    )  # fmt: skip
    return Draft(view, _fresh(view))


def _fresh(view: View) -> RolloutStatus:
    """The status with what a new template, new steps, an abort or a retry begin anew."""
    rollout, status = view.rollout, view.rollout.status
    canary = rollout.spec.strategy.canary
    count = len(canary.steps) if canary is not None else 0
    steps = rollout_status.steps_hash(rollout)
    start: int | None = 0 if count else None
    if status.current_pod_hash != view.hash:
        skip = view.promoted or view.initial or _within_window(view)
        return replace(
            status,
            current_pod_hash=view.hash, current_step_hash=steps,
            current_step_index=(count if skip else 0) if count else None,
            pause_conditions=(), controller_pause=False, abort=False, aborted_at="",
            promote_full=False, message="",
            canary=_kept(status),
            blue_green=BlueGreenStatus(active_selector=status.blue_green.active_selector),
        )  # fmt: skip
    if status.current_step_hash != steps:
        done = view.promoted or view.initial
        status = replace(
            status, current_step_hash=steps, pause_conditions=(), controller_pause=False,
            current_step_index=count if done and count else start,
            canary=_kept(status),
        )  # fmt: skip
    if status.abort and (view.promoted or view.initial):
        # There is nothing to go back to.
        return replace(status, abort=False, aborted_at="")
    if status.abort and status.aborted_at and status.promote_full:
        # Somebody wants it after all, at once.
        status = replace(status, abort=False, aborted_at="", message="")
    if status.abort:
        return replace(
            status, pause_conditions=(), controller_pause=False, promote_full=False,
            current_step_index=start,
        )  # fmt: skip
    if status.aborted_at:  # somebody retries
        return replace(
            status, aborted_at="", current_step_index=start, message="",
            canary=_kept(status),
            blue_green=BlueGreenStatus(active_selector=status.blue_green.active_selector),
        )  # fmt: skip
    if count and (status.current_step_index is None or (view.promoted or view.initial)):
        done = view.promoted or view.initial
        return replace(status, current_step_index=count if done else 0)
    return status


def _kept(status: RolloutStatus) -> CanaryStatus:
    """Of a canary, what is true of the mesh whatever the steps are."""
    found = status.canary
    return CanaryStatus(weights=found.weights, stable_ping_pong=found.stable_ping_pong)


def _within_window(view: View) -> bool:
    """Whether the template is one of the last revisions before the stable one."""
    window = view.rollout.spec.rollback_window
    if window is None or view.new is None or view.stable is None:
        return False
    born, stable = (r.metadata.creation_timestamp for r in (view.new, view.stable))
    if born >= stable:
        return False
    between = sum(born < r.metadata.creation_timestamp < stable for r in view.others)
    return between < window.revisions


def _deadline(draft: Draft, rollout: Rollout) -> None:
    """progressDeadlineAbort: what made no progress goes back."""
    if not rollout.spec.progress_deadline_abort or draft.status.abort:
        return
    view = draft.view
    if rollout_status.timed_out(rollout.status) and not (view.promoted or view.initial):
        rollout_analysis.abort(draft, "it made no progress within progressDeadlineSeconds")


def _write_revision(draft: Draft) -> tuple[Action, ...]:
    rollout = draft.view.rollout
    annotations = dict(rollout.metadata.annotations)
    annotations[ANNOTATION_REVISION] = str(next_revision_of(draft.view))
    metadata = replace(rollout.metadata, annotations=annotations)
    return object_patch(rollout, replace(rollout, metadata=metadata))


# ------------------------------------------------------------------ who is woken


def _of_service(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Rollouts that a Service belongs to or that name it."""
    found = meta(obj)
    keys = {found.annotations.get(ANNOTATION_MANAGED, "")}
    if "" in keys:
        keys = {
            r.metadata.name
            for r in snapshot.list(Rollout, found.namespace)
            if found.name in rollout_services.named(r)
        }
    return [Key(found.namespace, name) for name in sorted(keys)]


def _of_slice(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    owner = controller_of(obj)
    found = (
        snapshot.get(Service, owner.name, meta(obj).namespace)
        if owner is not None and owner.kind == "Service"
        else None
    )
    manager = found.metadata.annotations.get(ANNOTATION_MANAGED) if found is not None else None
    return (Key(meta(obj).namespace, manager),) if manager else ()


def _of_pod(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    owner = controller_of(obj)
    if owner is None or owner.kind != "ReplicaSet" or POD_HASH not in meta(obj).labels:
        return ()
    above = snapshot.get(ReplicaSet, owner.name, meta(obj).namespace)
    top = controller_of(above) if above is not None else None
    if top is None or top.kind != "Rollout":
        return ()
    return (Key(meta(obj).namespace, top.name),)


def _of_namespace(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Rollouts beside it that name such objects: there are few, and they change seldom."""
    namespace = meta(obj).namespace or None
    return [
        Key(r.metadata.namespace, r.metadata.name)
        for r in snapshot.list(Rollout, namespace)
        if _names(r, obj)
    ]


def _names(rollout: Rollout, obj: Struct) -> bool:
    if isinstance(obj, Deployment | PodTemplate):
        reference = rollout.spec.workload_ref
        return reference is not None and reference.name == meta(obj).name
    if isinstance(obj, PodDisruptionBudget):
        return rollout.spec.restart_at > rollout.status.restarted_at
    canary = rollout.spec.strategy.canary
    routing = canary.traffic_routing if canary is not None else None
    if isinstance(obj, VirtualService | DestinationRule):
        return routing is not None and routing.istio is not None
    if isinstance(obj, HTTPRoute | GRPCRoute | TCPRoute | TLSRoute):
        return routing is not None and (
            bool(routing.plugins) or meta(obj).name.startswith(rollout.metadata.name)
        )
    return rollout.status.phase == "Degraded"


CONTROLLER = Controller(
    name="rollout",
    primary=Rollout,
    plan=plan,
    watches=(
        Watch(ReplicaSet, ownership.owner_keys(Rollout)),
        Watch(AnalysisRun, ownership.owner_keys(Rollout)),
        Watch(Experiment, ownership.owner_keys(Rollout)),
        Watch(Pod, _of_pod),
        Watch(Service, _of_service),
        Watch(EndpointSlice, _of_slice),
        *(
            Watch(cls, _of_namespace)
            for cls in (
                Deployment, PodTemplate, VirtualService, DestinationRule, HTTPRoute, GRPCRoute,
                TCPRoute, TLSRoute, PodDisruptionBudget, AnalysisTemplate, ClusterAnalysisTemplate,
            )
        ),
    ),
)  # fmt: skip
