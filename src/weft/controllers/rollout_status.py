"""The status of a Rollout: counts, conditions, the phase in one word and why.

Source of the words: Argo Rollouts' conditions and phases; its command reads them.
"""

import hashlib

import msgspec
from msgspec.structs import replace

from weft.api import conditions as found_conditions
from weft.api.argo.common import POD_HASH, Condition
from weft.api.argo.rollout import Rollout, RolloutStatus
from weft.api.selectors import format_selector
from weft.controllers.rollout_view import Draft, next_revision_of, size
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339

DEADLINE_SECONDS_DEFAULT = 600
TIMED_OUT = "ProgressDeadlineExceeded"
ABORTED = "RolloutAborted"
PAUSED = "RolloutPaused"
AVAILABLE = "NewReplicaSetAvailable"
UPDATED = "ReplicaSetUpdated"


def steps_hash(rollout: Rollout) -> str:
    """Tells whether the steps changed."""
    canary = rollout.spec.strategy.canary
    text = msgspec.json.encode(canary.steps if canary is not None else (), order="sorted")
    return hashlib.blake2b(text, digest_size=5).hexdigest()


def counted(draft: Draft) -> None:
    """Pods as they are now, and what an autoscaler is to count."""
    view = draft.view
    total = sum(view.pods.values())
    available = sum(view.available_pods.values())
    new = view.new.metadata.name if view.new is not None else ""
    selector = format_selector(view.selector)
    scaled = total
    ready = sum(r.status.ready_replicas or 0 for r in view.all)
    if view.blue_green is not None and draft.status.blue_green.active_selector:
        # What is beside the active version serves nobody yet, or no more.
        active = view.find(draft.status.blue_green.active_selector)
        name = active.metadata.name if active is not None else ""
        selector += f",{POD_HASH}={draft.status.blue_green.active_selector}"
        scaled, available = view.pods.get(name, 0), view.available_pods.get(name, 0)
        ready = active.status.ready_replicas or 0 if active is not None else 0
    if view.canary is not None and view.canary.traffic_routing is not None:
        # Pods of both versions would look to an autoscaler as if it had scaled up.
        kept = view.find(draft.status.stable_rs)
        scaled = view.pods.get(kept.metadata.name, 0) if kept is not None else total
    draft.set(
        replicas=total,
        updated_replicas=view.pods.get(new, 0),
        ready_replicas=ready,
        available_replicas=available,
        hpa_replicas=scaled,
        selector=selector,
        observed_generation=str(view.rollout.metadata.generation or 0),
    )


def put(
    status: RolloutStatus,
    type_: str,
    value: bool,
    because: tuple[str, str],
    now: float,
    *,
    renew: bool = False,
) -> RolloutStatus:
    """The status with a condition, with its reason and text; `renew`: written anew though it says
    the same."""
    old = next((c for c in status.conditions if c.type == type_), None)
    word, stamp = "True" if value else "False", rfc3339(now)
    same = old is not None and (old.status, old.reason, old.message) == (word, *because)
    if same and not renew:
        return status
    since = old.last_transition_time if old is not None and old.status == word else stamp
    made = Condition(type_, word, stamp, since, *because)
    rest = [c for c in status.conditions if c.type != type_]
    return replace(status, conditions=tuple(sorted((*rest, made), key=lambda c: c.type)))


def concluded(draft: Draft, message: str) -> None:
    """Conditions and phase. `message`: why it was aborted, when it just was."""
    view, now = draft.view, draft.view.now
    before = view.rollout.status
    healthy = _is_complete(draft)
    enough = _has_minimum(draft)
    done = draft.status.stable_rs == view.hash
    waits = view.rollout.spec.paused or bool(draft.status.pause_conditions)
    has = "has" if enough else "does not have"
    told = [
        ("Available", enough, ("AvailableReason", f"Rollout {has} minimum availability")),
        ("Completed", done, ("RolloutCompleted", f"Rollout is{'' if done else ' not'} completed")),
        ("Healthy", healthy, ("RolloutHealthy", f"Rollout is{'' if healthy else ' not'} healthy")),
        ("Paused", waits, (PAUSED, f"Rollout is{'' if waits else ' not'} paused")),
    ]
    status = draft.status
    for type_, value, because in told:
        status = put(status, type_, value, because, now)
    if draft.invalid:
        status = put(status, "InvalidSpec", True, ("InvalidSpec", draft.invalid), now)
    else:
        kept = tuple(c for c in status.conditions if c.type != "InvalidSpec")
        status = replace(status, conditions=kept)
    draft.status = status
    _progress(draft, before, healthy, waits, message)
    phase, why = _phase(draft)
    draft.set(phase=phase, message=why)


def _is_complete(draft: Draft) -> bool:
    view, status = draft.view, draft.status
    return (
        status.stable_rs == view.hash
        and view.new is not None
        and view.available(view.new) >= view.wanted
        and size(view.new) == view.wanted
        and not draft.invalid
    )


def _has_minimum(draft: Draft) -> bool:
    view = draft.view
    if view.blue_green is not None:
        active = view.find(draft.status.blue_green.active_selector)
        return view.available(active) >= view.wanted
    return sum(view.available_pods.values()) >= view.wanted


def _progress(
    draft: Draft, before: RolloutStatus, healthy: bool, waits: bool, message: str
) -> None:
    view, now = draft.view, draft.view.now
    name = f'ReplicaSet "{view.new.metadata.name}"' if view.new is not None else "Rollout"
    old = found_conditions.condition(before.conditions, "Progressing")
    status = draft.status
    if status.abort:
        text = message or (old.message if old is not None and old.reason == ABORTED else "")
        text = text or f"Rollout aborted update to revision {next_revision_of(view)}"
        draft.status = put(status, "Progressing", False, (ABORTED, text), now)
        return
    if healthy:
        text = f"{name} has successfully progressed."
        draft.status = put(status, "Progressing", True, (AVAILABLE, text), now)
        return
    if waits:
        text = "Rollout is paused"
        draft.status = put(status, "Progressing", True, (PAUSED, text), now)
        return
    moved = _moved(before, status)
    if moved or old is None or old.reason in (PAUSED, ABORTED, AVAILABLE):
        text = f"{name} is progressing."
        draft.status = put(status, "Progressing", True, (UPDATED, text), now, renew=True)
        old = found_conditions.condition(draft.status.conditions, "Progressing")
    limit = view.rollout.spec.progress_deadline_seconds
    limit = DEADLINE_SECONDS_DEFAULT if limit is None else limit
    if old is None or old.reason == TIMED_OUT or not limit:
        return
    if draft.wait(seconds(old.last_update_time) + limit):
        text = f"{name} has timed out progressing."
        draft.status = put(draft.status, "Progressing", False, (TIMED_OUT, text), now)
        draft.event(TIMED_OUT, text, warning=True)


def _moved(before: RolloutStatus, after: RolloutStatus) -> bool:
    def mark(status: RolloutStatus) -> tuple[object, ...]:
        return (
            status.current_pod_hash, status.current_step_index, status.stable_rs,
            status.canary.weights, status.blue_green.active_selector,
        )  # fmt: skip

    outdated = before.replicas - before.updated_replicas
    return (
        mark(before) != mark(after)
        or after.updated_replicas > before.updated_replicas
        or after.available_replicas > before.available_replicas
        or after.replicas - after.updated_replicas < outdated
    )


def timed_out(status: RolloutStatus) -> bool:
    found = found_conditions.condition(status.conditions, "Progressing")
    return found is not None and found.reason == TIMED_OUT and found.status == "False"


def _phase(draft: Draft) -> tuple[str, str]:
    view, status = draft.view, draft.status
    progress = found_conditions.condition(status.conditions, "Progressing")
    text = progress.message if progress is not None else ""
    if draft.invalid:
        return "Degraded", f"InvalidSpec: {draft.invalid}"
    if status.abort:
        return "Degraded", f"{ABORTED}: {text}"
    if timed_out(status):
        return "Degraded", f"{TIMED_OUT}: {text}"
    if view.rollout.spec.paused:
        return "Paused", "manually paused"
    if status.pause_conditions:
        return "Paused", status.pause_conditions[0].reason
    waiting = _waiting(draft)
    return ("Progressing", waiting) if waiting else ("Healthy", "")


def _waiting(draft: Draft) -> str:
    """What is not as it shall be; "" when all is."""
    view, status = draft.view, draft.status
    updated = status.updated_replicas
    if view.new is None or (updated < view.wanted and _is_last(draft)):
        return "more replicas need to be updated"
    if view.available(view.new) < updated:
        return "updated replicas are still becoming available"
    if view.blue_green is not None:
        if status.blue_green.active_selector != view.hash:
            return "active service cutover pending"
        if status.stable_rs != view.hash:
            return "waiting for analysis to complete"
        return ""
    if status.stable_rs != view.hash:
        return "waiting for all steps to complete"
    canary = view.canary
    if canary is not None and canary.traffic_routing is None and status.replicas > updated:
        return "old replicas are pending termination"
    return ""


def _is_last(draft: Draft) -> bool:
    """Whether all pods shall be of the new version now."""
    view, status = draft.view, draft.status
    steps = view.canary.steps if view.canary is not None else ()
    index = status.current_step_index
    return view.promoted or view.initial or index is None or index >= len(steps)
