"""Which volume suits a claim, and the volume that is made for it.

Source of the rules: Kubernetes' persistent volume controller (index.go, findMatchingVolume).
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from weft.api import persistent_volumes as pv
from weft.api.k8s.core_v1 import Node, ObjectReference
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.persistent_volume_v1 import (
    LocalVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from weft.api.k8s.pod_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from weft.api.k8s.storage_v1 import StorageClass
from weft.api.selectors import matches_selector
from weft.api.wellknown import ANNOTATION_NODE_VOLUMES, LABEL_HOSTNAME
from weft.lib.quantity import parse_quantity

STORAGE = "storage"
VOLUMES_DIRECTORY_DEFAULT = "/var/lib/weft/volumes"
"""For nodes that do not say where they keep volumes."""


def bytes_of(text: str | int | float | None) -> Decimal:
    """A size; 0 when it cannot be read."""
    try:
        return Decimal(parse_quantity(text)) if text is not None else Decimal(0)
    except ValueError:
        return Decimal(0)


def asked(claim: PersistentVolumeClaim) -> str | int | float:
    """The size that a claim asks for."""
    resources = claim.spec.resources
    return resources.requests.get(STORAGE, 0) if resources is not None else 0


def is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume names this claim as the one it is for."""
    reference = volume.spec.claim_ref
    return (
        reference is not None
        and (reference.namespace, reference.name) == (claim.metadata.namespace, claim.metadata.name)
        and reference.uid in ("", claim.metadata.uid)
    )


def find(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume], node: Node | None
) -> PersistentVolume | None:
    """The volume that names the claim, else the smallest free one that suits it. `node`: where it
    must be usable."""
    suitable = [v for v in volumes if _suits(v, claim, node)]
    named = next((v for v in suitable if is_for(v, claim)), None)
    if named is not None:
        return named
    free = [v for v in suitable if v.spec.claim_ref is None and _is_chosen(v, claim)]
    return min(free, key=_size, default=None)


def _suits(volume: PersistentVolume, claim: PersistentVolumeClaim, node: Node | None) -> bool:
    spec = volume.spec
    return (
        not volume.metadata.deletion_timestamp
        and (spec.claim_ref is None or is_for(volume, claim))
        and spec.storage_class_name == claim.spec.storage_class_name
        and (spec.volume_mode or "Filesystem") == (claim.spec.volume_mode or "Filesystem")
        and set(claim.spec.access_modes) <= set(spec.access_modes)
        and bytes_of(spec.capacity.get(STORAGE)) >= bytes_of(asked(claim))
        and (node is None or pv.reaches(volume, node))
    )


def _is_chosen(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    selector = claim.spec.selector
    return selector is None or matches_selector(selector, volume.metadata.labels)


def _size(volume: PersistentVolume) -> tuple[Decimal, str]:
    return bytes_of(volume.spec.capacity.get(STORAGE)), volume.metadata.name


def reference(claim: PersistentVolumeClaim) -> ObjectReference:
    """How a volume names its claim."""
    found = claim.metadata
    return ObjectReference(
        api_version="v1", kind="PersistentVolumeClaim", namespace=found.namespace,
        name=found.name, uid=found.uid,
    )  # fmt: skip


def made(claim: PersistentVolumeClaim, storage_class: StorageClass, node: Node) -> PersistentVolume:
    """A directory on the node, for this claim. The node makes it when a pod needs it."""
    name = f"pvc-{claim.metadata.uid}"
    base = storage_class.parameters.get("path") or node.metadata.annotations.get(
        ANNOTATION_NODE_VOLUMES, VOLUMES_DIRECTORY_DEFAULT
    )
    hostname = node.metadata.labels.get(LABEL_HOSTNAME, node.metadata.name)
    need = NodeSelectorRequirement(key=LABEL_HOSTNAME, operator="In", values=(hostname,))
    selector = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(need,)),))
    return PersistentVolume(
        api_version="v1",
        kind="PersistentVolume",
        metadata=ObjectMeta(
            name=name,
            annotations={pv.ANNOTATION_PROVISIONED_BY: pv.PROVISIONER},
            finalizers=(pv.FINALIZER_VOLUME, pv.FINALIZER_DIRECTORY),
        ),
        spec=PersistentVolumeSpec(
            access_modes=claim.spec.access_modes,
            capacity={STORAGE: asked(claim)},
            claim_ref=reference(claim),
            local=LocalVolumeSource(path=f"{base.rstrip('/')}/{name}"),
            node_affinity=VolumeNodeAffinity(required=selector),
            persistent_volume_reclaim_policy=storage_class.reclaim_policy or "Delete",
            storage_class_name=storage_class.metadata.name,
            volume_mode=claim.spec.volume_mode or "Filesystem",
        ),
    )


def emptiest(nodes: Sequence[Node], volumes: Sequence[PersistentVolume]) -> Node | None:
    """The ready node that has fewest volumes: where a claim goes that waits for no pod."""

    def load(node: Node) -> tuple[int, str]:
        return sum(pv.reaches(v, node) for v in volumes), node.metadata.name

    ready = [
        n
        for n in nodes
        if not n.spec.unschedulable
        and any(c.type == "Ready" and c.status == "True" for c in n.status.conditions)
    ]
    return min(ready, key=load, default=None)
