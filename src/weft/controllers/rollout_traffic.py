"""How the requests to a Rollout with traffic routing are divided, and what says so to the mesh.

Weights move only to versions whose pods are there and whose Service has them, so that no request
is sent to nobody. Source of the order: Argo Rollouts' traffic routing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.experiment import Experiment
from weft.api.argo.rollout import TrafficWeights, WeightDestination
from weft.api.argo.strategy import (
    CanaryStep,
    CanaryStrategy,
    RolloutTrafficRouting,
    SetHeaderRoute,
    SetMirrorRoute,
)
from weft.controllers import rollout_scaling as scaling
from weft.controllers.rollout_services import roles
from weft.controllers.rollout_view import Draft, View, hash_of, serves


class Managed(Struct, frozen=True):
    """A route that a step made."""

    name: str
    header: SetHeaderRoute | None = None
    mirror: SetMirrorRoute | None = None


class Wish(Struct, frozen=True):
    """What the mesh shall do with requests."""

    weights: TrafficWeights
    managed: tuple[Managed, ...]
    """Routes that are in force now, the first wins."""
    names: tuple[str, ...]
    """Of all routes that steps may make: those that are not in force go."""
    canary_service: str
    stable_service: str
    canary_hash: str
    stable_hash: str
    most: int


def routing_of(canary: CanaryStrategy) -> RolloutTrafficRouting:
    return canary.traffic_routing or RolloutTrafficRouting()


def most(canary: CanaryStrategy) -> int:
    """What all weights sum up to."""
    return routing_of(canary).max_traffic_weight or scaling.PERCENT


def set_weight(steps: Sequence[CanaryStep], index: int, full: int) -> int:
    """The weight that the steps up to `index` ask for."""
    if index >= len(steps):
        return full
    for step in reversed(steps[: index + 1]):
        if step.set_weight is not None:
            return step.set_weight
    return 0


def canary_weight(draft: Draft, canary: CanaryStrategy, ready: bool) -> int:
    """The share that the new version gets now. `ready`: it has the pods that the step wants."""
    view, status, full = draft.view, draft.status, most(canary)
    before = _sent(draft, full)
    by_subset = _by_subset(canary)
    if view.promoted or view.initial:
        safe = by_subset or serves(view, roles(view.rollout).stable, view.stable or view.new)
        return _falling(draft, canary, 0, before) if safe else before
    if view.new is None or not view.available(view.new):
        return 0 if not before else _falling(draft, canary, 0, before)
    if status.abort:
        return _falling(draft, canary, 0, before)
    steps = canary.steps
    index = len(steps) if status.current_step_index is None else status.current_step_index
    goal = set_weight(steps, index, full)
    if not ready:
        goal = before if index >= len(steps) else set_weight(steps, index - 1, full) if index else 0
    if goal > before and not (by_subset or serves(view, roles(view.rollout).canary, view.new)):
        return before
    return _falling(draft, canary, goal, before)


def _sent(draft: Draft, full: int) -> int:
    """The share that the canary's Service has now. Where ping and pong just changed turns, the
    Service that had it is the stable one."""
    weights = draft.status.canary.weights
    if weights is None:
        return 0
    turned = weights.canary.service_name == roles(draft.view.rollout).stable != ""
    return full - weights.canary.weight if turned else weights.canary.weight


def _falling(draft: Draft, canary: CanaryStrategy, goal: int, before: int) -> int:
    """With dynamicStableScale, the old version gets back no more than it has pods for."""
    view = draft.view
    if not canary.dynamic_stable_scale or goal >= before or not view.wanted:
        return goal
    full = most(canary)
    able = view.available(view.stable) * full // view.wanted
    return min(before, max(goal, full - min(able, full)))


def called(draft: Draft, canary: CanaryStrategy) -> str:
    """The version that the canary's share goes to: the one before as long as the present one has
    no pods."""
    view, weights = draft.view, draft.status.canary.weights
    before = weights.canary.pod_template_hash if weights is not None else ""
    if not weights or not weights.canary.weight or view.find(before) is None:
        return view.hash
    if view.promoted or draft.status.abort or not view.available(view.new):
        return before
    if before != view.hash and not _by_subset(canary):
        return view.hash if serves(view, roles(view.rollout).canary, view.new) else before
    return view.hash


def _by_subset(canary: CanaryStrategy) -> bool:
    istio = routing_of(canary).istio
    return istio is not None and istio.destination_rule is not None


def managed_routes(draft: Draft, canary: CanaryStrategy) -> tuple[Managed, ...]:
    """Routes of the steps so far; a step without matches ends its route."""
    view, status = draft.view, draft.status
    index = status.current_step_index
    over = view.promoted or view.initial or status.abort or status.promote_full
    if over or index is None or index >= len(canary.steps) or not view.available(view.new):
        return ()
    found: dict[str, Managed] = {}
    for step in canary.steps[: index + 1]:
        header, mirror = step.set_header_route, step.set_mirror_route
        made = header or mirror
        if made is None:
            continue
        found.pop(made.name, None)
        if made.match:
            found[made.name] = Managed(made.name, header, mirror)
    order = [route.name for route in routing_of(canary).managed_routes]
    return tuple(found[name] for name in order if name in found)


def wish(draft: Draft, canary: CanaryStrategy, ready: bool) -> Wish:
    view = draft.view
    weight = canary_weight(draft, canary, ready)
    extra = additional(draft, canary)
    full = most(canary)
    stable = max(0, full - weight - sum(e.weight for e in extra))
    new, old = called(draft, canary), hash_of(view.stable) or view.hash
    # Of the status that the plan began with: a promotion changes turns once for all that it does.
    services = roles(view.rollout)
    weights = TrafficWeights(
        canary=WeightDestination(weight, services.canary, new),
        stable=WeightDestination(stable, services.stable, old),
        additional=extra,
    )
    return Wish(
        weights=weights,
        managed=managed_routes(draft, canary),
        names=tuple(route.name for route in routing_of(canary).managed_routes),
        canary_service=services.canary,
        stable_service=services.stable,
        canary_hash=new,
        stable_hash=old,
        most=full,
    )


def additional(draft: Draft, canary: CanaryStrategy) -> tuple[WeightDestination, ...]:
    """Shares of the ReplicaSets of a running experiment."""
    view, status = draft.view, draft.status
    index = status.current_step_index
    if index is None or index >= len(canary.steps) or not status.canary.current_experiment:
        return ()
    step = canary.steps[index].experiment
    found = view.snapshot.get(
        Experiment, status.canary.current_experiment, view.rollout.metadata.namespace
    )
    if step is None or found is None or found.status.phase != "Running" or status.abort:
        return ()
    shares = {t.name: t.weight for t in step.templates if t.weight}
    return tuple(
        WeightDestination(shares[t.name] or 0, t.service_name, t.pod_template_hash)
        for t in found.status.template_statuses
        if t.name in shares and t.service_name and t.available_replicas
    )


def hosts(service: str, namespace: str) -> frozenset[str]:
    """How objects of Istio may write a Service."""
    return frozenset(
        f"{service}{end}"
        for end in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    )


def destinations(found: Wish) -> Mapping[str, int]:
    """Service -> weight, of all that get requests or did."""
    weights = found.weights
    shares = {
        found.stable_service: weights.stable.weight,
        found.canary_service: weights.canary.weight,
    }
    return shares | {e.service_name: e.weight for e in weights.additional}


def told(view: View, before: TrafficWeights | None, after: TrafficWeights) -> str:
    """What an Event says of a change; "" when there is none."""
    was = before.canary.weight if before is not None else 0
    if was == after.canary.weight:
        return ""
    return f"Traffic weight updated from {was} to {after.canary.weight}"


def changed(obj: Any, **spec: Any) -> Any:
    """The object with another spec."""
    return replace(obj, spec=replace(obj.spec, **spec))
