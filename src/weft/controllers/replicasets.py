"""ReplicaSets, and ReplicationControllers before them: keep the wanted number of pods of one
template.

Source of the rules: Kubernetes' replicaset controller (ranking of deletions, adoption, status).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from weft.api.k8s.apps_v1 import ReplicaSet, ReplicaSetStatus
from weft.api.k8s.core_v1 import ReplicationController, ReplicationControllerStatus
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, controller_of
from weft.controllers.support import ownership, podstate
from weft.controllers.support.patches import status_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan, RecordEvent

Owner = ReplicaSet | ReplicationController
PODS_PER_PLAN_MAX = 500
"""Pods created or deleted by one plan (Kubernetes' burst replicas)."""
ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Create missing pods, delete surplus ones, report what is there."""
    replica_set = snapshot.get(ReplicaSet, key.name, key.namespace)
    if replica_set is None:
        return NOTHING
    return _plan(snapshot, replica_set, replica_set.spec.selector, now)


def plan_controller(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """The same for a ReplicationController, whose selector is a map of labels."""
    found = snapshot.get(ReplicationController, key.name, key.namespace)
    if found is None:
        return NOTHING
    return _plan(snapshot, found, LabelSelector(match_labels=found.spec.selector), now)


def _plan(
    snapshot: Snapshot, replica_set: Owner, selector: LabelSelector | None, now: float
) -> Plan:
    pods, claims = ownership.claim(snapshot, replica_set, Pod, selector)
    active = [p for p in pods if podstate.is_active(p)]
    actions: list[Action] = list(claims)
    if not replica_set.metadata.deletion_timestamp:
        actions += _resize(snapshot, replica_set, active)
    actions += status_patch(replica_set, _status(replica_set, pods, active, now))
    return Plan(tuple(actions), requeue_after=_next_availability(replica_set, active, now))


def _resize(
    snapshot: Snapshot, replica_set: Owner, active: Sequence[Pod]
) -> list[Create | Delete | RecordEvent]:
    wanted = 1 if replica_set.spec.replicas is None else replica_set.spec.replicas
    missing = wanted - len(active)
    if missing > 0:
        pod = podstate.from_template(
            replica_set.spec.template,
            replica_set.metadata.namespace,
            f"{replica_set.metadata.name}-",
            ownership.owner_reference(replica_set),
        )
        return [Create(pod, replica_set)] * min(missing, PODS_PER_PLAN_MAX)
    if missing == 0:
        return []
    crowd = _pods_per_node(snapshot, replica_set, active)
    surplus = sorted(active, key=lambda p: deletion_rank(p, crowd[p.spec.node_name]))
    actions: list[Create | Delete | RecordEvent] = []
    for pod in surplus[: min(-missing, PODS_PER_PLAN_MAX)]:
        found = pod.metadata
        actions.append(Delete(Pod, found.namespace, found.name, found.uid))
        actions.append(
            RecordEvent(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {found.name}")
        )
    return actions


def deletion_rank(pod: Pod, neighbours: int) -> tuple[object, ...]:
    """Sort key of who goes first: unassigned, pending, not ready, cheapest by annotation, on the
    node with most replicas, ready for the shortest time, most restarts, newest."""
    ready = podstate.is_ready(pod)
    return (
        bool(pod.spec.node_name),
        _PHASE_ORDER.get(pod.status.phase, 0),
        ready,
        _deletion_cost(pod),
        -neighbours,
        -podstate.ready_since(pod) if ready else 0.0,
        -podstate.restarts(pod),
        -podstate.seconds(pod.metadata.creation_timestamp),
        pod.metadata.name,
    )


def _deletion_cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(ANNOTATION_DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _pods_per_node(snapshot: Snapshot, replica_set: Owner, active: Sequence[Pod]) -> Counter[str]:
    """Active pods per node of this set and of its siblings (other revisions of its Deployment)."""
    counts = Counter(p.spec.node_name for p in active)
    owner = controller_of(replica_set)
    siblings = snapshot.owned(ReplicaSet, owner.uid) if owner is not None else ()
    for sibling in siblings:
        if sibling.metadata.uid != replica_set.metadata.uid:
            pods = snapshot.owned(Pod, sibling.metadata.uid)
            counts.update(p.spec.node_name for p in pods if podstate.is_active(p))
    return counts


def _status(
    replica_set: Owner, pods: Sequence[Pod], active: Sequence[Pod], now: float
) -> ReplicaSetStatus | ReplicationControllerStatus:
    min_ready = replica_set.spec.min_ready_seconds or 0
    labels = replica_set.spec.template.metadata.labels.items()
    labeled = _count(labels <= p.metadata.labels.items() for p in active)
    ready = _count(podstate.is_ready(p) for p in active)
    available = _count(podstate.is_available(p, min_ready, now) for p in active)
    if isinstance(replica_set, ReplicationController):
        return ReplicationControllerStatus(
            replicas=len(active),
            fully_labeled_replicas=labeled,
            ready_replicas=ready,
            available_replicas=available,
            observed_generation=replica_set.metadata.generation,
            conditions=replica_set.status.conditions,
        )
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=labeled,
        ready_replicas=ready,
        available_replicas=available,
        terminating_replicas=_count(
            podstate.is_terminating(p) and not podstate.is_finished(p) for p in pods
        ),
        observed_generation=replica_set.metadata.generation,
        conditions=replica_set.status.conditions,
    )


def _count(flags: Iterable[bool]) -> int | None:
    """How many are true; None (absent) for none, as Kubernetes writes it."""
    return sum(flags) or None


def _next_availability(replica_set: Owner, active: Sequence[Pod], now: float) -> float | None:
    min_ready = replica_set.spec.min_ready_seconds or 0
    waits = (podstate.available_in(p, min_ready, now) for p in active)
    return min((w for w in waits if w), default=None)


CONTROLLER = Controller(
    name="replicaset",
    primary=ReplicaSet,
    plan=plan,
    watches=(Watch(Pod, ownership.owner_keys(ReplicaSet)),),
)
REPLICATION_CONTROLLER = Controller(
    name="replication-controller",
    primary=ReplicationController,
    plan=plan_controller,
    watches=(Watch(Pod, ownership.owner_keys(ReplicationController)),),
)
