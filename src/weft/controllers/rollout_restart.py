"""restartAt: pods that are older than that time are replaced, no more of them at once than may be
missing. Source: Argo Rollouts ("Restarting Rollout Pods")."""

from weft.api.k8s.pod_v1 import Pod
from weft.controllers.rollout_view import Draft
from weft.controllers.support import podstate
from weft.controllers.support.podstate import seconds
from weft.controllers.support.rounding import scaled
from weft.runtime.plan import Delete


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
    for pod in old[: max(0, spare)]:
        found = pod.metadata
        draft.actions.append(Delete(Pod, found.namespace, found.name, found.uid))
