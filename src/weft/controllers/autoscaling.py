"""HorizontalPodAutoscalers: the size of a workload by what is measured.

Source of the algorithm and words: Kubernetes' HPA controller (autoscaling/v2).
"""

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.rollout import Rollout
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet, StatefulSet
from weft.api.k8s.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from weft.api.k8s.core_v1 import ReplicationController
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod
from weft.api.selectors import from_selector, parse_labels
from weft.api.snapshot import Snapshot, meta
from weft.controllers import autoscaling_behavior as behaviors
from weft.controllers import autoscaling_metrics as metrics
from weft.controllers.autoscaling_behavior import Bounds, Memory, Moment
from weft.controllers.autoscaling_foresight import CONDITION, Foresight, foresee
from weft.controllers.autoscaling_metrics import Result, Target
from weft.controllers.autoscaling_replicas import TOLERANCE_DEFAULT, Tolerance
from weft.controllers.support.patches import status_patch
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Action, Patch, Plan, RecordEvent
from weft.telemetry.readings import Readings

UTILIZATION_DEFAULT = 80
"""Of CPU, for an autoscaler that names no metric."""
SCALED: Mapping[str, type[Struct]] = {
    "Deployment": Deployment,
    "ReplicaSet": ReplicaSet,
    "StatefulSet": StatefulSet,
    "ReplicationController": ReplicationController,
    "Rollout": Rollout,
}
_ACTIVE = "ScalingActive"
_ABLE = "AbleToScale"
_LIMITED = "ScalingLimited"


class Decision(Struct, frozen=True):
    plan: Plan
    memory: Memory


class _Scaled(Struct, frozen=True):
    """The target, and what it has."""

    obj: Struct
    wanted: int
    """spec.replicas"""
    current: int
    """status.replicas"""
    pods: Sequence[Pod]


class _Wish(Struct, frozen=True):
    """What the metrics ask for together."""

    replicas: int | None
    reason: str = ""
    results: Sequence[Result] = ()
    failure: Result | None = None


def decide(
    snapshot: Snapshot,
    scaler: HorizontalPodAutoscaler,
    readings: Readings,
    memory: Memory,
    now: float,
) -> Decision:
    """Scale the target, or say why not."""
    say = partial(_condition, now=now)
    target = _target(snapshot, scaler)
    if target is None:
        reference = scaler.spec.scale_target_ref
        name = f"{reference.kind}/{reference.name}" if reference else ""
        text = f"the HPA controller was unable to get the target's current scale: {name} not found"
        conditions = say(scaler.status.conditions, _ABLE, "False", ("FailedGetScale", text))
        status = _status(scaler, None, None, (), conditions)
        event = RecordEvent(scaler, "Warning", "FailedGetScale", text)
        return Decision(Plan((event, *status_patch(scaler, status))), memory)
    if not memory.recommended:  # new, or weft restarted: what runs is kept like a wish
        memory = replace(memory, recommended=(Moment(now, target.wanted),))
    text = "the HPA controller was able to get the target's current scale"
    conditions = say(scaler.status.conditions, _ABLE, "True", ("SucceededGetScale", text))
    # From one to zero and back is for who holds the calls (`scale_to_zero`).
    bounds = Bounds(max(1, _least(scaler)), scaler.spec.max_replicas or 1)
    if target.wanted == 0:
        asleep = _least(scaler) == 0
        text = "scaling is disabled since the replica count of the target is zero"
        text = "the target is scaled to zero until somebody calls it" if asleep else text
        reason = "ScaledToZero" if asleep else "ScalingDisabled"
        conditions = say(conditions, _ACTIVE, "False", (reason, text))
        status = _status(scaler, target, 0, (), conditions)
        return Decision(Plan(status_patch(scaler, status)), memory)
    if target.wanted > bounds.most:
        reason = "Current number of replicas above Spec.MaxReplicas"
        return _apply(scaler, target, bounds.most, reason, (), conditions, memory, now)
    if target.wanted < bounds.least:
        reason = "Current number of replicas below Spec.MinReplicas"
        return _apply(scaler, target, bounds.least, reason, (), conditions, memory, now)
    if rivals := _rivals(snapshot, scaler):
        both = " ".join(sorted(f"{scaler.metadata.namespace}/{n}" for n in rivals))
        error = f"pods of {meta(target.obj).name} are controlled by multiple HPAs: [{both}]"
        wish = _Wish(None, failure=Result("", reason="AmbiguousSelector", error=error))
    else:
        wish = _wish(scaler, target, readings, now)
    if wish.replicas is None:
        return _failed(scaler, target, wish, conditions, memory, now)
    names = ", ".join(r.name for r in wish.results if r.replicas == wish.replicas)
    text = f"the HPA was able to successfully calculate a replica count from {names}"
    conditions = say(conditions, _ACTIVE, "True", ("ValidMetricFound", text))
    memory = memory.trimmed(now)
    view = foresee(snapshot, scaler, target.obj, wish.replicas, memory, now)
    memory, conditions = view.memory, _forecasting(conditions, view, now)
    if view.replicas > wish.replicas:
        wish = _Wish(view.replicas, view.reason, wish.results)
    found = behaviors.normalise(
        target.wanted, wish.replicas or 0, bounds, scaler.spec.behavior, memory, now
    )
    memory = replace(memory, recommended=(*memory.recommended, Moment(now, wish.replicas or 0)))
    conditions = say(conditions, _ABLE, "True", found.able)
    within = ("DesiredWithinRange", "the desired count is within the acceptable range")
    limited = "True" if found.limited else "False"
    conditions = say(conditions, _LIMITED, limited, found.limited or within)
    decided = _apply(
        scaler, target, found.replicas, wish.reason, wish.results, conditions, memory, now
    )
    return Decision(Plan((*view.events, *decided.plan.actions)), decided.memory)


def measured(snapshot: Snapshot, scaler: HorizontalPodAutoscaler) -> frozenset[str]:
    """Uids of the pods whose CPU or memory the autoscaler asks about."""
    asks = not scaler.spec.metrics or any(
        m.resource is not None or m.container_resource is not None for m in scaler.spec.metrics
    )
    target = _target(snapshot, scaler) if asks else None
    return frozenset(p.metadata.uid for p in target.pods) if target is not None else frozenset()


def _rivals(snapshot: Snapshot, scaler: HorizontalPodAutoscaler) -> tuple[str, ...]:
    """All that scale the same, when it is not this one alone: each would undo what others did."""
    mine = scaler.spec.scale_target_ref
    names = tuple(
        other.metadata.name
        for other in snapshot.list(HorizontalPodAutoscaler, scaler.metadata.namespace)
        if mine is not None
        and (ref := other.spec.scale_target_ref) is not None
        and (ref.kind, ref.name) == (mine.kind, mine.name)
    )
    return names if len(names) > 1 else ()


def _least(scaler: HorizontalPodAutoscaler) -> int:
    return 1 if scaler.spec.min_replicas is None else scaler.spec.min_replicas


def _target(snapshot: Snapshot, scaler: HorizontalPodAutoscaler) -> _Scaled | None:
    reference = scaler.spec.scale_target_ref
    cls = SCALED.get(reference.kind) if reference else None
    if reference is None or cls is None:
        return None
    namespace = scaler.metadata.namespace
    obj = snapshot.get(cls, reference.name, namespace)
    if obj is None:
        return None
    spec, status = obj.spec, obj.status  # type: ignore[attr-defined]
    selector = spec.selector
    if not isinstance(selector, LabelSelector):
        selector = LabelSelector(match_labels=selector or {})
    chosen = from_selector(selector)
    if isinstance(obj, Rollout):  # its selector may be that of its workload
        chosen = parse_labels(obj.status.selector) if obj.status.selector else None
    pods = [
        p
        for p in snapshot.list(Pod, namespace)
        if chosen is not None and chosen.matches(p.metadata.labels)
    ]
    wanted = 1 if spec.replicas is None else spec.replicas
    return _Scaled(obj, wanted, status.replicas or 0, pods)


def _wish(
    scaler: HorizontalPodAutoscaler, target: _Scaled, readings: Readings, now: float
) -> _Wish:
    """The most that any metric asks for. One that cannot be read keeps the others from
    scaling down."""
    seen = Target(scaler.metadata.namespace, meta(target.obj).name, target.wanted, target.pods)
    tolerance = _tolerance(scaler)
    specs = scaler.spec.metrics or (_default_metric(),)
    results = [metrics.evaluate(s, seen, readings, tolerance, now) for s in specs]
    failed = [r for r in results if r.replicas is None]
    most = max((r.replicas for r in results if r.replicas is not None), default=None)
    if most is None or (failed and most < target.wanted):
        return _Wish(None, results=results, failure=failed[0])
    top = next(r for r in results if r.replicas == most)
    reason = f"{top.name} above target" if most > target.wanted else "All metrics below target"
    return _Wish(most, reason, results)


def _default_metric() -> MetricSpec:
    goal = MetricTarget(type="Utilization", average_utilization=UTILIZATION_DEFAULT)
    return MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=goal))


def _tolerance(scaler: HorizontalPodAutoscaler) -> Tolerance:
    behavior = scaler.spec.behavior
    up = behavior.scale_up.tolerance if behavior and behavior.scale_up else None
    down = behavior.scale_down.tolerance if behavior and behavior.scale_down else None
    return Tolerance(
        TOLERANCE_DEFAULT if up is None else metrics.number(up),
        TOLERANCE_DEFAULT if down is None else metrics.number(down),
    )


def _failed(  # noqa: PLR0917
    scaler: HorizontalPodAutoscaler,
    target: _Scaled,
    wish: _Wish,
    conditions: "Conditions",
    memory: Memory,
    now: float,
) -> Decision:
    failure = wish.failure or Result("")
    text = f"the HPA was unable to compute the replica count: {failure.error}"
    conditions = _condition(conditions, _ACTIVE, "False", (failure.reason, text), now)
    status = _status(scaler, target, None, wish.results, conditions)
    event = RecordEvent(scaler, "Warning", failure.reason, failure.error)
    return Decision(Plan((event, *status_patch(scaler, status))), memory)


def _apply(  # noqa: PLR0917
    scaler: HorizontalPodAutoscaler,
    target: _Scaled,
    size: int,
    reason: str,
    results: Sequence[Result],
    conditions: "Conditions",
    memory: Memory,
    now: float,
) -> Decision:
    actions: list[Action] = []
    stamp = scaler.status.last_scale_time
    if size != target.wanted:
        found = meta(target.obj)
        body = {"spec": {"replicas": size}}
        actions.append(Patch(type(target.obj), found.namespace, found.name, body, "scale"))
        text = f"New size: {size}; reason: {reason}"
        actions.append(RecordEvent(scaler, "Normal", "SuccessfulRescale", text))
        text = f"the HPA controller was able to update the target scale to {size}"
        conditions = _condition(conditions, _ABLE, "True", ("SucceededRescale", text), now)
        memory = replace(memory, changed=(*memory.changed, Moment(now, size - target.wanted)))
        stamp = rfc3339(now)
    status = _status(scaler, target, size, results, conditions)
    actions += status_patch(scaler, replace(status, last_scale_time=stamp))
    return Decision(Plan(tuple(actions)), memory)


def _status(
    scaler: HorizontalPodAutoscaler,
    target: _Scaled | None,
    desired: int | None,
    results: Sequence[Result],
    conditions: "Conditions",
) -> HorizontalPodAutoscalerStatus:
    before = scaler.status
    shown = tuple(r.status for r in results if r.status is not None)
    return replace(
        before,
        observed_generation=scaler.metadata.generation,
        current_replicas=target.current if target else before.current_replicas,
        desired_replicas=(before.desired_replicas or 0) if desired is None else desired,
        current_metrics=shown or before.current_metrics,
        conditions=conditions,
    )


Conditions = tuple[HorizontalPodAutoscalerCondition, ...]


def _forecasting(conditions: Conditions, view: Foresight, now: float) -> Conditions:
    """Whether it can look ahead; nothing where nobody asked for it."""
    if view.condition is None:
        return tuple(c for c in conditions if c.type != CONDITION)
    status, *why = view.condition
    return _condition(conditions, CONDITION, status, (why[0], why[1]), now)


def _condition(
    conditions: Conditions, kind: str, status: str, why: tuple[str, str], now: float
) -> Conditions:
    """With the condition set; its time changes with its status only."""
    before = next((c for c in conditions if c.type == kind), None)
    same = before is not None and before.status == status
    made = HorizontalPodAutoscalerCondition(
        type=kind,
        status=status,
        reason=why[0],
        message=why[1],
        last_transition_time=before.last_transition_time if before and same else rfc3339(now),
    )
    if before is None:
        return (*conditions, made)
    return tuple(made if c.type == kind else c for c in conditions)
