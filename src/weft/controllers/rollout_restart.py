"""restartAt: pods that are older than that time are replaced, no more of them at once than may be
missing, and no more than PodDisruptionBudgets allow.

Source: Argo Rollouts ("Restarting Rollout Pods")."""

from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.api.selectors import matches_selector
from weft.api.snapshot import Snapshot
from weft.controllers.rollout_view import Draft
from weft.controllers.support import podstate
from weft.controllers.support.podstate import seconds
from weft.controllers.support.rounding import scaled
from weft.runtime.plan import Delete

BUDGET_RETRY_SECONDS = 5.0
"""After how long pods that a PodDisruptionBudget keeps are tried again."""


def plan(draft: Draft) -> None:
    """Delete some of the old pods, or note that all are replaced."""
    view = draft.view
    at = view.rollout.spec.restart_at
    if not at or seconds(at) <= seconds(view.rollout.status.restarted_at):
        return
    if not draft.wait(seconds(at)):
        return
    least = view.rollout.spec.min_ready_seconds or 0
    pods = [p for r in view.all for p in view.snapshot.owned(Pod, r.metadata.uid)]
    active = [p for p in pods if podstate.is_active(p)]
    old = [p for p in active if seconds(p.metadata.creation_timestamp) < seconds(at)]
    if not old:
        if all(podstate.is_available(p, least, view.now) for p in active):
            draft.set(restarted_at=at)
        return
    strategy = view.canary or view.blue_green
    wish = strategy.max_unavailable if strategy is not None else None
    gone = max(1, scaled(wish, view.wanted, "25%", up=False))
    spare = sum(view.available_pods.values()) - (view.wanted - gone)
    budgets = view.snapshot.list(PodDisruptionBudget, view.rollout.metadata.namespace)
    left = {b.metadata.name: _allowed(view.snapshot, b) for b in budgets}
    for pod in old[: max(0, spare)]:
        found = pod.metadata
        mine = [b.metadata.name for b in budgets if matches_selector(b.spec.selector, found.labels)]
        if podstate.is_ready(pod) and any(left[name] <= 0 for name in mine):
            draft.waits.append(BUDGET_RETRY_SECONDS)
            continue
        for name in mine:
            left[name] -= 1
        draft.actions.append(Delete(Pod, found.namespace, found.name, found.uid))


def _allowed(snapshot: Snapshot, budget: PodDisruptionBudget) -> int:
    """How many more may go: what its status says, or less where pods went since it was written."""
    pods = snapshot.list(Pod, budget.metadata.namespace)
    mine = [p for p in pods if matches_selector(budget.spec.selector, p.metadata.labels)]
    healthy = sum(podstate.is_active(p) and podstate.is_ready(p) for p in mine)
    told = budget.status.disruptions_allowed or 0
    return min(told, healthy - (budget.status.desired_healthy or 0))
