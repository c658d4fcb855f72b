"""Generic ephemeral volumes: a claim that lives as long as its pod.

Source: Kubernetes' ephemeral volume controller.
"""

from collections.abc import Iterator

from weft.api import persistent_volumes as pv
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.volume_v1 import Volume
from weft.api.snapshot import Snapshot, controller_of
from weft.controllers.support import podstate
from weft.controllers.support.ownership import owner_reference
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Key, Plan, RecordEvent


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Make the claims that the pod's ephemeral volumes need."""
    pod = snapshot.get(Pod, key.name, key.namespace)
    if pod is None or podstate.is_terminating(pod) or podstate.is_finished(pod):
        return NOTHING
    volumes = [v for v in pod.spec.volumes if v.ephemeral is not None]
    return Plan(tuple(a for v in volumes for a in _claim(snapshot, pod, v)))


def _claim(snapshot: Snapshot, pod: Pod, volume: Volume) -> Iterator[Action]:
    name, namespace = pv.ephemeral_name(pod, volume.name), pod.metadata.namespace
    there = snapshot.get(PersistentVolumeClaim, name, namespace)
    if there is not None:
        owner = controller_of(there)
        if owner is None or owner.uid != pod.metadata.uid:
            text = f'PVC "{namespace}/{name}" was not created for pod "{pod.metadata.name}"'
            yield RecordEvent(pod, "Warning", "EphemeralVolumeConflict", text)
        return
    template = volume.ephemeral.volume_claim_template if volume.ephemeral else None
    if template is None:
        return
    yield Create(
        PersistentVolumeClaim(
            api_version="v1",
            kind="PersistentVolumeClaim",
            metadata=ObjectMeta(
                name=name,
                namespace=namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
                owner_references=(owner_reference(pod),),
            ),
            spec=template.spec,
        )
    )


CONTROLLER = Controller(
    name="ephemeral-volume",
    primary=Pod,
    plan=plan,
    primary_keys=lambda pod, _: (
        (Key(pod.metadata.namespace, pod.metadata.name),)
        if isinstance(pod, Pod) and any(v.ephemeral for v in pod.spec.volumes)
        else ()
    ),
    watches=(Watch(PersistentVolumeClaim, lambda _claim, _snapshot: ()),),
)
