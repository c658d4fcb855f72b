"""PersistentVolumes: their phase, and when they may go.

Source of the rules: Kubernetes' persistent volume controller and PV protection. Directories of
released volumes are removed by their node (`weft.node.local_volumes`).
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.api import persistent_volumes as pv
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.snapshot import Snapshot
from weft.controllers.support.patches import object_patch, status_patch
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Key, Plan, RecordEvent


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The phase of a volume; and its release from protection."""
    volume = snapshot.get(PersistentVolume, key.name)
    if volume is None:
        return NOTHING
    phase = _phase(snapshot, volume)
    return Plan((*_released(volume, phase), *_write(volume, phase, now)))


def _phase(snapshot: Snapshot, volume: PersistentVolume) -> str:
    reference = volume.spec.claim_ref
    if reference is None or not reference.uid:
        return "Available"
    claim = snapshot.get(PersistentVolumeClaim, reference.name, reference.namespace)
    if claim is None or claim.metadata.uid != reference.uid:
        return "Released"
    if not claim.spec.volume_name:
        return volume.status.phase or "Pending"  # about to be bound
    return "Bound" if claim.spec.volume_name == volume.metadata.name else "Released"


def _released(volume: PersistentVolume, phase: str) -> Iterator[Action]:
    finalizers = volume.metadata.finalizers
    if (
        volume.metadata.deletion_timestamp
        and phase != "Bound"
        and pv.FINALIZER_VOLUME in finalizers
    ):
        rest = tuple(f for f in finalizers if f != pv.FINALIZER_VOLUME)
        metadata = replace(volume.metadata, finalizers=rest)
        yield from object_patch(volume, replace(volume, metadata=metadata), conditional=True)


def _write(volume: PersistentVolume, phase: str, now: float) -> Iterator[Action]:
    if volume.status.phase == phase:
        return
    policy = volume.spec.persistent_volume_reclaim_policy
    status = replace(volume.status, phase=phase, last_phase_transition_time=rfc3339(now))
    if phase == "Released" and policy in ("Delete", "Recycle") and not pv.is_ours(volume):
        text = "error getting deleter volume plugin: nothing here removes what weft did not make"
        yield RecordEvent(volume, "Warning", "VolumeFailedDelete", text)
        status = replace(status, phase="Failed", message=text, reason="")
        if volume.status.phase == "Failed":
            return
    yield from status_patch(volume, status)


def _of_claim(claim: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """The volumes that the claim names or that name the claim."""
    if not isinstance(claim, PersistentVolumeClaim):
        return ()
    found = claim.metadata
    named = {claim.spec.volume_name} if claim.spec.volume_name else set()
    for volume in snapshot.list(PersistentVolume):
        reference = volume.spec.claim_ref
        if reference is not None and (reference.namespace, reference.name) == (
            found.namespace,
            found.name,
        ):
            named.add(volume.metadata.name)
    return [Key("", name) for name in sorted(named)]


CONTROLLER = Controller(
    name="persistentvolume",
    primary=PersistentVolume,
    plan=plan,
    watches=(Watch(PersistentVolumeClaim, _of_claim),),
)
