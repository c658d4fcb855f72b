"""Which nodes a pod's claims leave, and which claims wait for the choice of a node. Pure.

Source of the rules and words: Kubernetes' VolumeBinding and VolumeRestrictions plugins.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.api import persistent_volumes as pv
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.storage_v1 import StorageClass
from weft.api.snapshot import Snapshot
from weft.lib.quantity import parse_quantity

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
OTHER_NODE = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
TAKEN = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)


class Needs(Struct, frozen=True):
    """What the claims of one pod ask of its node."""

    problem: str = ""
    """Why no node will do for now."""
    refused: Mapping[str, str] = {}
    """Node -> why not."""
    choose: tuple[PersistentVolumeClaim, ...] = ()
    """Claims that are told the node once it is chosen, and bound after that."""


NOTHING = Needs()


def needs(snapshot: Snapshot, pod: Pod, nodes: Mapping[str, Node]) -> Needs:
    """All claims together."""
    names = tuple(pv.claim_names(pod)) if pod.spec.volumes else ()
    refused: dict[str, str] = {}
    choose: list[PersistentVolumeClaim] = []
    for name in names:
        claim = snapshot.get(PersistentVolumeClaim, name, pod.metadata.namespace)
        if claim is None:
            return Needs(f'persistentvolumeclaim "{name}" not found')
        if claim.metadata.deletion_timestamp:
            return Needs(f'persistentvolumeclaim "{name}" is being deleted')
        if claim.status.phase == "Lost":
            return Needs(f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume')
        if _taken(snapshot, claim, pod):
            return Needs(TAKEN)
        if pv.is_bound(claim):
            refused |= _out_of_reach(snapshot, claim, nodes)
            continue
        storage_class = snapshot.get(StorageClass, claim.spec.storage_class_name)
        if claim.spec.volume_name or not pv.waits_for_consumer(storage_class):
            return Needs(UNBOUND)
        choose.append(claim)
        refused |= _without_volume(snapshot, claim, storage_class, nodes)
    return Needs("", refused, tuple(choose)) if names else NOTHING


def _taken(snapshot: Snapshot, claim: PersistentVolumeClaim, pod: Pod) -> bool:
    if "ReadWriteOncePod" not in claim.spec.access_modes:
        return False
    pods = snapshot.list(Pod, claim.metadata.namespace)
    return any(p.metadata.uid != pod.metadata.uid for p in pv.users(claim, pods))


def _out_of_reach(
    snapshot: Snapshot, claim: PersistentVolumeClaim, nodes: Mapping[str, Node]
) -> Mapping[str, str]:
    volume = snapshot.get(PersistentVolume, claim.spec.volume_name)
    if volume is None or volume.spec.node_affinity is None:
        return {}
    return {n: OTHER_NODE for n, node in nodes.items() if not pv.reaches(volume, node)}


def _without_volume(
    snapshot: Snapshot,
    claim: PersistentVolumeClaim,
    storage_class: StorageClass | None,
    nodes: Mapping[str, Node],
) -> Mapping[str, str]:
    """Nodes where neither a free volume suits nor one can be made. A node that was chosen before
    and is still there stays the choice."""
    chosen = claim.metadata.annotations.get(pv.ANNOTATION_SELECTED_NODE, "")
    if chosen in nodes:
        return {n: NO_VOLUME for n in nodes if n != chosen}
    if storage_class is not None and storage_class.provisioner == pv.PROVISIONER:
        return {}
    free = [v for v in snapshot.list(PersistentVolume) if _may_suit(v, claim)]
    return {n: NO_VOLUME for n, node in nodes.items() if not _any_reaches(free, node)}


def _any_reaches(volumes: Iterable[PersistentVolume], node: Node) -> bool:
    return any(pv.reaches(v, node) for v in volumes)


def _may_suit(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    spec, resources = volume.spec, claim.spec.resources
    wanted = resources.requests.get("storage", 0) if resources is not None else 0
    try:
        large = parse_quantity(spec.capacity.get("storage", 0)) >= parse_quantity(wanted)
    except ValueError:
        return False
    return (
        large
        and spec.claim_ref is None
        and spec.storage_class_name == claim.spec.storage_class_name
        and set(claim.spec.access_modes) <= set(spec.access_modes)
    )
