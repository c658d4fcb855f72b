"""The pods of a StatefulSet and their claims: names, identity, volumes.

Source of the names and labels: Kubernetes' stateful_set_utils.go.
"""

import re
from collections.abc import Iterable

from msgspec.structs import replace

from weft.api.k8s.apps_v1 import StatefulSet
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.volume_v1 import PersistentVolumeClaimVolumeSource, Volume
from weft.controllers.support import podstate
from weft.controllers.support.history import LABEL_HASH
from weft.controllers.support.ownership import owner_reference

LABEL_POD_NAME = "statefulset.kubernetes.io/pod-name"
LABEL_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"^(.*)-(\d+)$")
_STUCK = frozenset({
    "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "ErrImageNeverPull",
})  # fmt: skip


def ordinal(stateful_set: StatefulSet, pod: Pod) -> int:
    """The number in the pod's name; -1 when the name is none of the set's."""
    found = _NAME.match(pod.metadata.name)
    if found is None or found[1] != stateful_set.metadata.name:
        return -1
    return int(found[2])


def belongs(stateful_set: StatefulSet, pod: Pod) -> bool:
    return ordinal(stateful_set, pod) >= 0


def first(stateful_set: StatefulSet) -> int:
    """The lowest ordinal."""
    ordinals = stateful_set.spec.ordinals
    return (ordinals.start or 0) if ordinals else 0


def count(stateful_set: StatefulSet) -> int:
    """Replicas wanted."""
    return 1 if stateful_set.spec.replicas is None else stateful_set.spec.replicas


def revision_of(pod: Pod) -> str:
    """Name of the ControllerRevision the pod was made from."""
    return pod.metadata.labels.get(LABEL_HASH, "")


def is_stuck(pod: Pod) -> bool:
    """Whether it will not become ready by waiting: a container cannot start or crashes again and
    again, or no node takes the pod."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    waiting = (s.state.waiting.reason for s in statuses if s.state and s.state.waiting)
    placed = podstate.condition(pod, "PodScheduled")
    unplaced = placed is not None and placed.reason == "Unschedulable"
    return unplaced or any(reason in _STUCK for reason in waiting)


def is_healthy(pod: Pod) -> bool:
    """Running, ready, and not on its way out."""
    return (
        pod.status.phase == "Running"
        and podstate.is_ready(pod)
        and not podstate.is_terminating(pod)
    )


def made(stateful_set: StatefulSet, template: PodTemplateSpec, revision: str, number: int) -> Pod:
    """The pod of an ordinal, from the template of a revision."""
    name = f"{stateful_set.metadata.name}-{number}"
    own = {LABEL_POD_NAME: name, LABEL_INDEX: str(number), LABEL_HASH: revision}
    claims = tuple(
        Volume(
            name=c.metadata.name,
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(
                claim_name=claim_name(stateful_set, c, number)
            ),
        )
        for c in stateful_set.spec.volume_claim_templates
    )
    names = {v.name for v in claims}
    spec = replace(
        template.spec,
        hostname=name,
        subdomain=stateful_set.spec.service_name,
        volumes=(*(v for v in template.spec.volumes if v.name not in names), *claims),
    )
    return Pod(
        api_version="v1",
        kind="Pod",
        metadata=ObjectMeta(
            name=name,
            namespace=stateful_set.metadata.namespace,
            labels=dict(template.metadata.labels) | own,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=(owner_reference(stateful_set),),
        ),
        spec=spec,
    )


# --- claims


def claim_name(stateful_set: StatefulSet, template: PersistentVolumeClaim, number: int) -> str:
    return f"{template.metadata.name}-{stateful_set.metadata.name}-{number}"


def claim(
    stateful_set: StatefulSet, template: PersistentVolumeClaim, number: int
) -> PersistentVolumeClaim:
    """The claim of an ordinal."""
    selector = stateful_set.spec.selector
    labels = dict(template.metadata.labels) | dict(selector.match_labels if selector else {})
    metadata = ObjectMeta(
        name=claim_name(stateful_set, template, number),
        namespace=stateful_set.metadata.namespace,
        labels=labels,
        annotations=template.metadata.annotations,
        owner_references=claim_owners(stateful_set, None),
    )
    return PersistentVolumeClaim(
        api_version="v1", kind="PersistentVolumeClaim", metadata=metadata, spec=template.spec
    )


def claim_owners(stateful_set: StatefulSet, condemned: Pod | None) -> tuple[OwnerReference, ...]:
    """Who takes a claim along when it goes: the set (whenDeleted: Delete), or the pod that is
    scaled away (whenScaled: Delete), or nobody."""
    policy = stateful_set.spec.persistent_volume_claim_retention_policy
    if policy is None:
        return ()
    if condemned is not None and policy.when_scaled == "Delete":
        return (owner_reference(condemned),)
    return (owner_reference(stateful_set),) if policy.when_deleted == "Delete" else ()


def is_leaving(claim: PersistentVolumeClaim, pods: Iterable[Pod]) -> bool:
    """Whether the claim is about to vanish: deleted, or owned by a pod that is gone."""
    if claim.metadata.deletion_timestamp:
        return True
    uids = {p.metadata.uid for p in pods}
    return any(o.kind == "Pod" and o.uid not in uids for o in claim.metadata.owner_references)
