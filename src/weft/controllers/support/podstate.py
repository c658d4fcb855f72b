"""Facts about a pod that controllers decide by. Source of the words: k8s.io/kubernetes podutils."""

from weft.api import conditions
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod, PodCondition
from weft.lib.timefmt import parse_rfc3339

FINISHED_PHASES = ("Succeeded", "Failed")


def seconds(text: str) -> float:
    """A timestamp as seconds since the epoch; 0.0 when absent or unreadable."""
    try:
        return parse_rfc3339(text)
    except ValueError:
        return 0.0


def is_terminating(pod: Pod) -> bool:
    """Whether its deletion was asked for."""
    return bool(pod.metadata.deletion_timestamp)


def is_finished(pod: Pod) -> bool:
    """Whether all its containers ended for good."""
    return pod.status.phase in FINISHED_PHASES


def is_active(pod: Pod) -> bool:
    """Whether it counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not is_terminating(pod)


def condition(pod: Pod, kind: str) -> PodCondition | None:
    """Its condition of that type."""
    return conditions.condition(pod.status.conditions, kind)


def is_ready(pod: Pod) -> bool:
    """Whether its Ready condition is True."""
    return conditions.is_true(pod.status.conditions, "Ready")


def ready_since(pod: Pod) -> float:
    """When its Ready condition last changed; 0.0 when it has none."""
    found = condition(pod, "Ready")
    return seconds(found.last_transition_time) if found else 0.0


def available_in(pod: Pod, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until it is available; 0.0 when it is, None while it is not ready."""
    if not is_ready(pod):
        return None
    if min_ready_seconds <= 0:
        return 0.0
    since = ready_since(pod)
    return max(0.0, since + min_ready_seconds - now) if since else float(min_ready_seconds)


def is_available(pod: Pod, min_ready_seconds: int, now: float) -> bool:
    """Whether it has been ready for at least `min_ready_seconds`."""
    return available_in(pod, min_ready_seconds, now) == 0.0


def restarts(pod: Pod) -> int:
    """The most restarts of any of its containers."""
    return max((s.restart_count or 0 for s in pod.status.container_statuses), default=0)


def from_template(
    template: PodTemplateSpec, namespace: str, prefix: str, owner: OwnerReference
) -> Pod:
    """A pod of the template; the API server completes its name from `prefix`."""
    return Pod(
        api_version="v1",
        kind="Pod",
        metadata=ObjectMeta(
            namespace=namespace,
            generate_name=prefix,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=(owner,),
        ),
        spec=template.spec,
    )
