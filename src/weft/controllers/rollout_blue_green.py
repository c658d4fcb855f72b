"""Blue-green: the new version comes up beside the old one, then all requests move at once.

Source of the order: Argo Rollouts ("BlueGreen").
"""

from weft.api.argo.analysis import FINISHED
from weft.api.argo.common import POD_HASH, PodTemplateMetadata
from weft.api.argo.rollout import PauseCondition, RunStatus
from weft.api.argo.strategy import BlueGreenStrategy
from weft.api.k8s.apps_v1 import ReplicaSet
from weft.api.k8s.core_v1 import Service
from weft.api.selectors import matches_labels
from weft.controllers import rollout_analysis as analyses
from weft.controllers import rollout_services as services
from weft.controllers.rollout_canary import keep_replaced, mark, scale_down_later, scale_down_old
from weft.controllers.rollout_view import (
    ANNOTATION_ABORTED,
    ANNOTATION_DEADLINE,
    DELAY_SECONDS_DEFAULT,
    Draft,
    View,
    deadline,
    hash_of,
    serves,
)
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Action

PAUSE = "BlueGreenPause"
_NOTHING = PodTemplateMetadata()


def plan(draft: Draft, strategy: BlueGreenStrategy) -> list[Action]:
    """One step of whatever the rollout is doing."""
    view = draft.view
    active = _active(view, strategy)
    pre = post = None
    if not draft.status.abort:
        pre = _pre_promotion(draft, strategy, active)
        post = _post_promotion(draft, strategy, active)
    target = _target(draft, strategy, active, pre)
    _promote(draft, strategy, active, post)
    _resize(draft, strategy, target)
    actions: list[Action] = []
    if strategy.preview_service:
        actions += services.point(draft, strategy.preview_service, hash_of(view.new))
    actions += services.point(draft, strategy.active_service, target)
    runs = () if draft.status.abort else (pre, post)
    if not draft.status.abort:
        draft.blue_green(
            pre_promotion_analysis_run_status=pre, post_promotion_analysis_run_status=post
        )
    draft.actions += analyses.end_others(draft, runs)
    draft.blue_green(
        active_selector=target or active,
        preview_selector=hash_of(view.new) if strategy.preview_service else "",
    )
    return actions + _marks(draft, strategy, target)


def _active(view: View, strategy: BlueGreenStrategy) -> str:
    """The version that requests go to now."""
    namespace = view.rollout.metadata.namespace
    found = view.snapshot.get(Service, strategy.active_service, namespace)
    return services.selected(found) if found is not None else ""


def _is_first(view: View, active: str) -> bool:
    """Whether there is nothing to compare with."""
    return view.initial or not active or view.find(active) is None


def _preview_count(draft: Draft, strategy: BlueGreenStrategy, first: bool) -> int:
    """Pods of the new version as long as it is not promoted."""
    count = strategy.preview_replica_count
    status = draft.status
    if first or count is None or draft.view.promoted or status.promote_full:
        return draft.view.wanted
    if status.blue_green.scale_up_preview_check_point:
        return draft.view.wanted
    return count


def _is_up(draft: Draft, strategy: BlueGreenStrategy, active: str) -> bool:
    """Whether the new version has the pods that it is judged by."""
    view = draft.view
    if view.new is None:
        return False
    return view.available(view.new) >= _preview_count(draft, strategy, _is_first(view, active))


def _pre_promotion(draft: Draft, strategy: BlueGreenStrategy, active: str) -> RunStatus | None:
    view, known = draft.view, draft.status.blue_green.pre_promotion_analysis_run_status
    skip = (
        strategy.pre_promotion_analysis is None
        or _is_first(view, active)
        or active == view.hash
        or draft.status.promote_full
        or _is_fast(draft)
    )
    if skip or not _is_up(draft, strategy, active):
        return known
    wanted = analyses.Wanted(analyses.PRE, strategy.pre_promotion_analysis)
    run = analyses.ensure(draft, wanted, known)
    analyses.react(draft, run, "Pre-promotion")
    return run


def _post_promotion(draft: Draft, strategy: BlueGreenStrategy, active: str) -> RunStatus | None:
    view, known = draft.view, draft.status.blue_green.post_promotion_analysis_run_status
    skip = (
        strategy.post_promotion_analysis is None
        or view.initial
        or active != view.hash
        or draft.status.promote_full
        or (view.promoted and known is None)
        or (_is_fast(draft) and not view.promoted)
    )
    if skip or not _has_moved(view, strategy.active_service, view.hash):
        return known
    wanted = analyses.Wanted(analyses.POST, strategy.post_promotion_analysis)
    run = analyses.ensure(draft, wanted, known)
    if not view.promoted:
        analyses.react(draft, run, "Post-promotion")
    return run


def _is_fast(draft: Draft) -> bool:
    """A version whose pods are still there since it was the active one needs no questions."""
    new = draft.view.new
    if new is None or ANNOTATION_ABORTED in new.metadata.annotations:
        return False
    return deadline(new) > draft.view.now


def _target(draft: Draft, strategy: BlueGreenStrategy, active: str, pre: RunStatus | None) -> str:
    """The version that requests shall go to."""
    view, status = draft.view, draft.status
    if view.new is None:
        return active
    if status.abort and view.stable is not None and not view.promoted:
        return hash_of(view.stable)
    if _is_first(view, active) or active == view.hash:
        full = view.available(view.new) >= view.wanted
        return view.hash if full or active == view.hash else active
    if view.rollout.spec.paused or draft.invalid or not _is_up(draft, strategy, active):
        return active
    if not _may_promote(draft, strategy, pre):
        return active
    if view.available(view.new) < view.wanted:
        draft.blue_green(scale_up_preview_check_point=True)
        return active
    draft.set(pause_conditions=(), controller_pause=False)
    return view.hash


def _may_promote(draft: Draft, strategy: BlueGreenStrategy, pre: RunStatus | None) -> bool:
    """Whether nothing and nobody has to be waited for."""
    status = draft.status
    if status.promote_full or _is_fast(draft):
        return True
    if status.blue_green.scale_up_preview_check_point:
        return True
    seconds_ = strategy.auto_promotion_seconds or 0
    by_hand = strategy.auto_promotion_enabled is False
    waited = _pause(draft, seconds_, by_hand) if by_hand or seconds_ else True
    state = pre.status if pre is not None else ""
    judged = strategy.pre_promotion_analysis is None or state == "Successful"
    if state == "Inconclusive" and status.controller_pause and not status.pause_conditions:
        return True  # somebody looked at it and resumed
    return waited and judged and not draft.status.pause_conditions


def _pause(draft: Draft, wait: int, by_hand: bool) -> bool:
    status = draft.status
    found = next((p for p in status.pause_conditions if p.reason == PAUSE), None)
    if found is None:
        if status.controller_pause and not status.pause_conditions:
            return True
        draft.event("RolloutPaused", f"Rollout is paused ({PAUSE})")
        found = PauseCondition(PAUSE, rfc3339(draft.view.now))
        draft.set(pause_conditions=(*status.pause_conditions, found), controller_pause=True)
    if by_hand or not draft.wait(seconds(found.start_time) + wait):
        return False
    rest = tuple(p for p in draft.status.pause_conditions if p.reason != PAUSE)
    draft.set(pause_conditions=rest, controller_pause=True)
    return not rest


def _promote(
    draft: Draft, strategy: BlueGreenStrategy, active: str, post: RunStatus | None
) -> None:
    """Once requests go to it, and the analysis after that succeeded, it is the stable one."""
    view, status = draft.view, draft.status
    if view.new is None or view.promoted or status.abort:
        return
    if active != view.hash or view.available(view.new) < view.wanted:
        return
    judged = strategy.post_promotion_analysis is None or view.initial or status.promote_full
    judged = judged or _is_fast(draft)
    state = post.status if post is not None else ""
    if not judged and state not in FINISHED:
        return
    if not judged and state != "Successful":
        resumed = status.controller_pause and not status.pause_conditions
        if not resumed:
            return
    draft.set(stable_rs=view.hash, promote_full=False, pause_conditions=(), controller_pause=False)
    draft.blue_green(scale_up_preview_check_point=False)
    draft.event("RolloutCompleted", f"Rollout completed update to {view.new.metadata.name}")


def _resize(draft: Draft, strategy: BlueGreenStrategy, target: str) -> None:
    view, status = draft.view, draft.status
    active = _active(view, strategy)
    first = _is_first(view, active)
    if view.new is not None:
        if status.abort and not view.promoted and not first:
            _scale_down_aborted(draft, strategy, view.new, active)
        else:
            fast = _is_fast(draft) and not view.promoted
            if not fast:
                draft.note(view.new, ANNOTATION_DEADLINE, None)
                draft.note(view.new, ANNOTATION_ABORTED, None)
            goal = _preview_count(draft, strategy, first)
            draft.resize(view.new, view.wanted if fast else goal)
    delay = strategy.scale_down_delay_seconds
    delay = DELAY_SECONDS_DEFAULT if delay is None else delay
    if view.stable is not None and view.stable is not view.new:
        keep_replaced(draft, view.stable, delay)
        draft.resize(view.stable, view.wanted)
    moved = not target or _has_moved(view, strategy.active_service, target)
    old = [r for r in view.others if hash_of(r) not in (active, target)]
    if moved or not view.promoted:
        scale_down_old(
            draft, old, delay if view.promoted else 0, strategy.scale_down_delay_revision_limit
        )


def _has_moved(view: View, service: str, target: str) -> bool:
    """Whether requests go to a version: the Service's endpoints are its pods. A Service that
    selects none of them, by mistake or since nobody calls it, is not waited for."""
    replica_set = view.find(target)
    found = view.snapshot.get(Service, service, view.rollout.metadata.namespace)
    if replica_set is None or found is None:
        return serves(view, service, replica_set)
    labels = replica_set.spec.template.metadata.labels
    own = {k: v for k, v in found.spec.selector.items() if k != POD_HASH}
    return not matches_labels(own, labels) or serves(view, service, replica_set)


def _scale_down_aborted(
    draft: Draft, strategy: BlueGreenStrategy, new: ReplicaSet, active: str
) -> None:
    delay = strategy.abort_scale_down_delay_seconds
    delay = DELAY_SECONDS_DEFAULT if delay is None else delay
    if active == draft.view.hash or not delay:
        return
    scale_down_later(draft, new, delay)


def _marks(draft: Draft, strategy: BlueGreenStrategy, target: str) -> list[Action]:
    return mark(
        draft,
        new=strategy.preview_metadata or _NOTHING,
        old=strategy.active_metadata or _NOTHING,
        is_old=target == draft.view.hash,
        stable=draft.view.stable,
    )
