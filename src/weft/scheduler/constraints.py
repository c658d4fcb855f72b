"""What a pod says about other pods: affinity, anti-affinity, topology spread. Whether a node is in
a part of the cluster that will do, and how much it is liked.

Source of the rules, weights and words: Kubernetes' InterPodAffinity and PodTopologySpread plugins.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from weft.api import node_selectors
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod, TopologySpreadConstraint
from weft.api.wellknown import LABEL_HOSTNAME
from weft.scheduler import filters
from weft.scheduler.topology import Counts, Term, Topology, affinity_term, encoded

REASON_AFFINITY = "node(s) didn't match pod affinity rules"
REASON_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
REASON_REPELLED = "node(s) didn't satisfy existing pods anti-affinity rules"
REASON_SPREAD = "node(s) didn't match pod topology spread constraints"
REASON_NO_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
WEIGHT = 2.0
"""Of the scores for affinity and for spread."""
PENALTY_PER_NEIGHBOUR = 10.0
"""Off the score of a node for each pod there that the pod would rather be away from."""


class Spread(Struct, frozen=True):
    """One topology spread constraint of a pod."""

    term: Term
    counts: Counts
    skew: int
    hard: bool
    itself: int
    """1 when the pod counts among those that are spread."""
    domains: frozenset[str]
    """Of the nodes that are eligible."""
    domains_min: int

    def least(self) -> int:
        """Pods in the emptiest eligible domain; 0 while there are too few domains."""
        if len(self.domains) < self.domains_min:
            return 0
        found = self.counts.by_domain
        if len(found) < len(self.domains):
            return 0
        return min((found.get(d, 0) for d in self.domains), default=0)


class Constraints(Struct, frozen=True):
    """All that one pod asks of its neighbourhood."""

    near: tuple[tuple[Term, Counts], ...] = ()
    near_itself: bool = False
    """It may be the first: it meets its own affinity."""
    away: tuple[tuple[Term, Counts], ...] = ()
    repelled: tuple[tuple[Term, Counts], ...] = ()
    spread: tuple[Spread, ...] = ()
    liked: tuple[tuple[Term, Counts, int], ...] = ()
    """Preferred affinity, and (negative) anti-affinity."""

    @property
    def group_keys(self) -> tuple[str, ...]:
        """Labels by which nodes are judged together. What only keeps pods apart per node is
        judged node by node."""
        keys = {t.key for t, _ in self.near} | {t.key for t, _, w in self.liked if w > 0}
        apart = (
            *(t.key for t, _ in (*self.away, *self.repelled)),
            *(s.term.key for s in self.spread),
            *(t.key for t, _, _ in self.liked),
        )
        return tuple(sorted(keys | {key for key in apart if key != LABEL_HOSTNAME}))


NOTHING = Constraints()


def constraints(
    pod: Pod, topology: Topology, nodes: Mapping[str, Node], labels_only: bool = False
) -> Constraints:
    """What the pod asks; NOTHING for most."""
    repelled = tuple(topology.repelled(pod))
    affinity = pod.spec.affinity
    near, away = _required(pod, topology)
    liked = _preferred(pod, topology)
    spread = tuple(_spread(pod, c, topology, nodes) for c in pod.spec.topology_spread_constraints)
    if affinity is None and not repelled and not spread:
        return NOTHING
    itself = all(term.matches(pod) for term, _ in near)
    return Constraints(near, itself, away, repelled, spread, liked)


def _required(
    pod: Pod, topology: Topology
) -> tuple[tuple[tuple[Term, Counts], ...], tuple[tuple[Term, Counts], ...]]:
    affinity = pod.spec.affinity
    near = affinity.pod_affinity if affinity is not None else None
    away = affinity.pod_anti_affinity if affinity is not None else None
    found = []
    for part in (near, away):
        terms = part.required_during_scheduling_ignored_during_execution if part else ()
        made = [affinity_term(pod, t, topology.namespaces) for t in terms]
        found.append(tuple((t, topology.counts(t)) for t in made))
    return found[0], found[1]


def _preferred(pod: Pod, topology: Topology) -> tuple[tuple[Term, Counts, int], ...]:
    affinity = pod.spec.affinity
    if affinity is None:
        return ()
    found = []
    for part, sign in ((affinity.pod_affinity, 1), (affinity.pod_anti_affinity, -1)):
        terms = part.preferred_during_scheduling_ignored_during_execution if part else ()
        for weighted in terms:
            if weighted.pod_affinity_term is not None:
                term = affinity_term(pod, weighted.pod_affinity_term, topology.namespaces)
                found.append((term, topology.counts(term), sign * (weighted.weight or 0)))
    return tuple(found)


def _spread(
    pod: Pod, given: TopologySpreadConstraint, topology: Topology, nodes: Mapping[str, Node]
) -> Spread:
    selector = encoded(given.label_selector, pod.metadata.labels, given.match_label_keys)
    term = Term(given.topology_key, frozenset({pod.metadata.namespace}), selector)
    domains = frozenset(
        value
        for name, node in nodes.items()
        if (value := topology.domain(name, term.key)) is not None and _counts(pod, given, node)
    )
    return Spread(
        term=term,
        counts=topology.counts(term),
        skew=given.max_skew or 1,
        hard=given.when_unsatisfiable != "ScheduleAnyway",
        itself=int(term.matches(pod)),
        domains=domains,
        domains_min=given.min_domains or 1,
    )


def _counts(pod: Pod, given: TopologySpreadConstraint, node: Node) -> bool:
    """Whether the node is one among which pods are spread."""
    if given.node_affinity_policy != "Ignore" and not node_selectors.admits(pod.spec, node):
        return False
    return given.node_taints_policy != "Honor" or not filters.tainted(pod.spec, node)


def refusal(asked: Constraints, node: str, topology: Topology, keys: Sequence[str] | None) -> str:
    """Why the node's neighbourhood will not do; "" when it will. `keys`: judge only by these
    labels (None: by all)."""
    if asked.near and (reason := _far(asked, node, topology, keys)):
        return reason
    for term, counts in asked.away:
        if _judged(term.key, keys) and counts.at(topology.domain(node, term.key)):
            return REASON_ANTI_AFFINITY
    for term, counts in asked.repelled:
        if _judged(term.key, keys) and counts.at(topology.domain(node, term.key)):
            return REASON_REPELLED
    for spread in asked.spread:
        if spread.hard and _judged(spread.term.key, keys):
            domain = topology.domain(node, spread.term.key)
            if domain is None:
                return REASON_NO_LABEL
            if spread.counts.at(domain) + spread.itself - spread.least() > spread.skew:
                return REASON_SPREAD
    return ""


def _judged(key: str, keys: Sequence[str] | None) -> bool:
    return keys is None or key in keys


def _far(asked: Constraints, node: str, topology: Topology, keys: Sequence[str] | None) -> str:
    judged = [(t, c) for t, c in asked.near if _judged(t.key, keys)]
    domains = [topology.domain(node, t.key) for t, _ in judged]
    if None in domains:
        return REASON_AFFINITY
    if all(c.at(d) for (_, c), d in zip(judged, domains, strict=True)):
        return ""
    first = asked.near_itself and not any(c.total for _, c in asked.near)
    return "" if first else REASON_AFFINITY


def liking(asked: Constraints, node: str, topology: Topology, keys: Sequence[str]) -> float:
    """How much the pod likes the node's part of the cluster, as judged by these labels."""
    total = 0.0
    for term, counts, weight in asked.liked:
        if term.key in keys:
            total += weight * counts.at(topology.domain(node, term.key))
    for spread in asked.spread:
        if not spread.hard and spread.term.key in keys:
            domain = topology.domain(node, spread.term.key)
            total -= spread.counts.at(domain) if domain is not None else spread.counts.total
    return total


def penalty(asked: Constraints, node: str, topology: Topology, keys: Sequence[str]) -> float:
    """What neighbours on the very node take off its score. It never falls within a cycle."""
    total = 0.0
    for term, counts, weight in asked.liked:
        if weight < 0 and term.key not in keys:
            total += (
                PENALTY_PER_NEIGHBOUR * -weight / 100 * counts.at(topology.domain(node, term.key))
            )
    for spread in asked.spread:
        if not spread.hard and spread.term.key not in keys:
            total += PENALTY_PER_NEIGHBOUR * spread.counts.at(
                topology.domain(node, spread.term.key)
            )
    return total
