"""PersistentVolumeClaims: bound to a volume that is there or made for them, resized, protected
while pods use them.

Source of the rules and words: Kubernetes' persistent volume controller and PVC protection.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.api import persistent_volumes as pv
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.persistent_volume_v1 import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
)
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.storage_v1 import StorageClass
from weft.api.snapshot import Snapshot
from weft.controllers import volume_matching as matching
from weft.controllers.support.patches import object_patch, status_patch
from weft.controllers.volume_matching import STORAGE, asked, bytes_of
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Key, Plan, RecordEvent

NO_PROVISIONER = "kubernetes.io/no-provisioner"


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The next step towards a bound claim; or towards its end."""
    claim = snapshot.get(PersistentVolumeClaim, key.name, key.namespace)
    if claim is None:
        return NOTHING
    if claim.metadata.deletion_timestamp:
        return Plan(tuple(_unprotect(snapshot, claim)))
    if claim.spec.volume_name:
        return Plan(tuple(_bound(snapshot, claim)))
    return Plan(tuple(_find(snapshot, claim)))


def _unprotect(snapshot: Snapshot, claim: PersistentVolumeClaim) -> Iterator[Action]:
    """A claim that is to go stays while a pod on a node uses it."""
    if pv.FINALIZER_CLAIM not in claim.metadata.finalizers:
        return
    pods = snapshot.list(Pod, claim.metadata.namespace)
    if next(pv.users(claim, pods), None) is None:
        rest = tuple(f for f in claim.metadata.finalizers if f != pv.FINALIZER_CLAIM)
        metadata = replace(claim.metadata, finalizers=rest)
        yield from object_patch(claim, replace(claim, metadata=metadata), conditional=True)


def _bound(snapshot: Snapshot, claim: PersistentVolumeClaim) -> Iterator[Action]:
    """A claim that names its volume: complete the binding, tell its size."""
    volume = snapshot.get(PersistentVolume, claim.spec.volume_name)
    status = claim.status
    if volume is None:
        if status.phase == "Bound":
            text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            yield RecordEvent(claim, "Warning", "ClaimLost", text)
            yield from status_patch(claim, replace(status, phase="Lost"))
        return
    reference = volume.spec.claim_ref
    if reference is None:
        yield from _take(volume, claim)
        return
    if not matching.is_for(volume, claim):
        text = f'volume "{volume.metadata.name}" already bound to a different claim.'
        yield RecordEvent(claim, "Warning", "FailedBinding", text)
        return
    if not reference.uid:
        yield from _take(volume, claim)
    yield from _resized(snapshot, claim, volume)


def _resized(
    snapshot: Snapshot, claim: PersistentVolumeClaim, volume: PersistentVolume
) -> Iterator[Action]:
    """Directories have no size of their own, so growing is a matter of numbers."""
    wanted, has = asked(claim), volume.spec.capacity.get(STORAGE, 0)
    grows = bytes_of(wanted) > bytes_of(has)
    if grows and pv.is_ours(volume):
        capacity = dict(volume.spec.capacity) | {STORAGE: wanted}
        yield from object_patch(
            volume, replace(volume, spec=replace(volume.spec, capacity=capacity))
        )
        if claim.status.phase == "Bound":
            text = "MountVolume.NodeExpandVolume succeeded: the directory has no size of its own"
            yield RecordEvent(claim, "Normal", "FileSystemResizeSuccessful", text)
        has = wanted
    status = PersistentVolumeClaimStatus(
        phase="Bound",
        access_modes=volume.spec.access_modes,
        capacity={**volume.spec.capacity, STORAGE: has},
        conditions=claim.status.conditions,
    )
    yield from status_patch(claim, status)


def _find(snapshot: Snapshot, claim: PersistentVolumeClaim) -> Iterator[Action]:
    name = claim.spec.storage_class_name
    storage_class = snapshot.get(StorageClass, name) if name else None
    volumes = snapshot.list(PersistentVolume)
    selected = claim.metadata.annotations.get(pv.ANNOTATION_SELECTED_NODE, "")
    node = snapshot.get(Node, selected) if selected else None
    named = next((v for v in volumes if matching.is_for(v, claim)), None)
    if named is None and pv.waits_for_consumer(storage_class) and node is None:
        text = "waiting for first consumer to be created before binding"
        yield RecordEvent(claim, "Normal", "WaitForFirstConsumer", text)
        return
    volume = matching.find(claim, volumes, node)
    if volume is not None:
        yield from _take(volume, claim)
        yield from _name_volume(claim, volume)
        return
    if storage_class is not None and storage_class.provisioner == pv.PROVISIONER:
        yield from _provision(snapshot, claim, storage_class, node)
        return
    provisioner = storage_class.provisioner if storage_class else ""
    if provisioner in ("", NO_PROVISIONER):
        text = "no persistent volumes available for this claim and no storage class is set"
        if name:
            known = f'storageclass.storage.k8s.io "{name}" not found'
            text = known if storage_class is None else "no persistent volume suits this claim"
        yield RecordEvent(claim, "Normal", "FailedBinding", text)
    else:
        text = (
            f"Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator."
        )
        yield RecordEvent(claim, "Normal", "ExternalProvisioning", text)


def _provision(
    snapshot: Snapshot,
    claim: PersistentVolumeClaim,
    storage_class: StorageClass,
    node: Node | None,
) -> Iterator[Action]:
    volumes = snapshot.list(PersistentVolume)
    if claim.spec.volume_mode == "Block":
        text = "directories are no block devices: volumeMode has to be Filesystem"
        yield RecordEvent(claim, "Warning", "ProvisioningFailed", text)
        return
    if claim.spec.selector is not None:
        text = "claim Selector is not supported by storage class weft.dev/local"
        yield RecordEvent(claim, "Warning", "ProvisioningFailed", text)
        return
    node = node or matching.emptiest(snapshot.list(Node), volumes)
    if node is None:
        yield RecordEvent(claim, "Warning", "ProvisioningFailed", "no node is ready")
        return
    volume = matching.made(claim, storage_class, node)
    yield Create(volume)
    text = f"Successfully provisioned volume {volume.metadata.name}"
    yield RecordEvent(claim, "Normal", "ProvisioningSucceeded", text)


def _take(volume: PersistentVolume, claim: PersistentVolumeClaim) -> Iterator[Action]:
    """The volume names the claim first, so that no other takes it meanwhile."""
    annotations = dict(volume.metadata.annotations)
    if volume.spec.claim_ref is None:
        annotations[pv.ANNOTATION_BOUND_BY_US] = "yes"
    changed = replace(
        volume,
        metadata=replace(volume.metadata, annotations=annotations),
        spec=replace(volume.spec, claim_ref=matching.reference(claim)),
    )
    if volume.spec.claim_ref is None or volume.spec.claim_ref.uid != claim.metadata.uid:
        yield from object_patch(volume, changed, conditional=True)


def _name_volume(claim: PersistentVolumeClaim, volume: PersistentVolume) -> Iterator[Action]:
    marks = {pv.ANNOTATION_BOUND: "yes", pv.ANNOTATION_BOUND_BY_US: "yes"}
    changed = replace(
        claim,
        metadata=replace(claim.metadata, annotations=dict(claim.metadata.annotations) | marks),
        spec=replace(claim.spec, volume_name=volume.metadata.name),
    )
    yield from object_patch(claim, changed, conditional=True)


def _of_volume(volume: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """The claim that a volume is for; a free one may suit any claim that waits."""
    if not isinstance(volume, PersistentVolume):
        return ()
    reference = volume.spec.claim_ref
    if reference is not None:
        return (Key(reference.namespace, reference.name),)
    return _waiting(snapshot)


def _of_class(storage_class: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return _waiting(snapshot)


def _waiting(snapshot: Snapshot) -> Iterable[Key]:
    return [
        Key(c.metadata.namespace, c.metadata.name)
        for c in snapshot.list(PersistentVolumeClaim)
        if not pv.is_bound(c)
    ]


def _of_pod(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """A pod that ends may set its claims free."""
    if not isinstance(pod, Pod):
        return ()
    namespace = pod.metadata.namespace
    return [
        Key(namespace, name)
        for name in pv.claim_names(pod)
        if (claim := snapshot.get(PersistentVolumeClaim, name, namespace)) is not None
        and claim.metadata.deletion_timestamp
    ]


def _of_node(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return ()


CONTROLLER = Controller(
    name="persistentvolumeclaim",
    primary=PersistentVolumeClaim,
    plan=plan,
    watches=(
        Watch(PersistentVolume, _of_volume),
        Watch(StorageClass, _of_class),
        Watch(Pod, _of_pod),
        Watch(Node, _of_node),
    ),
)
