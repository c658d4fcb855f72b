"""What would let a pod run that no node takes: the smallest change that helps, in words.

Whoever reads it knows the objects, not the scheduler: labels, taints, amounts are named.
"""

from collections.abc import Callable, Iterable, Mapping

from weft.api.k8s.pod_v1 import NodeSelectorTerm, Pod, PodAffinityTerm
from weft.api.node_selectors import matches_term
from weft.api.selectors import format_selector
from weft.api.wellknown import ANNOTATION_START_AFTER, GATE_QUEUE, GATE_START_AFTER
from weft.scheduler import constraints, filters, volume_needs
from weft.scheduler.cluster import Cluster
from weft.scheduler.filters import Free
from weft.scheduler.ranking import Ranking
from weft.scheduler.resources import CPU, PODS

SENTENCES_MAX = 2
_MEBI = 1 << 20
_NAMES_MAX = 3


def hint(pod: Pod, ranking: Ranking, cluster: Cluster) -> str:
    """What helps against the most frequent reasons; "" when nothing simple would do. Made once for
    all pods of one ranking."""
    if ranking.hint is None:
        ranking.hint = _hint(pod, ranking, cluster)
    return ranking.hint


def _hint(pod: Pod, ranking: Ranking, cluster: Cluster) -> str:
    if not cluster.nodes:
        return "It runs once a node joins."
    if smaller := _smaller(ranking, cluster):
        return smaller
    found: list[str] = []
    for reason, _ in ranking.reasons().most_common():
        sentence = _remedy(reason, pod, ranking, cluster)
        if sentence and sentence not in found:
            found.append(sentence)
    return " ".join(found[:SENTENCES_MAX])


def of_gates(pod: Pod) -> str:
    """Who lets a gated pod go."""
    names = [gate.name for gate in pod.spec.scheduling_gates]
    others = [name for name in names if name not in (GATE_QUEUE, GATE_START_AFTER)]
    parts = []
    if GATE_QUEUE in names:
        parts.append("its queue admits it")
    if GATE_START_AFTER in names:
        needed = pod.metadata.annotations.get(ANNOTATION_START_AFTER, "what it starts after")
        parts.append(f"{needed} is ready")
    if others:
        parts.append(f"{', '.join(others)} is removed from its schedulingGates")
    return f"It is placed once {' and '.join(parts)}."


def of_claims(problem: str) -> str:
    """What helps when a claim of the pod cannot be used."""
    if problem.endswith("not found"):
        return "It runs once somebody creates the claim."
    if problem == volume_needs.UNBOUND:
        return "It runs once its claims are bound: `weft describe pvc` says what they wait for."
    if problem == volume_needs.TAKEN:
        return "It runs once that pod is gone."
    return ""


# --- amounts


def _smaller(ranking: Ranking, cluster: Cluster) -> str:
    """By which amounts the pod is too large for the node that fits it best."""
    needs = ranking.wanted.needs
    lacks = [
        (found, name)
        for name in ranking.eligible.preference
        if (found := _lacking(needs, cluster.free[name]))
        and all(much < needs[what] for what, much in found.items())
    ]
    if not lacks:
        return ""
    least, node = min(lacks, key=lambda pair: (len(pair[0]), sum(pair[0].values()), pair[1]))
    parts = [f"{_amount(what, much)} less {what}" for what, much in sorted(least.items())]
    return f"It would fit node {node} with {' and '.join(parts)}."


def _lacking(needs: Mapping[str, int], free: Free) -> dict[str, int]:
    found = {}
    for name, need in needs.items():
        room = free.offered.get(name, 0) - free.used.get(name, 0)
        if name != PODS and need > room:
            found[name] = need - room
    return found


def _amount(name: str, much: int) -> str:
    if name == CPU:
        return f"{much}m"
    return f"{-(-much // _MEBI)}Mi" if name.endswith(("memory", "storage")) else str(much)


def _insufficient(resource: str, ranking: Ranking, cluster: Cluster) -> str:
    need = ranking.wanted.needs.get(resource, 0)
    frees = {n: cluster.free[n] for n in ranking.eligible.preference}
    offers = {n: f.offered.get(resource, 0) for n, f in frees.items()}
    if not any(offers.values()):
        return f"None of the nodes that would do has {resource}."
    large = [n for n, much in offers.items() if much >= need]
    if not large:
        return ""
    missing = {n: need - (offers[n] - frees[n].used.get(resource, 0)) for n in large}
    node = min(large, key=lambda n: (missing[n], n))
    return f"It would run once pods on node {node} give back {_amount(resource, missing[node])} {resource}."  # noqa: E501


# --- nodes


def _remedy(reason: str, pod: Pod, ranking: Ranking, cluster: Cluster) -> str:
    if reason.startswith("Insufficient "):
        return _insufficient(reason.removeprefix("Insufficient "), ranking, cluster)
    if reason.startswith(filters.REASON_TAINTED):
        return _taints(pod, cluster)
    make = _REMEDIES.get(reason)
    return make(pod, cluster) if make is not None else ""


def _taints(pod: Pod, cluster: Cluster) -> str:
    """The state of a node is nothing to tolerate; other taints are somebody's decision."""
    taints = {t for n in cluster.nodes.values() if (t := filters.blocking_taint(pod.spec, n))}
    chosen = sorted(f"{t.key}={t.value}" if t.value else t.key for t in taints
                    if not t.key.startswith("node.kubernetes.io/"))  # fmt: skip
    if chosen:
        return f"A toleration of the taint {' or '.join(chosen[:_NAMES_MAX])} would let it run."
    return (
        "It would run once such a node is in order again: `weft describe node` says what is wrong."
    )


def _cordoned(pod: Pod, cluster: Cluster) -> str:
    names = sorted(n.metadata.name for n in cluster.nodes.values() if n.spec.unschedulable)
    return f"`weft node uncordon {names[0]}` would let it run." if names else ""


def _labels(pod: Pod, cluster: Cluster) -> str:
    """The labels that no node has; else the combination."""
    nodes = cluster.nodes.values()
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    needed = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    terms = needed.node_selector_terms if needed is not None else ()
    if terms and not any(matches_term(t, n) for t in terms for n in nodes):
        wanted = " or ".join(_term(t) for t in terms[:_NAMES_MAX])
        return f"A node with {wanted} would let it run."
    selector = pod.spec.node_selector
    missing = [f"{k}={v}" for k, v in sorted(selector.items())
               if not any(n.metadata.labels.get(k) == v for n in nodes)]  # fmt: skip
    wanted = " and ".join(missing or [f"{k}={v}" for k, v in sorted(selector.items())])
    if not wanted:
        return ""
    return f"A node with the label {wanted} would let it run (`kubectl label node`)."


def _term(term: NodeSelectorTerm) -> str:
    parts = [
        {
            "In": f"{need.key} in ({', '.join(need.values)})",
            "NotIn": f"{need.key} not in ({', '.join(need.values)})",
            "Exists": f"the label {need.key}", "DoesNotExist": f"no label {need.key}",
            "Gt": f"{need.key} above {''.join(need.values)}",
            "Lt": f"{need.key} below {''.join(need.values)}",
        }.get(need.operator, need.key)
        for need in (*term.match_expressions, *term.match_fields)
    ]  # fmt: skip
    return " and ".join(parts)


def _ports(pod: Pod, cluster: Cluster) -> str:
    ports = sorted({p.host_port for c in pod.spec.containers for p in c.ports if p.host_port})
    named = ", ".join(map(str, ports))
    return f"Another hostPort than {named}, or a node where it is free, would let it run."


# --- other pods


def _near(pod: Pod, cluster: Cluster) -> str:
    affinity = pod.spec.affinity.pod_affinity if pod.spec.affinity else None
    terms = affinity.required_during_scheduling_ignored_during_execution if affinity else ()
    return f"It runs where a pod with {_pods(terms)} is: there is none, or no room beside it."


def _away(pod: Pod, cluster: Cluster) -> str:
    affinity = pod.spec.affinity.pod_anti_affinity if pod.spec.affinity else None
    terms = affinity.required_during_scheduling_ignored_during_execution if affinity else ()
    return f"Another node, away from pods with {_pods(terms)}, would let it run."


def _pods(terms: Iterable[PodAffinityTerm]) -> str:
    said = [f"{format_selector(t.label_selector)} (by {t.topology_key})" for t in terms]
    return " and ".join(said[:_NAMES_MAX])


def _repelled(pod: Pod, cluster: Cluster) -> str:
    return (
        "Another node, without pods that ask by anti-affinity to be away from it, would let it run."
    )


def _unlabelled(pod: Pod, cluster: Cluster) -> str:
    keys = sorted({
        c.topology_key for c in pod.spec.topology_spread_constraints
        if c.when_unsatisfiable != "ScheduleAnyway"
        and not all(c.topology_key in n.metadata.labels for n in cluster.nodes.values())
    })  # fmt: skip
    return f"The label {' and '.join(keys)} on the nodes, by which it is spread, would let it run."


def _spread(pod: Pod, cluster: Cluster) -> str:
    return (
        "Room where fewer of its like are, a larger maxSkew, or whenUnsatisfiable: ScheduleAnyway"
        " would let it run."
    )


def _say(sentence: str) -> "Callable[[Pod, Cluster], str]":
    return lambda _pod, _cluster: sentence


_REMEDIES: Mapping[str, Callable[[Pod, Cluster], str]] = {
    filters.REASON_UNSCHEDULABLE: _cordoned,
    filters.REASON_NOT_READY: _say("It would run once such a node is ready."),
    filters.REASON_AFFINITY: _labels,
    filters.REASON_PORTS: _ports,
    filters.REASON_PODS: _say("Fewer pods on such a node, or another node, would let it run."),
    constraints.REASON_AFFINITY: _near,
    constraints.REASON_ANTI_AFFINITY: _away,
    constraints.REASON_REPELLED: _repelled,
    constraints.REASON_NO_LABEL: _unlabelled,
    constraints.REASON_SPREAD: _spread,
    volume_needs.OTHER_NODE: _say("It runs on the node that has its volume."),
    volume_needs.NO_VOLUME: _say("A PersistentVolume that suits its claim would let it run."),
}
