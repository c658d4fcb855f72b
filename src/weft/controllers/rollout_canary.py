"""Canaries: the new version gets a growing share, step by step.

Source of the steps: Argo Rollouts ("Canary", "Traffic management").
"""

from collections.abc import Sequence

from weft.api.argo.common import PodTemplateMetadata
from weft.api.argo.rollout import PauseCondition
from weft.api.argo.strategy import CanaryStep, CanaryStrategy
from weft.api.k8s.apps_v1 import ReplicaSet
from weft.controllers import rollout_analysis as analyses
from weft.controllers import rollout_experiment as experiments
from weft.controllers import rollout_gateway_api as gateway_api
from weft.controllers import rollout_istio as istio
from weft.controllers import rollout_routes as routes
from weft.controllers import rollout_scaling as scaling
from weft.controllers import rollout_services as services
from weft.controllers import rollout_sets as sets
from weft.controllers import rollout_traffic as traffic
from weft.controllers.rollout_scaling import Version
from weft.controllers.rollout_view import (
    ANNOTATION_ABORTED,
    ANNOTATION_DEADLINE,
    ANNOTATION_DESIRED,
    DELAY_SECONDS_DEFAULT,
    Draft,
    View,
    deadline,
    hash_of,
    pause_seconds,
    size,
)
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Action

PAUSE = "CanaryPauseStep"
_NOTHING = PodTemplateMetadata()


def plan(draft: Draft, canary: CanaryStrategy) -> list[Action]:
    """One step of whatever the canary is doing."""
    view = draft.view
    _analyses(draft, canary)
    if not (view.rollout.spec.paused or draft.status.abort or draft.invalid):
        _advance(draft, canary)
    _promote(draft, canary)
    goals = _goals(draft, canary)
    if canary.traffic_routing is not None:
        _resize_routed(draft, canary, goals)
    elif not view.rollout.spec.paused or _was_scaled(view):
        _resize_basic(draft, canary, goals)
    actions = services.point(
        draft, canary.stable_service, hash_of(view.stable) or hash_of(view.new)
    )
    weights = draft.status.canary.weights
    idle = weights is None or not weights.canary.weight
    over = (view.promoted or view.initial) and idle
    comes = not view.promoted and view.available(view.new) and not draft.status.abort
    if over or comes:
        actions += services.point(draft, canary.canary_service, hash_of(view.new))
    elif draft.status.abort and idle:
        actions += services.point(draft, canary.canary_service, hash_of(view.stable))
    if canary.ping_pong is not None:
        actions += services.take_turns(draft, comes=bool(comes or view.initial))
    if canary.traffic_routing is None:
        draft.canary(weights=None)
    elif view.new is not None:
        actions += _route(draft, canary, goals)
    return actions + _marks(draft, canary)


# ------------------------------------------------------------------ steps


def _is_over(draft: Draft, canary: CanaryStrategy) -> bool:
    """Whether no step is left."""
    index = draft.status.current_step_index
    return index is None or index >= len(canary.steps)


def _analyses(draft: Draft, canary: CanaryStrategy) -> None:
    """The runs there must be, and what their ends mean."""
    view, status = draft.view, draft.status
    index = status.current_step_index
    moving = not (view.promoted or view.initial or status.abort or status.promote_full)
    moving = moving and view.new is not None
    background = step_run = None
    starts = canary.analysis.starting_step or 0 if canary.analysis is not None else 0
    judged = canary.analysis is not None or analyses.is_judged(view)
    if moving and judged and (index is None or index >= starts) and view.available(view.new):
        wanted = analyses.Wanted(analyses.BACKGROUND, canary.analysis)
        known = status.canary.current_background_analysis_run_status
        resumed = status.controller_pause and not status.pause_conditions
        if known is not None and known.status == "Inconclusive" and resumed:
            known = None  # somebody looked at it: judge anew
        background = analyses.ensure(draft, wanted, known)
        analyses.react(draft, background, "Background")
    step = _step(draft, canary)
    if moving and step is not None and step.analysis is not None and not draft.status.abort:
        known = status.canary.current_step_analysis_run_status
        wanted = analyses.Wanted(analyses.STEP, step.analysis, index)
        step_run = analyses.ensure(draft, wanted, known)
        analyses.react(draft, step_run, "Step-based")
    if draft.status.abort:  # what failed stays to be seen
        background = background or status.canary.current_background_analysis_run_status
        step_run = step_run or status.canary.current_step_analysis_run_status
    draft.canary(
        current_background_analysis_run_status=background,
        current_step_analysis_run_status=step_run,
    )
    keep = () if draft.status.abort else (background, step_run)
    draft.actions += analyses.end_others(draft, keep)
    experiments.follow(draft, step.experiment if step is not None and moving else None)


def _step(draft: Draft, canary: CanaryStrategy) -> CanaryStep | None:
    return None if _is_over(draft, canary) else canary.steps[draft.status.current_step_index or 0]


def _advance(draft: Draft, canary: CanaryStrategy) -> None:
    """On to the next step when the present one is done."""
    view, status = draft.view, draft.status
    step = _step(draft, canary)
    if step is None or view.promoted or view.initial or view.new is None:
        return
    if status.promote_full:
        draft.set(current_step_index=len(canary.steps), pause_conditions=(), controller_pause=False)
        return
    if not _is_done(draft, canary, step):
        return
    index = (status.current_step_index or 0) + 1
    draft.set(current_step_index=index)
    draft.canary(current_step_analysis_run_status=None, current_experiment="")
    text = f"Rollout step {index}/{len(canary.steps)} completed ({_told(step)})"
    draft.event("RolloutStepCompleted", text)


def _told(step: CanaryStep) -> str:
    """A step in a few words."""
    if step.set_weight is not None:
        return f"setWeight: {step.set_weight}"
    if step.pause is not None:
        return "pause" if step.pause.duration is None else f"pause: {step.pause.duration}"
    names = {
        "experiment": step.experiment, "analysis": step.analysis,
        "setCanaryScale": step.set_canary_scale, "setHeaderRoute": step.set_header_route,
        "setMirrorRoute": step.set_mirror_route,
    }  # fmt: skip
    return next((name for name, given in names.items() if given is not None), "")


def _is_done(draft: Draft, canary: CanaryStrategy, step: CanaryStep) -> bool:
    status = draft.status
    resumed = status.controller_pause and not status.pause_conditions
    if step.pause is not None:
        return _pause(draft, step)
    if status.pause_conditions:
        return False
    if resumed:
        draft.set(controller_pause=False)
    if step.analysis is not None:
        run = status.canary.current_step_analysis_run_status
        return run is not None and (
            run.status == "Successful" or (resumed and run.status == "Inconclusive")
        )
    if step.experiment is not None:
        return experiments.is_done(draft, resumed)
    if step.set_weight is not None and canary.traffic_routing is not None:
        weights = status.canary.weights
        moved = weights is not None and weights.canary.weight == step.set_weight
        return moved and _has_pods(draft, canary)
    if step.set_weight is not None or step.set_canary_scale is not None:
        return _has_pods(draft, canary)
    return bool(draft.view.available(draft.view.new))


def _pause(draft: Draft, step: CanaryStep) -> bool:
    """Begin to wait, wait, or have waited long enough. Whoever removes the pause condition
    resumes."""
    status = draft.status
    found = next((p for p in status.pause_conditions if p.reason == PAUSE), None)
    if found is None:
        if status.controller_pause and not status.pause_conditions:
            draft.set(controller_pause=False)
            draft.event("RolloutResumed", "Rollout is resumed")
            return True
        draft.event("RolloutPaused", f"Rollout is paused ({PAUSE})")
        began = PauseCondition(PAUSE, rfc3339(draft.view.now))
        draft.set(pause_conditions=(*status.pause_conditions, began), controller_pause=True)
        found = began
    wait = pause_seconds(step.pause.duration) if step.pause is not None else None
    if wait is None or not draft.wait(seconds(found.start_time) + wait):
        return False
    rest = tuple(p for p in draft.status.pause_conditions if p.reason != PAUSE)
    draft.set(pause_conditions=rest, controller_pause=bool(rest))
    if not rest:
        draft.event("RolloutResumed", "Rollout is resumed")
    return not rest


def _promote(draft: Draft, canary: CanaryStrategy) -> None:
    """Once it has all its pods and, where requests are routed, all requests, the new version is
    the stable one."""
    view, status = draft.view, draft.status
    if view.new is None or view.promoted or status.abort or draft.view.rollout.spec.paused:
        return
    if view.available(view.new) < view.wanted or status.pause_conditions or draft.invalid:
        return
    if not view.initial:
        if not _is_over(draft, canary):
            return
        if canary.traffic_routing is not None:
            weights = status.canary.weights
            if weights is None or weights.canary.weight < traffic.most(canary):
                return
    draft.set(
        stable_rs=view.hash, current_step_index=len(canary.steps) if canary.steps else None,
        promote_full=False, controller_pause=False,
    )  # fmt: skip
    draft.canary(
        current_background_analysis_run_status=None, current_experiment="",
        stable_ping_pong=services.next_turn(view.rollout),
    )  # fmt: skip
    draft.event("RolloutCompleted", f"Rollout completed update to {view.new.metadata.name}")


# ------------------------------------------------------------------ pods


def _weight(draft: Draft, canary: CanaryStrategy) -> int:
    view, status = draft.view, draft.status
    if view.promoted or view.initial:
        return traffic.most(canary)
    if status.abort:
        return 0
    index = status.current_step_index
    index = len(canary.steps) if index is None else index
    return traffic.set_weight(canary.steps, index, traffic.most(canary))


def _goals(draft: Draft, canary: CanaryStrategy) -> tuple[int, int]:
    """(new, old) pods that there shall be now."""
    view = draft.view
    weight, full = _weight(draft, canary), traffic.most(canary)
    if view.promoted or view.initial:
        return view.wanted, 0
    if canary.traffic_routing is None:
        surge, _ = scaling.fence_posts(canary, view.wanted)
        return scaling.split(view.wanted, weight * scaling.PERCENT // full, surge)
    fixed = None if draft.status.abort else _fixed_scale(draft, canary)
    new = scaling.share(view.wanted, weight, full) if fixed is None else fixed
    return _at_least(canary, new), _stable_goal(draft, canary, weight)


def _stable_goal(draft: Draft, canary: CanaryStrategy, weight: int) -> int:
    """All pods, or with dynamicStableScale as many as its share of requests needs, before and
    after it changes."""
    view, full = draft.view, traffic.most(canary)
    if not canary.dynamic_stable_scale or draft.status.abort:
        return view.wanted
    weights = draft.status.canary.weights
    sent = weights.canary.weight if weights is not None else 0
    return _at_least(canary, scaling.share(view.wanted, full - min(sent, weight), full))


def _at_least(canary: CanaryStrategy, goal: int) -> int:
    return max(goal, canary.min_pods_per_replica_set or 0) if goal else 0


def _fixed_scale(draft: Draft, canary: CanaryStrategy) -> int | None:
    """Of the last setCanaryScale; None when the share of requests decides."""
    index = draft.status.current_step_index
    if index is None or index >= len(canary.steps):
        return None
    for step in reversed(canary.steps[: index + 1]):
        scale = step.set_canary_scale
        if scale is None:
            continue
        if scale.replicas is not None:
            return scale.replicas
        if scale.weight is not None:
            return scaling.share(draft.view.wanted, scale.weight)
        return None
    return None


def _has_pods(draft: Draft, canary: CanaryStrategy) -> bool:
    """Whether both versions have the pods that the step asks for, available."""
    view = draft.view
    new, old = _goals(draft, canary)
    if view.available(view.new) < new:
        return False
    if canary.traffic_routing is not None:
        return canary.dynamic_stable_scale or view.available(view.stable) >= old
    rest = sum(size(r) for r in view.all if r is not view.new)
    return size(view.new) == new and rest == old if view.new is not None else False


def _versions(view: View, goals: tuple[int, int]) -> list[Version]:
    """Those that go first stand first."""
    found = []
    for replica_set in view.all:
        name = replica_set.metadata.name
        goal = 0
        if replica_set is view.new:
            goal = goals[0]
        elif replica_set is view.stable:
            goal = goals[1]
        pods, available = view.pods.get(name, 0), view.available_pods.get(name, 0)
        found.append(Version(name, size(replica_set), pods, available, goal))
    return found


def _resize_basic(draft: Draft, canary: CanaryStrategy, goals: tuple[int, int]) -> None:
    view = draft.view
    surge, gone = scaling.fence_posts(canary, view.wanted)
    if view.initial and view.new is not None and not any(size(r) for r in view.others):
        draft.resize(view.new, view.wanted)
        return
    draft.sizes |= scaling.roll(_versions(view, goals), view.wanted, surge, gone)
    for replica_set in view.all:
        if draft.sizes.get(replica_set.metadata.name) == size(replica_set):
            del draft.sizes[replica_set.metadata.name]


def _was_scaled(view: View) -> bool:
    """Whether spec.replicas changed since the sets were last scaled."""
    wanted = str(view.wanted)
    active = [r for r in view.all if size(r)]
    return any(r.metadata.annotations.get(ANNOTATION_DESIRED, wanted) != wanted for r in active)


def _resize_routed(draft: Draft, canary: CanaryStrategy, goals: tuple[int, int]) -> None:
    view, status = draft.view, draft.status
    if view.new is not None:
        if status.abort and not view.promoted and not view.initial:
            _scale_down_aborted(draft, canary, view.new)
        else:
            draft.note(view.new, ANNOTATION_DEADLINE, None)
            draft.note(view.new, ANNOTATION_ABORTED, None)
            draft.resize(view.new, goals[0])
    delay = canary.scale_down_delay_seconds
    delay = DELAY_SECONDS_DEFAULT if delay is None else delay
    if canary.dynamic_stable_scale:
        delay = 0
    if view.stable is not None and view.stable is not view.new:
        keep_replaced(draft, view.stable, delay)
        draft.resize(view.stable, goals[1])
    weights = status.canary.weights
    called = traffic.called(draft, canary) if weights and weights.canary.weight else ""
    settled = not view.promoted or (weights is not None and not weights.canary.weight)
    old = [r for r in view.others if hash_of(r) != called and settled]
    scale_down_old(
        draft, old, delay if view.promoted else 0, canary.scale_down_delay_revision_limit
    )


def _scale_down_aborted(draft: Draft, canary: CanaryStrategy, new: ReplicaSet) -> None:
    """Keep its pods while requests may still go to it, and for the time after."""
    weights = draft.status.canary.weights
    delay = canary.abort_scale_down_delay_seconds
    if weights is not None and weights.canary.weight:
        if canary.dynamic_stable_scale and delay is None:
            sent, full = weights.canary.weight, traffic.most(canary)
            draft.resize(new, min(size(new), scaling.share(draft.view.wanted, sent, full)))
        return
    if delay == 0:
        return
    if delay is None:
        delay = 0 if canary.dynamic_stable_scale else DELAY_SECONDS_DEFAULT
    scale_down_later(draft, new, delay)


def keep_replaced(draft: Draft, stable: ReplicaSet, delay: int) -> None:
    """Until when the version that was just replaced keeps its pods; written at once, for the next
    change of the template may come before the next plan."""
    replaced = draft.status.stable_rs != hash_of(stable)
    until = rfc3339(draft.view.now + delay) if replaced and delay else None
    draft.note(stable, ANNOTATION_DEADLINE, until)


def scale_down_later(draft: Draft, replica_set: ReplicaSet, delay: int) -> None:
    """Give up its pods at the time that its annotation says, written when there is none yet."""
    until = deadline(replica_set) or draft.view.now + delay
    if not size(replica_set) or draft.wait(until):
        draft.note(replica_set, ANNOTATION_DEADLINE, None)
        draft.note(replica_set, ANNOTATION_ABORTED, None)
        draft.resize(replica_set, 0)
    else:
        draft.note(replica_set, ANNOTATION_DEADLINE, rfc3339(until))
        draft.note(replica_set, ANNOTATION_ABORTED, "true")


def scale_down_old(draft: Draft, old: Sequence[ReplicaSet], delay: int, limit: int | None) -> None:
    """Old versions live on for a while, the newest of them when there is a limit."""
    kept = 0
    for replica_set in reversed(old):
        if not size(replica_set):
            draft.note(replica_set, ANNOTATION_DEADLINE, None)
            continue
        kept += 1
        until = deadline(replica_set)
        if not until and delay:
            until = draft.view.now + delay
            draft.note(replica_set, ANNOTATION_DEADLINE, rfc3339(until))
        beyond = limit is not None and kept > limit
        if beyond or (not until and not delay) or draft.wait(until):
            draft.note(replica_set, ANNOTATION_DEADLINE, None)
            draft.resize(replica_set, 0)


# ------------------------------------------------------------------ requests


def _route(draft: Draft, canary: CanaryStrategy, goals: tuple[int, int]) -> list[Action]:
    view = draft.view
    ready = view.available(view.new) >= goals[0]
    wish = traffic.wish(draft, canary, ready)
    routing = traffic.routing_of(canary)
    actions: list[Action] = []
    by_whom = False
    if routing.istio is not None:
        actions += istio.actions(draft, wish, routing.istio)
        by_whom = True
    for name, config in (routing.plugins or {}).items():
        if name == "argoproj-labs/gatewayAPI":
            actions += gateway_api.named(draft, wish, config)
            by_whom = True
    if not by_whom or routes.stood_in_for(draft):
        actions += routes.own(draft, wish)
    if draft.invalid:
        return []
    text = traffic.told(view, draft.status.canary.weights, wish.weights)
    if text:
        draft.event("TrafficWeightUpdated", text)
    draft.canary(weights=wish.weights)
    return actions


# ------------------------------------------------------------------ marks of pods


def _marks(draft: Draft, canary: CanaryStrategy) -> list[Action]:
    return mark(
        draft,
        new=canary.canary_metadata or _NOTHING,
        old=canary.stable_metadata or _NOTHING,
        is_old=draft.view.promoted or draft.view.initial,
        stable=draft.view.stable,
    )


def mark(
    draft: Draft, *, new: PodTemplateMetadata, old: PodTemplateMetadata, is_old: bool,
    stable: ReplicaSet | None,
) -> list[Action]:  # fmt: skip
    """Give the pods of each version the labels and annotations of its role."""
    view = draft.view
    roles = [(view.new, old if is_old else new)]
    if stable is not view.new:
        roles.append((stable, old))
    actions: list[Action] = []
    for replica_set, role in roles:
        if replica_set is not None:
            given = sets.given(replica_set)
            gone = {
                "labels": frozenset((*new.labels, *old.labels, *given.labels)),
                "annotations": frozenset((*new.annotations, *old.annotations, *given.annotations)),
            }
            actions += sets.mark_pods(view.snapshot, replica_set, role, gone)
            draft.note(replica_set, sets.ANNOTATION_GIVEN, sets.noted(role))
    return actions
