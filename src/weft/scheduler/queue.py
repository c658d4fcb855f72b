"""Which pods wait for a node, and in which order they are placed."""

from collections.abc import Iterable

from weft.api.k8s.pod_v1 import Pod
from weft.scheduler.profiles import DEFAULT, NAME_DEFAULT, Profiles

FINISHED_PHASES = ("Succeeded", "Failed")


def is_waiting(pod: Pod, profiles: Profiles = DEFAULT) -> bool:
    """Whether this scheduler has to find a node for the pod."""
    return (
        not pod.spec.node_name
        and (pod.spec.scheduler_name or NAME_DEFAULT) in profiles
        and not pod.metadata.deletion_timestamp
        and pod.status.phase not in FINISHED_PHASES
    )


def is_strange(pod: Pod, profiles: Profiles = DEFAULT) -> bool:
    """Whether it names a scheduler that is not one of these, and nobody has said anything yet: one
    of somebody else may look after it."""
    return (
        not pod.spec.node_name
        and (pod.spec.scheduler_name or NAME_DEFAULT) not in profiles
        and not pod.metadata.deletion_timestamp
        and not any(c.type == "PodScheduled" for c in pod.status.conditions)
    )


def in_order(pods: Iterable[Pod]) -> list[Pod]:
    """Highest priority first, then oldest (Kubernetes' PrioritySort)."""
    return sorted(pods, key=_rank)


def _rank(pod: Pod) -> tuple[int, str, str, str]:
    found = pod.metadata
    return -(pod.spec.priority or 0), found.creation_timestamp, found.namespace, found.name
