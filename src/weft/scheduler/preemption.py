"""Which pods of lower priority have to go so that a pod finds a node.

Source of the rules, the choice and the words: Kubernetes' DefaultPreemption plugin.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.api.pod_resizes import counted_spec
from weft.api.selectors import matches_selector
from weft.scheduler import filters, resources
from weft.scheduler.filters import Free
from weft.scheduler.ranking import Wanted
from weft.scheduler.resources import PODS

CANDIDATES_MAX = 100
"""Nodes that are looked at closely (Kubernetes: a tenth of them, at least 100)."""
_FINISHED = ("Succeeded", "Failed")


class Eviction(Struct, frozen=True):
    """The pods of one node that have to go."""

    node: str
    victims: tuple[Pod, ...]
    violations: int
    """Victims whose disruption budget has no room."""

    def cost(self) -> tuple[object, ...]:
        """Sorts the least harm first."""
        priorities = [priority(p) for p in self.victims]
        started = [p.status.start_time for p in self.victims]
        return (
            self.violations,
            max(priorities, default=-(1 << 31)),
            sum(priorities),
            len(self.victims),
            # Of equals, those that ran for the shortest time.
            tuple(-ord(c) for c in min(started, default="")),
            self.node,
        )


def priority(pod: Pod) -> int:
    return pod.spec.priority or 0


def may_preempt(pod: Pod, pods: Iterable[Pod]) -> bool:
    """Whether the pod takes the place of others at all; not while those it chose before end."""
    if pod.spec.preemption_policy == "Never":
        return False
    node = pod.status.nominated_node_name
    return not node or not any(
        p.spec.node_name == node
        and p.metadata.deletion_timestamp
        and p.status.phase not in _FINISHED
        and priority(p) < priority(pod)
        for p in pods
    )


def find(  # noqa: PLR0917
    pod: Pod,
    wanted: Wanted,
    nodes: Iterable[str],
    free: Mapping[str, Free],
    pods: Mapping[str, Sequence[Pod]],
    budgets: Sequence[PodDisruptionBudget],
) -> Eviction | None:
    """The least harm that makes room, among nodes that suit the pod. `pods` by node."""
    found: list[Eviction] = []
    for node in nodes:
        made = _on(pod, wanted, node, free[node], pods.get(node, ()), budgets)
        if made is not None:
            found.append(made)
            if len(found) >= CANDIDATES_MAX:
                break
    return min(found, key=Eviction.cost, default=None)


def _on(  # noqa: PLR0917
    pod: Pod,
    wanted: Wanted,
    node: str,
    free: Free,
    pods: Sequence[Pod],
    budgets: Sequence[PodDisruptionBudget],
) -> Eviction | None:
    """All lower pods out, then back in as long as there is room: those that a budget protects
    first, then the highest."""
    lower = [p for p in pods if priority(p) < priority(pod)]
    if not lower:
        return None
    rest = [p for p in pods if priority(p) >= priority(pod)]
    room = Free(free.offered, {PODS: 0}, set())
    for other in rest:
        _put(room, other)
    if filters.shortages(wanted.needs, wanted.ports, room):
        return None
    _put(room, pod)
    protected = _protected(lower, budgets)
    lower.sort(key=lambda p: (p.metadata.uid not in protected, -priority(p), p.status.start_time))
    victims = []
    for other in lower:
        needs, ports = resources.requested(counted_spec(other)), resources.host_ports(other)
        if filters.shortages(needs, ports, room):
            victims.append(other)
        else:
            _put(room, other)
    if not victims:
        return None
    violations = sum(p.metadata.uid in protected for p in victims)
    return Eviction(node, tuple(victims), violations)


def _put(room: Free, pod: Pod) -> None:
    room.used[PODS] += 1
    for name, need in resources.requested(pod.spec).items():
        room.used[name] = room.used.get(name, 0) + need
    room.ports.update(resources.host_ports(pod))


def _protected(pods: Iterable[Pod], budgets: Sequence[PodDisruptionBudget]) -> frozenset[str]:
    """Uids of pods beyond what their budgets allow to go."""
    allowed = {b.metadata.uid: b.status.disruptions_allowed or 0 for b in budgets}
    found = set()
    for pod in pods:
        for budget in budgets:
            if budget.metadata.namespace == pod.metadata.namespace and matches_selector(
                budget.spec.selector, pod.metadata.labels
            ):
                allowed[budget.metadata.uid] -= 1
                if allowed[budget.metadata.uid] < 0:
                    found.add(pod.metadata.uid)
    return frozenset(found)
