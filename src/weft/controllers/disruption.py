"""PodDisruptionBudgets: how many pods may be evicted right now.

The eviction handler takes from `disruptionsAllowed` and notes the pod in `disruptedPods`; this
controller counts anew. Source of the rules: Kubernetes' disruption controller.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.rollout import Rollout
from weft.api.k8s.apps_v1 import DaemonSet, Deployment, ReplicaSet, StatefulSet
from weft.api.k8s.core_v1 import ReplicationController
from weft.api.k8s.meta_v1 import Condition
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from weft.api.selectors import from_selector
from weft.api.snapshot import Snapshot, controller_of
from weft.controllers.support import podstate
from weft.controllers.support.patches import status_patch
from weft.controllers.support.podstate import seconds
from weft.controllers.support.rounding import scaled
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Key, Plan, RecordEvent

DISRUPTION_SECONDS_MAX = 120.0
"""A pod whose eviction was granted and that is still there after this long counts again."""
CONDITION = "DisruptionAllowed"


class _Expected(Struct, frozen=True):
    pods: int
    healthy: int
    """How many of them have to be."""


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Count the healthy pods, and so the disruptions that are allowed."""
    budget = snapshot.get(PodDisruptionBudget, key.name, key.namespace)
    if budget is None or budget.metadata.deletion_timestamp:
        return NOTHING
    pods = _selected(snapshot, budget)
    controlled, unmanaged = _scale(snapshot, pods)
    expected = _expected(budget, pods, controlled)
    disrupted = _disrupted(budget, pods, now)
    healthy = sum(
        podstate.is_ready(p) and not podstate.is_terminating(p) and p.metadata.name not in disrupted
        for p in pods
    )
    status = _status(budget, expected, healthy, disrupted, now)
    actions: list[Action] = []
    if unmanaged and not _is_count(budget.spec.min_available):
        actions += _unmanaged(budget)
    actions += status_patch(budget, status, conditional=True)
    waits = (seconds(at) + DISRUPTION_SECONDS_MAX - now for at in disrupted.values())
    return Plan(tuple(actions), requeue_after=min((w for w in waits if w > 0), default=None))


def _selected(snapshot: Snapshot, budget: PodDisruptionBudget) -> Sequence[Pod]:
    """Pods that are not over; an empty selector means all of the namespace, none means none."""
    chosen = from_selector(budget.spec.selector)
    if chosen is None:
        return ()
    pods = snapshot.list(Pod, budget.metadata.namespace)
    return [p for p in pods if chosen.matches(p.metadata.labels) and not podstate.is_finished(p)]


def _scale(snapshot: Snapshot, pods: Iterable[Pod]) -> tuple[int, bool]:
    """How many pods their controllers want together; whether some have no controller."""
    wanted: dict[str, int] = {}
    unmanaged = False
    for pod in pods:
        found = _controller_scale(snapshot, pod)
        if found is None:
            unmanaged = True
        else:
            wanted[found[0]] = found[1]
    return sum(wanted.values()), unmanaged


def _controller_scale(snapshot: Snapshot, pod: Pod) -> tuple[str, int] | None:
    """(uid, replicas) of what controls the pod: of the Deployment, if there is one above."""
    owner, namespace = controller_of(pod), pod.metadata.namespace
    if owner is None:
        return None
    match owner.kind:
        case "ReplicaSet":
            found = snapshot.get(ReplicaSet, owner.name, namespace)
            above = controller_of(found) if found is not None else None
            if found is not None and above is not None and above.kind == "Rollout":
                return _replicas(snapshot.get(Rollout, above.name, namespace))
            if found is None or above is None or above.kind != "Deployment":
                return _replicas(found)
            return _replicas(snapshot.get(Deployment, above.name, namespace))
        case "StatefulSet":
            return _replicas(snapshot.get(StatefulSet, owner.name, namespace))
        case "ReplicationController":
            return _replicas(snapshot.get(ReplicationController, owner.name, namespace))
        case "DaemonSet":
            daemons = snapshot.get(DaemonSet, owner.name, namespace)
            if daemons is None:
                return None
            return daemons.metadata.uid, daemons.status.desired_number_scheduled or 0
    return None


def _replicas(
    found: Rollout | ReplicaSet | Deployment | StatefulSet | ReplicationController | None,
) -> tuple[str, int] | None:
    if found is None:
        return None
    replicas = found.spec.replicas
    return found.metadata.uid, 1 if replicas is None else replicas


def _expected(budget: PodDisruptionBudget, pods: Sequence[Pod], controlled: int) -> _Expected:
    least, most_gone = budget.spec.min_available, budget.spec.max_unavailable
    if most_gone is not None:
        gone = scaled(most_gone, controlled, "0%", up=True)
        return _Expected(controlled, max(0, controlled - gone))
    if _is_count(least):
        return _Expected(len(pods), scaled(least, 0, "0%", up=True))
    return _Expected(controlled, scaled(least, controlled, "0%", up=True))


def _is_count(value: int | str | None) -> bool:
    return isinstance(value, int)


def _disrupted(budget: PodDisruptionBudget, pods: Iterable[Pod], now: float) -> Mapping[str, str]:
    """Evictions that were granted and are not seen yet."""
    here = {p.metadata.name for p in pods if not podstate.is_terminating(p)}
    granted = budget.status.disrupted_pods.items()
    return {
        name: at
        for name, at in granted
        if name in here and seconds(at) + DISRUPTION_SECONDS_MAX > now
    }


def _status(
    budget: PodDisruptionBudget,
    expected: _Expected,
    healthy: int,
    disrupted: Mapping[str, str],
    now: float,
) -> PodDisruptionBudgetStatus:
    allowed = max(0, healthy - expected.healthy) if expected.pods > 0 else 0
    return replace(
        budget.status,
        observed_generation=budget.metadata.generation,
        disrupted_pods=disrupted,
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=expected.healthy,
        expected_pods=expected.pods,
        conditions=_conditions(budget, allowed, now),
    )


def _conditions(budget: PodDisruptionBudget, allowed: int, now: float) -> tuple[Condition, ...]:
    status, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    before = next((c for c in budget.status.conditions if c.type == CONDITION), None)
    same = before is not None and before.status == status
    since = before.last_transition_time if before is not None and same else rfc3339(now)
    condition = Condition(
        type=CONDITION,
        status=status,
        reason=reason,
        last_transition_time=since,
        observed_generation=budget.metadata.generation,
    )
    others = (c for c in budget.status.conditions if c.type != CONDITION)
    return (*others, condition)


def _unmanaged(budget: PodDisruptionBudget) -> tuple[RecordEvent, ...]:
    if budget.status.observed_generation == budget.metadata.generation:
        return ()  # said already
    text = (
        "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the "
        "status of the PDB cannot be calculated correctly, which may result in undefined "
        'behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to '
        "an integer value."
    )
    return (RecordEvent(budget, "Warning", "UnmanagedPods", text),)


def _of_pod(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """The budgets that select the pod."""
    if not isinstance(pod, Pod):
        return ()
    found = pod.metadata
    return [
        Key(found.namespace, b.metadata.name)
        for b in snapshot.list(PodDisruptionBudget, found.namespace)
        if (chosen := from_selector(b.spec.selector)) is not None and chosen.matches(found.labels)
    ]


def _of_namespace(owner: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """A controller that is scaled may change how many pods its budgets expect."""
    namespace: str = owner.metadata.namespace  # type: ignore[attr-defined]
    budgets = snapshot.list(PodDisruptionBudget, namespace)
    return [Key(namespace, b.metadata.name) for b in budgets]


CONTROLLER = Controller(
    name="disruption",
    primary=PodDisruptionBudget,
    plan=plan,
    watches=(
        Watch(Pod, _of_pod),
        *(
            Watch(cls, _of_namespace)
            for cls in (
                Deployment,
                Rollout,
                ReplicaSet,
                StatefulSet,
                DaemonSet,
                ReplicationController,
            )
        ),
    ),
)
