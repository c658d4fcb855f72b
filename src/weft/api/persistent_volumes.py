"""Persistent volumes, claims and the pods that use them: facts that several parts decide by. Pure.

Source of the names: Kubernetes' component-helpers storage/volume.
"""

from collections.abc import Iterable, Iterator

from weft.api import node_selectors
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.storage_v1 import StorageClass

PROVISIONER = "weft.dev/local"
"""Of storage classes whose volumes are directories on the node that needs them."""
CLASS_NAME = "local"
WAIT_FOR_CONSUMER = "WaitForFirstConsumer"
ANNOTATION_SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""On a claim: where the scheduler wants its volume."""
ANNOTATION_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
ANNOTATION_BOUND = "pv.kubernetes.io/bind-completed"
ANNOTATION_BOUND_BY_US = "pv.kubernetes.io/bound-by-controller"
ANNOTATION_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
FINALIZER_CLAIM = "kubernetes.io/pvc-protection"
FINALIZER_VOLUME = "kubernetes.io/pv-protection"
FINALIZER_DIRECTORY = "weft.dev/local-volume"
"""On volumes of ours: taken off by the node once the directory is gone, or is to stay."""


def claim_names(pod: Pod) -> Iterator[str]:
    """The claims that the pod's volumes name, its own of ephemeral volumes among them."""
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield volume.persistent_volume_claim.claim_name
        elif volume.ephemeral is not None:
            yield ephemeral_name(pod, volume.name)


def ephemeral_name(pod: Pod, volume: str) -> str:
    """The claim of a generic ephemeral volume."""
    return f"{pod.metadata.name}-{volume}"


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether it has its volume, on both sides."""
    return bool(claim.spec.volume_name) and claim.status.phase == "Bound"


def waits_for_consumer(storage_class: StorageClass | None) -> bool:
    return storage_class is not None and storage_class.volume_binding_mode == WAIT_FOR_CONSUMER


def is_ours(volume: PersistentVolume) -> bool:
    """Whether its directory was made, and will be removed, by weft."""
    return volume.metadata.annotations.get(ANNOTATION_PROVISIONED_BY) == PROVISIONER


def reaches(volume: PersistentVolume, node: Node) -> bool:
    """Whether the volume can be used on the node."""
    affinity = volume.spec.node_affinity
    needed = affinity.required if affinity is not None else None
    return needed is None or node_selectors.matches(needed, node)


def users(claim: PersistentVolumeClaim, pods: Iterable[Pod]) -> Iterator[Pod]:
    """Pods on nodes that have the claim in use; those that ended do not."""
    for pod in pods:
        if (
            pod.spec.node_name
            and pod.status.phase not in ("Succeeded", "Failed")
            and claim.metadata.name in claim_names(pod)
        ):
            yield pod
