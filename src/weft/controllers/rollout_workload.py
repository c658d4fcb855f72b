"""workloadRef: the Deployment whose template a Rollout took over gives up its own pods."""

from weft.api.k8s.apps_v1 import Deployment
from weft.controllers.rollout_view import Draft
from weft.runtime.plan import Action, Patch

PROGRESSIVELY, ON_SUCCESS = "progressively", "onsuccess"


def plan(draft: Draft) -> list[Action]:
    """Scale the Deployment as its `scaleDown` says, and note which generation was looked at."""
    view = draft.view
    reference = view.rollout.spec.workload_ref
    draft.set(workload_observed_generation="")
    if reference is None or reference.kind != "Deployment":
        return []
    found = view.snapshot.get(Deployment, reference.name, view.rollout.metadata.namespace)
    if found is None:
        return []
    draft.set(workload_observed_generation=str(found.metadata.generation or 0))
    has = 1 if found.spec.replicas is None else found.spec.replicas
    keep = has
    if reference.scale_down == PROGRESSIVELY:
        keep = max(0, view.wanted - view.available(view.new))
    elif reference.scale_down == ON_SUCCESS and view.promoted:
        keep = 0 if view.available(view.new) >= view.wanted else has
    if keep >= has:
        return []
    at = found.metadata
    text = f"Scaled down deployment {at.name} from {has} to {keep}"
    draft.event("ScaleDownWorkload", text)
    return [Patch(Deployment, at.namespace, at.name, {"spec": {"replicas": keep}})]
