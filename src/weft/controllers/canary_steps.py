"""Canaries: one look takes one step. Pure: what only the network knows is a question, which whoever
runs this (weft.daemon.canaries) asks; then it looks again, with the answers.

Phases, their order and the words of Events are Flagger's, so that its users' manifests and eyes
work. Unlike there pods stay until every proxy has acknowledged that they get no calls.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.flagger.canary import Canary, CanaryWebhook, HookType
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.core_v1 import Service
from weft.api.snapshot import Snapshot
from weft.controllers import canary_objects as objects
from weft.controllers import canary_routes as routes
from weft.controllers.analysis_runs import Answer
from weft.controllers.canary_checks import analysed, asking, called, hooks
from weft.controllers.canary_routes import Shares
from weft.controllers.canary_view import (
    ANALYSED,
    FULL,
    KUBERNETES,
    SELECTOR_LABELS,
    Draft,
    Early,
    Halt,
    Notice,
    Question,
    Unasked,
    View,
    canary_name,
    in_phase,
    interval_of,
    owned,
    primary_name,
)
from weft.controllers.support.patches import object_patch, status_patch
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import NOTHING, Create, Patch, Plan, RecordEvent

FINALIZER = "finalizer.flagger.app"
ITERATIONS_DEFAULT = 10
"""Of provider kubernetes, which has no weights."""
JUDGED = ("Progressing", "WaitingPromotion")
LOOK_SECONDS = 0.5
"""While proxies are awaited."""
LATE_SECONDS = 10.0
"""After which it is said that they are."""


class Turn(Struct, frozen=True):
    """What a look decided."""

    plan: Plan = NOTHING
    question: Question | None = None
    """To be asked first; nothing else is decided."""
    ticked: bool = False
    """A step was taken: the next one is an interval away."""
    notices: tuple[Notice, ...] = ()
    later: tuple[Question, ...] = ()
    """To be asked after the plan: `answered` makes Events of the answers."""


def advance(
    snapshot: Snapshot,
    canary: Canary,
    answers: Mapping[str, Answer],
    now: float,
    *,
    ticked_at: float | None,
    in_force: Callable[[Struct], bool],
) -> Turn:
    """`ticked_at` is when the last step was taken, if that is known."""
    since = seconds(canary.status.last_transition_time) if ticked_at is None else ticked_at
    left = since + interval_of(canary) - now
    dying = bool(canary.metadata.deletion_timestamp)
    if canary.spec.suspend and not dying:
        return Turn()
    name, space = canary.spec.target_ref.name, canary.metadata.namespace
    target = snapshot.get(Deployment, name, space)
    if target is None:
        return _without_target(canary, due=left <= 0, now=now)
    labels = target.spec.selector.match_labels if target.spec.selector is not None else {}
    label = next((each for each in SELECTOR_LABELS if each in labels), "")
    view = View(snapshot, canary, target, label, now, left <= 0, answers, in_force)
    draft = Draft(view)
    try:
        if not label:
            raise Halt(
                f"deployment {view.of} spec.selector.matchLabels must contain one of "
                f"{' '.join(SELECTOR_LABELS)}"
            )
        if dying:
            _reverted(draft)
        else:
            _looked(draft)
    except Unasked as unasked:
        return Turn(question=unasked.question)
    except Early:
        draft.ticked = True
    except Halt as halt:
        if view.due:  # told once in an interval
            draft.event(str(halt), warning=True)
            draft.ticked = True
        if not canary.status.phase:
            draft.enter("Initializing")
    wait = interval_of(canary) if draft.ticked else max(left, 0.0)
    waits = [w for w in (wait, draft.wait) if w is not None and w > 0]
    actions = (*draft.actions, *status_patch(canary, draft.dated()))
    plan = Plan(actions, requeue_after=min(waits, default=None))
    return Turn(plan, ticked=draft.ticked, notices=tuple(draft.notices), later=tuple(draft.later))


def answered(canary: Canary, question: Question, answer: Answer) -> RecordEvent:
    """What a webhook of type post-rollout said."""
    name = question.webhook.name if question.webhook is not None else ""
    if answer.error:
        text = f"Post-rollout hook {name} failed {answer.error}"
        return RecordEvent(canary, "Warning", "Synced", text)
    return RecordEvent(canary, "Normal", "Synced", f"Post-rollout check {name} passed")


def _without_target(canary: Canary, *, due: bool, now: float) -> Turn:
    if canary.metadata.deletion_timestamp:
        return Turn(Plan(_released(canary)))
    where = f"{canary.spec.target_ref.name}.{canary.metadata.namespace}"
    status = in_phase(canary.status, canary.status.phase or "Initializing", now)
    actions = status_patch(canary, replace(status, last_transition_time=rfc3339(now)))
    if not due:
        return Turn(Plan(() if canary.status.phase else actions))
    event = RecordEvent(canary, "Warning", "Synced", f"deployment {where} not found")
    plan = Plan((event, *(() if canary.status.phase else actions)))
    return Turn(plan, ticked=True)


def _released(canary: Canary) -> tuple[Patch, ...]:
    """Without the finalizer."""
    rest = tuple(f for f in canary.metadata.finalizers if f != FINALIZER)
    return object_patch(
        canary, replace(canary, metadata=replace(canary.metadata, finalizers=rest)),
        conditional=True,
    )  # fmt: skip


def _reverted(draft: Draft) -> None:
    """revertOnDeletion: the target serves again before what the Canary made goes."""
    view, canary = draft.view, draft.view.canary
    if FINALIZER not in canary.metadata.finalizers:
        return
    draft.enter("Terminating")
    primary = view.primary
    wanted = (primary.spec.replicas if primary is not None else None) or 1
    if not view.target.spec.replicas:
        draft.actions += objects.scaled(view, wanted)
        return
    why, hopeful = objects.ready(view, view.target, None)
    if why and hopeful:
        return
    apex = view.snapshot.get(Service, canary.apex, view.space)
    if apex is not None and not owned(canary, apex):
        spec = replace(apex.spec, selector={view.label: view.value})
        draft.actions += object_patch(apex, replace(apex, spec=spec))
    draft.actions += _released(canary)


# ------------------------------------------------------------------ what is there all the time


def _looked(draft: Draft) -> None:
    view, canary = draft.view, draft.view.canary
    kept = FINALIZER in canary.metadata.finalizers
    if canary.spec.revert_on_deletion and not kept:
        names = (*canary.metadata.finalizers, FINALIZER)
        metadata = replace(canary.metadata, finalizers=names)
        draft.actions += object_patch(canary, replace(canary, metadata=metadata), conditional=True)
    elif kept and not canary.spec.revert_on_deletion:
        draft.actions += _released(canary)
    initializing = draft.status.phase in ("", "Initializing")
    if not draft.status.phase:
        draft.enter("Initializing")
    draft.actions += objects.services(view)
    if not _has_primary(draft):
        return
    if initializing:
        _primary_ready(draft)
        if not objects.serves(view, primary_name(canary.apex)):
            return  # its endpoints are on their way
    draft.actions += objects.autoscaler(view, update=False)
    value = primary_name(view.value)
    draft.actions += objects.service(view, canary.apex, value, canary.spec.service.apex)
    shares = routes.read(view)
    draft.actions += routes.written(view, shares)
    if initializing:
        draft.enter(
            "Initialized", last_applied_spec=view.hash, last_promoted_spec=view.hash,
            tracked_configs=objects.configs(view),
        )  # fmt: skip
        draft.event(f"Initialization done! {view.where}")
        draft.alert("New Deployment detected, initialization completed.", "info", details=True)
        return
    if draft.status.phase in ANALYSED:
        if view.due:
            draft.ticked = True
            _stepped(draft, shares)
    elif _changed(view):
        _begun(draft)
    else:
        _rested(draft, shares)


def _has_primary(draft: Draft) -> bool:
    view = draft.view
    found = view.primary
    if found is None:
        made = objects.primary(view)
        draft.actions += objects.copies(view)
        draft.actions.append(Create(made))
        return False
    if not owned(view.canary, found):
        name = found.metadata.name
        raise Halt(f"Deployment {name}.{view.space} is not of this Canary: rename it")
    return True


def _primary_ready(draft: Draft) -> bool:
    """Raises Halt when it may still become ready; False when not even that."""
    view = draft.view
    why, hopeful = objects.ready(view, view.primary, view.analysis.primary_ready_threshold)
    if why and hopeful:
        name = primary_name(view.target.metadata.name)
        raise Halt(f"{name}.{view.space} not ready: {why}")
    return not why


def _rested(draft: Draft, shares: Shares) -> None:
    """Outside of an analysis the target has no pods: they go once no proxy calls them."""
    view = draft.view
    if draft.status.phase == "Failed" and draft.status.last_applied_spec != view.hash:
        draft.set(last_applied_spec=view.hash)  # back to what the primary has
    if view.target.spec.replicas == 0:
        return
    if shares != Shares():
        draft.actions += routes.written(view, Shares())
        draft.wait = LOOK_SECONDS
    elif routes.settled(view):
        draft.actions += objects.scaled(view, 0)
    else:
        draft.wait = LOOK_SECONDS
        if view.due:
            draft.ticked = True
            _say_what_is_late(draft)


def _say_what_is_late(draft: Draft) -> None:
    """An interval is more than proxies need."""
    view = draft.view
    since = seconds(draft.status.last_transition_time)
    if view.now - since >= LATE_SECONDS:
        route = f"route {view.canary.apex}.{view.space}"
        text = f"Halt scaling down {view.of} not every proxy has acknowledged {route}"
        draft.event(text, warning=True)


def _changed(view: View) -> bool:
    """Whether there is a version to try. What the primary has already is none."""
    status = view.canary.status
    if objects.configs(view) != dict(status.tracked_configs):
        return True
    return view.hash not in (status.last_applied_spec, status.last_promoted_spec)


def _begun(draft: Draft) -> None:
    view = draft.view
    draft.set(last_applied_spec=view.hash, tracked_configs=objects.configs(view))
    for index, hook in hooks(draft, "confirm-rollout"):
        if called(draft, index, hook, "Progressing"):
            if draft.status.phase != "Waiting":
                draft.enter("Waiting")
                text = f"Halt {view.where} advancement waiting for approval {hook.name}"
                draft.event(text, warning=True)
                if not hook.mute_alert:
                    draft.alert("Canary is waiting for approval.", "warn")
            draft.ticked = True
            return
        if draft.status.phase == "Waiting":
            draft.event(f"Confirm-rollout check {hook.name} passed")
    draft.event(f"New revision detected! Scaling up {view.of}")
    draft.alert("New revision detected, progressing canary analysis.", "info", details=True)
    draft.actions += objects.scaled_up(view)
    _restarted(draft)
    draft.ticked = True


def _restarted(draft: Draft) -> None:
    """Progressing, from the beginning, with what the target has now."""
    view = draft.view
    draft.enter(
        "Progressing", failed_checks=0, canary_weight=0, iterations=0,
        last_applied_spec=view.hash, tracked_configs=objects.configs(view),
    )  # fmt: skip


# ------------------------------------------------------------------ steps


def _stepped(draft: Draft, shares: Shares) -> None:
    """What an interval brings."""
    view, status = draft.view, draft.status
    skips = view.canary.spec.skip_analysis
    if not skips and not _primary_ready(draft):
        _rolled_back(draft)
        return
    if status.phase == "Waiting":
        _begun(draft)
        return
    if status.phase in JUDGED and _changed(view):
        _route(draft, Shares())
        _restarted(draft)
        draft.event(f"New revision detected! Restarting analysis for {view.of}")
        return
    why, hopeful = objects.ready(view, view.target, view.analysis.canary_ready_threshold)
    if why and not hopeful:
        text = f"Rolling back {view.where} progress deadline exceeded {why}"
        draft.event(text, warning=True)
        draft.alert(f"Progress deadline exceeded {why}", "error")
        _rolled_back(draft)
        return
    if why and status.phase != "Finalising":
        raise Halt(f"canary deployment {view.of} not ready: {why}")
    if skips:
        _skipped(draft)
    elif status.phase in JUDGED and status.failed_checks >= _threshold(view):
        _rolled_back(draft)
    elif status.phase in JUDGED and _asked_back(draft):
        draft.event(f"Rolling back {view.where} manual webhook invoked", warning=True)
        draft.alert("Rolling back manual webhook invoked", "warn")
        _rolled_back(draft)
    elif status.phase == "Promoting":
        _promoting(draft, shares)
    elif status.phase == "Finalising":
        _finished(draft)
    else:
        _judged(draft, shares)


def _threshold(view: View) -> int:
    return max(1, view.analysis.threshold)


def _route(draft: Draft, shares: Shares) -> None:
    draft.actions += routes.written(draft.view, shares)
    draft.set(canary_weight=shares.canary)


def _asked_back(draft: Draft) -> bool:
    for index, hook in hooks(draft, "rollback"):
        if not called(draft, index, hook, draft.status.phase):
            draft.event(f"Rollback check {hook.name} passed", warning=True)
            return True
        draft.event(f"Rollback hook {hook.name} not signaling a rollback")
    return False


def _rolled_back(draft: Draft) -> None:
    view = draft.view
    count = draft.status.failed_checks
    if count >= _threshold(view):
        text = f"Rolling back {view.where} failed checks threshold reached {count}"
        draft.event(text, warning=True)
        draft.alert(f"Failed checks threshold reached {count}", "error")
    _route(draft, Shares())
    draft.event(f"Canary failed! Scaling down {view.where}", warning=True)
    draft.enter("Failed", failed_checks=0, iterations=0)
    _told(draft, "Failed")


def _told(draft: Draft, phase: str) -> None:
    """Nothing waits for the answers."""
    for index, hook in hooks(draft, "post-rollout"):
        draft.later.append(asking(draft, index, hook, phase))


def _skipped(draft: Draft) -> None:
    view = draft.view
    _route(draft, Shares())
    objects.promote(draft)
    draft.enter("Succeeded", iterations=0, last_promoted_spec=draft.status.last_applied_spec)
    draft.event(f"Promotion completed! Canary analysis was skipped for {view.of}")
    draft.alert("Canary analysis was skipped, promotion finished.", "info")


def _finished(draft: Draft) -> None:
    view = draft.view
    promoted = draft.status.last_applied_spec
    draft.enter("Succeeded", canary_weight=0, iterations=0, last_promoted_spec=promoted)
    _told(draft, "Succeeded")
    draft.event(f"Promotion completed! Scaling down {view.of}")
    draft.alert("Canary analysis completed successfully, promotion finished.", "info")


def _promoting(draft: Draft, shares: Shares) -> None:
    """Calls go back to the primary, which is the new version now."""
    view = draft.view
    step = view.analysis.step_weight_promotion or 0
    if routes.provider(view.canary) == KUBERNETES:
        draft.enter("Finalising", canary_weight=0, iterations=0)
        return
    left = max(0, shares.canary - step) if step else 0
    _route(draft, Shares(left))
    if step:
        draft.event(f"Advance {view.where} primary weight {FULL - left}")
    else:
        draft.event("Routing all traffic to primary")
    if not left:
        draft.enter("Finalising", iterations=0)


def _judged(draft: Draft, shares: Shares) -> None:
    view, status = draft.view, draft.status
    if not shares.canary and not status.iterations and not shares.mirrored:
        draft.event(f"Starting canary analysis for {view.of}")
        good = _prepared(draft)
    else:
        good = analysed(draft)
    if not good:
        draft.set(failed_checks=status.failed_checks + 1)
        return
    analysis = view.analysis
    plain = routes.provider(view.canary) == KUBERNETES
    iterations = analysis.iterations or (ITERATIONS_DEFAULT if plain else 0)
    if analysis.match and iterations and not plain:
        _tested(draft, iterations)
    elif iterations:
        _blue_green(draft, shares, iterations, plain=plain)
    else:
        _weighted(draft, shares)


def _prepared(draft: Draft) -> bool:
    view = draft.view
    for index, hook in hooks(draft, "pre-rollout"):
        problem = called(draft, index, hook, "Progressing")
        if problem:
            text = f"Halt {view.where} advancement pre-rollout check {hook.name} failed {problem}"
            draft.event(text, warning=True)
            return False
        draft.event(f"Pre-rollout check {hook.name} passed")
    return True


def _confirmed(draft: Draft) -> bool:
    """Whether nobody objects to the promotion. Said once, when the waiting begins."""
    waits = draft.status.phase == "WaitingPromotion"
    hook = _objecting(draft, "confirm-promotion")
    if hook is not None and not waits:
        draft.enter("WaitingPromotion")
        _say_who_objects(draft, hook, "promotion")
    return hook is None


def _objecting(draft: Draft, kind: HookType) -> CanaryWebhook | None:
    """The first webhook that does not agree; those that do are told."""
    for index, hook in hooks(draft, kind):
        if called(draft, index, hook, "Progressing"):
            return hook
        draft.event(f"{kind.capitalize()} check {hook.name} passed")
    return None


def _say_who_objects(draft: Draft, hook: CanaryWebhook, what: str) -> None:
    text = f"Halt {draft.view.where} advancement waiting for {what} approval {hook.name}"
    draft.event(text, warning=True)
    if not hook.mute_alert:
        draft.alert(f"Canary {what} is waiting for approval.", "warn")


def _promoted(draft: Draft) -> None:
    objects.promote(draft)
    draft.enter("Promoting", iterations=0)


def _iterated(draft: Draft, iterations: int) -> None:
    number = draft.status.iterations + 1
    draft.set(iterations=number)
    draft.event(f"Advance {draft.view.where} canary iteration {number}/{iterations}")


def _tested(draft: Draft, iterations: int) -> None:
    """A/B: what matches goes to the canary, for so many steps."""
    if draft.status.iterations < iterations:
        _serving(draft)
        _route(draft, Shares(FULL))
        _iterated(draft, iterations)
    elif _confirmed(draft):
        _promoted(draft)


def _blue_green(draft: Draft, shares: Shares, iterations: int, *, plain: bool) -> None:
    """Tried without calls, or with copies of them, for so many steps."""
    mirror = draft.view.analysis.mirror and not plain
    if draft.status.iterations < iterations:
        if mirror and not shares.mirrored:
            _serving(draft)
            _route(draft, Shares(0, mirrored=True))
        _iterated(draft, iterations)
    elif not _confirmed(draft):
        return
    elif draft.status.iterations == iterations:
        if not plain:
            head = "Stop traffic mirroring and route" if mirror else "Routing"
            draft.event(f"{head} all traffic to canary")
            _serving(draft)
            _route(draft, Shares(FULL))
        draft.set(iterations=iterations + 1)
    else:
        _promoted(draft)


def _weighted(draft: Draft, shares: Shares) -> None:
    view, analysis = draft.view, draft.view.analysis
    most = _most(view)
    step = _next(view, shares.canary) - shares.canary
    if step <= 0 and shares.canary < most:
        return
    if not shares.mirrored and draft.status.phase == "Progressing" and not _may_increase(draft):
        return
    if shares.canary >= most:
        if _confirmed(draft):
            _promoted(draft)
        return
    _serving(draft)
    if analysis.mirror and not shares.canary and not shares.mirrored:
        _route(draft, Shares(0, mirrored=True))
        draft.event(f"Advance {view.where} canary weight 0")
        return
    weight = min(FULL, shares.canary + step)
    _route(draft, Shares(weight))
    draft.event(f"Advance {view.where} canary weight {weight}")


def _may_increase(draft: Draft) -> bool:
    hook = _objecting(draft, "confirm-traffic-increase")
    if hook is not None:
        _say_who_objects(draft, hook, "traffic increase")
    return hook is None


def _serving(draft: Draft) -> None:
    """No call is sent to nobody: the canary's endpoints are known. Raises Halt."""
    view = draft.view
    name = canary_name(view.canary.apex)
    if not objects.serves(view, name):
        raise Halt(f"Halt {view.where} advancement Service {name} has no ready endpoints yet")


def _most(view: View) -> int:
    analysis = view.analysis
    if analysis.step_weights:
        return min(FULL, analysis.step_weights[-1])
    return analysis.max_weight or FULL


def _next(view: View, weight: int) -> int:
    """The weight of the next step."""
    analysis = view.analysis
    if analysis.step_weight or not analysis.step_weights:
        return weight + (analysis.step_weight or 0)
    return next((w for w in analysis.step_weights if w > weight), FULL)
