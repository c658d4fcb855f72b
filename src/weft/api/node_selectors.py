"""Which nodes a pod's node selector and required node affinity admit. Pure.

Source: Kubernetes' component-helpers nodeaffinity.
"""

from collections.abc import Mapping

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
)

FIELD_NAME = "metadata.name"


def admits(spec: PodSpec, node: Node) -> bool:
    """Whether the pod's node selector and required node affinity take the node."""
    labels = node.metadata.labels
    if any(labels.get(k) != v for k, v in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity else None
    needed = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return needed is None or matches(needed, node)


def matches(selector: NodeSelector, node: Node) -> bool:
    """Whether any term takes the node."""
    return any(matches_term(t, node) for t in selector.node_selector_terms)


def matches_term(term: NodeSelectorTerm, node: Node) -> bool:
    """Whether a node satisfies every requirement; an empty term matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {FIELD_NAME: node.metadata.name}
    return all(_meets(r, node.metadata.labels) for r in term.match_expressions) and all(
        _meets(r, fields) for r in term.match_fields
    )


def named(spec: PodSpec) -> frozenset[str] | None:
    """The only nodes that required affinity by name leaves (as pods of DaemonSets have it); None
    when it does not say."""
    affinity = spec.affinity.node_affinity if spec.affinity else None
    needed = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    if needed is None or not needed.node_selector_terms:
        return None
    names: set[str] = set()
    for term in needed.node_selector_terms:
        exact = [r for r in term.match_fields if r.key == FIELD_NAME and r.operator == "In"]
        if not exact:
            return None
        names.update(exact[0].values)
    return frozenset(names)


def _meets(need: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(need.key)
    match need.operator:
        case "In":
            return value in need.values
        case "NotIn":
            return value not in need.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(need, value)
    return False


def _compares(need: NodeSelectorRequirement, value: str | None) -> bool:
    try:
        left, right = int(value or ""), int(need.values[0])
    except (ValueError, IndexError):
        return False
    return left > right if need.operator == "Gt" else left < right
