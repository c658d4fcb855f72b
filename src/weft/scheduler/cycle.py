"""One scheduling cycle: a node for every waiting pod, or the reason why there is none.

All waiting pods are placed in one pass. Pods that declare the same share a ranking of nodes, so a
pod costs a heap operation instead of a look at every node.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace

import msgspec
from msgspec import Struct

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodSpec
from weft.api.snapshot import Snapshot
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import NOTHING, Action, Bind, Patch, Plan, RecordEvent
from weft.scheduler import filters, queue, resources, scores
from weft.scheduler.filters import Free
from weft.scheduler.resources import PODS

REASON_UNSCHEDULABLE = "Unschedulable"
REASON_GATED = "SchedulingGated"
MESSAGE_GATED = "Scheduling is blocked due to non-empty scheduling gates"
MESSAGE_NO_NODES = "no nodes available to schedule pods"


def schedule(snapshot: Snapshot, now: float) -> Plan:
    """Bind what can be bound; say of the rest why it waits. Idempotent: a pod that waits for the
    same reason as before gets no write."""
    pods = snapshot.list(Pod)
    waiting = queue.in_order(p for p in pods if queue.is_waiting(p))
    if not waiting:
        return NOTHING
    cluster = _Cluster(snapshot.list(Node), pods)
    bound: list[Action] = []
    refused: list[Action] = []
    for pod in waiting:
        if pod.spec.scheduling_gates:
            refused += _waits(pod, REASON_GATED, MESSAGE_GATED, now)
            continue
        ranking = cluster.ranking(pod)
        node = ranking.take()
        if node:
            bound += _bound(pod, node)
        else:
            refused += _waits(pod, REASON_UNSCHEDULABLE, ranking.complaint(), now)
    return Plan((*bound, *refused), independent=True)


def _bound(pod: Pod, node: str) -> tuple[Action, ...]:
    namespace, name = pod.metadata.namespace, pod.metadata.name
    text = f"Successfully assigned {namespace}/{name} to {node}"
    return Bind(namespace, name, node), RecordEvent(pod, "Normal", "Scheduled", text)


def _waits(pod: Pod, reason: str, message: str, now: float) -> tuple[Action, ...]:
    conditions = pod.status.conditions
    current = next((c for c in conditions if c.type == "PodScheduled"), None)
    said = (current.status, current.reason, current.message) if current else None
    if said == ("False", reason, message):
        return ()
    unchanged = current is not None and current.status == "False"
    since = current.last_transition_time if current and unchanged else rfc3339(now)
    new = PodCondition(
        type="PodScheduled",
        status="False",
        reason=reason,
        message=message,
        last_transition_time=since,
    )
    others = [c for c in conditions if c.type != "PodScheduled"]
    body = {
        # The list is replaced as a whole, so only if nobody else has written it meanwhile.
        "metadata": {"resourceVersion": pod.metadata.resource_version},
        "status": {"conditions": msgspec.to_builtins([*others, new])},
    }
    patch = Patch(Pod, pod.metadata.namespace, pod.metadata.name, body, "status")
    if reason == REASON_GATED:
        return (patch,)
    return patch, RecordEvent(pod, "Warning", "FailedScheduling", message)


class _Eligible(Struct):
    """The nodes that pods of one static declaration may run on."""

    preference: Mapping[str, float]
    """Node -> how much the pods like it, whatever is free."""
    refused: Counter[str]
    """Why, and how many, other nodes are out of the question."""


class _Cluster:
    """What is free on each node, and the rankings of nodes, for the time of one cycle."""

    def __init__(self, nodes: Sequence[Node], pods: Iterable[Pod]) -> None:
        self.nodes = {node.metadata.name: node for node in nodes}
        self.free = {name: _free(node) for name, node in self.nodes.items()}
        self._eligible: dict[bytes, _Eligible] = {}
        self._rankings: dict[bytes, _Ranking] = {}
        for pod in pods:
            free = self.free.get(pod.spec.node_name)
            if free is not None and pod.status.phase not in queue.FINISHED_PHASES:
                needs = resources.requested(pod.spec)
                _occupy(free, needs, scores.scored(needs), resources.host_ports(pod))

    def ranking(self, pod: Pod) -> "_Ranking":
        """The nodes for pods that declare what this one declares."""
        declared = _key(filters.placement(pod.spec))
        needs, ports = resources.requested(pod.spec), resources.host_ports(pod)
        key = declared + _key((needs, sorted(ports)))
        found = self._rankings.get(key)
        if found is None:
            eligible = self._eligible.get(declared)
            if eligible is None:
                eligible = self._eligible[declared] = self._judge(pod.spec)
            found = self._rankings[key] = _Ranking(self.free, eligible, needs, ports)
        return found

    def _judge(self, spec: PodSpec) -> _Eligible:
        refusals = {name: filters.refusal(spec, node) for name, node in self.nodes.items()}
        allowed = {name: self.nodes[name] for name, reason in refusals.items() if not reason}
        return _Eligible(
            scores.preference(spec, allowed), Counter(r for r in refusals.values() if r)
        )


def _key(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _free(node: Node) -> Free:
    offered = resources.offered(node)
    scored = offered.get(resources.CPU, 0), offered.get(resources.MEMORY, 0)
    return Free(offered, {PODS: 0}, set(), scored_offered=scored)


def _occupy(
    free: Free,
    needs: Mapping[str, int],
    scored: tuple[int, int],
    ports: Iterable[filters.Port],
) -> None:
    used = free.used
    used[PODS] += 1
    for name, need in needs.items():
        used[name] = used.get(name, 0) + need
    free.scored_cpu += scored[0]
    free.scored_memory += scored[1]
    free.ports.update(ports)


class _Ranking:
    """Nodes that may take pods of one declaration, best first.

    Placing a pod never raises a node's score (`scores.room`), so a node is ranked anew only when
    its old rank brings it to the top. A node without room leaves for good: within a cycle nothing
    is freed.
    """

    def __init__(
        self,
        free: Mapping[str, Free],
        eligible: _Eligible,
        needs: Mapping[str, int],
        ports: frozenset[filters.Port],
    ) -> None:
        self._free = free
        self._eligible = eligible
        self._needs = needs
        self._scored = scores.scored(needs)
        self._ports = ports
        self._heap = [self._entry(name) for name in eligible.preference]
        heapify(self._heap)
        self._complaint = ""

    def take(self) -> str:
        """Place one pod: the node it goes to, or "" when no node has room."""
        while self._heap:
            _, pods, name = self._heap[0]
            free = self._free[name]
            if pods != free.used[PODS]:
                heapreplace(self._heap, self._entry(name))
            elif filters.shortages(self._needs, self._ports, free):
                heappop(self._heap)
            else:
                _occupy(free, self._needs, self._scored, self._ports)
                return name
        return ""

    def complaint(self) -> str:
        """Why no node takes the pod: how many nodes refuse it, by reason."""
        if not self._complaint:
            self._complaint = self._explain()
        return self._complaint

    def _explain(self) -> str:
        if not self._free:
            return MESSAGE_NO_NODES
        reasons = Counter(self._eligible.refused)
        for name in self._eligible.preference:
            reasons.update(filters.shortages(self._needs, self._ports, self._free[name]))
        parts = sorted(f"{count} {reason}" for reason, count in reasons.items())
        return f"0/{len(self._free)} nodes are available: {', '.join(parts)}."

    def _entry(self, name: str) -> tuple[float, int, str]:
        """Sorts best first; the pod count breaks ties and tells whether the entry is current."""
        free = self._free[name]
        score = scores.room(self._scored, free) + self._eligible.preference[name]
        return -score, free.used[PODS], name
