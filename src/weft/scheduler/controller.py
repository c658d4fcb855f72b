"""The scheduler as a controller: all pods are planned under one key, one cycle at a time."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.k8s.core_v1 import Namespace, Node
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.api.k8s.storage_v1 import StorageClass
from weft.api.snapshot import Snapshot
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import Key, Plan
from weft.scheduler import queue
from weft.scheduler.cycle import schedule
from weft.scheduler.profiles import DEFAULT, Profiles

CYCLE = Key("", "cycle")


def node_wakes(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (CYCLE,)


def claim_wakes(claim: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Pods wait for their claims to be there, and to be bound."""
    return (CYCLE,)


def controller(profiles: Profiles = DEFAULT) -> Controller:
    """The scheduler of pods with these names of schedulers."""

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        return schedule(snapshot, now, profiles)

    def wakes(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
        """Pods that wait, and pods that free what they held on their node."""
        if not isinstance(pod, Pod):
            return ()
        freed = pod.status.phase in queue.FINISHED_PHASES
        gone = snapshot.get(Pod, pod.metadata.name, pod.metadata.namespace) is None
        waits = queue.is_waiting(pod, profiles) or queue.is_strange(pod, profiles)
        return (CYCLE,) if waits or freed or gone else ()

    return Controller(
        name="scheduler",
        primary=Pod,
        plan=plan,
        primary_keys=wakes,
        watches=(
            Watch(Node, node_wakes),
            Watch(PersistentVolumeClaim, claim_wakes),
            *(
                Watch(cls, lambda _obj, _snapshot: ())
                for cls in (PersistentVolume, StorageClass, Namespace, PodDisruptionBudget)
            ),
        ),
    )


CONTROLLER = controller()
