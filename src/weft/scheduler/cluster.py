"""What is free on each node, who is where, and the rankings of nodes, for the time of one cycle."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from weft.api import node_selectors
from weft.api.k8s.core_v1 import Namespace, Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.pod_resizes import counted_spec
from weft.api.snapshot import Snapshot
from weft.scheduler import constraints as neighbourhood
from weft.scheduler import filters, queue, resources, scores
from weft.scheduler.filters import Free
from weft.scheduler.preemption import Eviction, priority
from weft.scheduler.profiles import DEFAULT, NAME_DEFAULT, SPREADING, Profile, Profiles
from weft.scheduler.ranking import Eligible, Grouped, Ranking, Wanted, occupy
from weft.scheduler.resources import PODS
from weft.scheduler.topology import Topology


class Cluster:
    """Changes while pods are placed."""

    def __init__(
        self,
        snapshot: Snapshot,
        pods: Sequence[Pod],
        waiting: Sequence[Pod],
        profiles: Profiles = DEFAULT,
    ) -> None:
        self._profiles = profiles
        self.nodes = {node.metadata.name: node for node in snapshot.list(Node)}
        self.free = {name: _free(node) for name, node in self.nodes.items()}
        self.pods = [
            p
            for p in pods
            if p.spec.node_name in self.nodes and p.status.phase not in queue.FINISHED_PHASES
        ]
        self._eligible: dict[bytes, Eligible] = {}
        self._rankings: dict[tuple[object, ...], Ranking] = {}
        self._gone: set[str] = set()
        self._lowest = min((priority(p) for p in self.pods), default=0)
        for pod in self.pods:
            wanted = _wanted(pod)
            occupy(self.free[pod.spec.node_name], wanted, wanted.scored)
        self._topology = self._counted(snapshot, waiting)

    def _counted(self, snapshot: Snapshot, waiting: Sequence[Pod]) -> Topology | None:
        """Counts by topology, where anybody asks."""
        if not any(_asks(p) for p in (*waiting, *self.pods)):
            return None
        labels = {name: node.metadata.labels for name, node in self.nodes.items()}
        namespaces = {n.metadata.name: n.metadata.labels for n in snapshot.list(Namespace)}
        return Topology(labels, self.pods, namespaces)

    # --- choosing

    def ranking(self, pod: Pod, refused: Mapping[str, str]) -> Ranking:
        """The nodes for pods that declare what this one declares; `refused` by its volumes."""
        declared = _key(filters.placement(pod.spec))
        wanted = _wanted(pod, self._profiles.get(pod.spec.scheduler_name or NAME_DEFAULT))
        key = (
            pod.spec.scheduler_name,
            declared,
            _key((wanted.needs, sorted(wanted.ports))),
            *self._neighbourhood(pod),
        )
        if refused:
            return self._made(pod, wanted, self._without(declared, pod, refused))
        found = self._rankings.get(key)
        if found is None:
            found = self._made(pod, wanted, self._judged(declared, pod))
            self._rankings[key] = found
        return found

    def _neighbourhood(self, pod: Pod) -> tuple[object, ...]:
        """What tells pods apart once other pods matter."""
        if self._topology is None:
            return ()
        labels = _key((pod.metadata.namespace, pod.metadata.labels))
        spread = _key(pod.spec.topology_spread_constraints)
        return labels, spread, self._topology.holders

    def _made(self, pod: Pod, wanted: Wanted, eligible: Eligible) -> Ranking:
        topology = self._topology
        if topology is not None:
            asked = neighbourhood.constraints(pod, topology, self.nodes)
            if asked is not neighbourhood.NOTHING:
                return Grouped(self.free, eligible, wanted, asked, topology)
        return Ranking(self.free, eligible, wanted)

    def _judged(self, declared: bytes, pod: Pod) -> Eligible:
        found = self._eligible.get(declared)
        if found is None:
            # Pods of DaemonSets name their node: to judge every node for every one is too much.
            named = node_selectors.named(pod.spec)
            looked_at = self.nodes if named is None else named & self.nodes.keys()
            reasons = {n: filters.refusal(pod.spec, self.nodes[n]) for n in looked_at}
            allowed = {n: self.nodes[n] for n, reason in reasons.items() if not reason}
            refused = Counter(r for r in reasons.values() if r)
            if others := len(self.nodes) - len(looked_at):
                refused[filters.REASON_AFFINITY] += others
            found = Eligible(scores.preference(pod.spec, allowed), refused)
            self._eligible[declared] = found
        return found

    def _without(self, declared: bytes, pod: Pod, refused: Mapping[str, str]) -> Eligible:
        base = self._judged(declared, pod)
        left = {n: liked for n, liked in base.preference.items() if n not in refused}
        more = Counter(reason for n, reason in refused.items() if n in base.preference)
        return Eligible(left, base.refused + more)

    # --- what happened

    def placed(self, pod: Pod, node: str) -> None:
        if self._topology is not None:
            self._topology.place(pod, node)

    def reserve(self, pod: Pod, node: str, wanted: Wanted) -> None:
        """Keep room on a node for a pod that waits for others there to end."""
        free = self.free.get(node)
        if free is not None:
            occupy(free, wanted, wanted.scored)

    def evicted(self, made: Eviction) -> None:
        """Those pods are on their way out, and are nobody's victims again."""
        self._gone.update(p.metadata.uid for p in made.victims)

    # --- preemption

    def has_lower(self, pod: Pod) -> bool:
        """Whether anybody on a node is of lower priority."""
        return self._lowest < priority(pod)

    def suiting(self, pod: Pod, ranking: Ranking) -> Iterable[str]:
        """Nodes where only room is missing."""
        topology = self._topology
        if topology is None:
            return ranking.eligible.preference
        asked = neighbourhood.constraints(pod, topology, self.nodes)
        return [
            n
            for n in ranking.eligible.preference
            if not neighbourhood.refusal(asked, n, topology, None)
        ]

    def by_node(self) -> Mapping[str, Sequence[Pod]]:
        """Pods that hold room, by node; those that end already are left out."""
        found: dict[str, list[Pod]] = {}
        for pod in self.pods:
            if not pod.metadata.deletion_timestamp and pod.metadata.uid not in self._gone:
                found.setdefault(pod.spec.node_name, []).append(pod)
        return found


def _asks(pod: Pod) -> bool:
    """Whether other pods matter to it."""
    affinity = pod.spec.affinity
    if pod.spec.topology_spread_constraints:
        return True
    return affinity is not None and bool(affinity.pod_affinity or affinity.pod_anti_affinity)


def _wanted(pod: Pod, profile: Profile | None = None) -> Wanted:
    needs, ports = resources.requested(counted_spec(pod)), resources.host_ports(pod)
    return Wanted(needs, ports, profile or SPREADING)


def _key(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _free(node: Node) -> Free:
    offered = resources.offered(node)
    scored = offered.get(resources.CPU, 0), offered.get(resources.MEMORY, 0)
    return Free(offered, {PODS: 0}, set(), scored_offered=scored)
