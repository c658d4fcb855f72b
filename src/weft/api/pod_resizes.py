"""Pods whose containers are to have other resources than they have."""

from msgspec.structs import replace

from weft.api.conditions import condition
from weft.api.k8s.pod_v1 import Pod, PodSpec

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
INFEASIBLE, DEFERRED = "Infeasible", "Deferred"
"""Reasons of PENDING: the node has no room, ever or for now."""


def counted_spec(pod: Pod) -> PodSpec:
    """The spec by which a pod takes up room on its node: what it asks for and will never get does
    not count, but what it has."""
    if not pod.status.conditions:
        return pod.spec
    found = condition(pod.status.conditions, PENDING)
    if found is None or found.reason != INFEASIBLE:
        return pod.spec
    has = {s.name: s.resources for s in pod.status.container_statuses if s.resources is not None}
    return replace(
        pod.spec,
        containers=tuple(
            replace(c, resources=has.get(c.name, c.resources)) for c in pod.spec.containers
        ),
    )
