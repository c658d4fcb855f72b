"""How many pods of which kind are in which part of the cluster: counts by the value of a label of
their nodes, kept up while a cycle places pods. Pure values, one instance per cycle.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
from msgspec import Struct

from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod, PodAffinityTerm
from weft.api.selectors import Selector, from_selector

_SELECTORS_CACHED_MAX = 4096


class Term(Struct, frozen=True):
    """Pods of some namespaces with some labels, by the value of a label of their nodes."""

    key: str
    """The node label (topologyKey)."""
    namespaces: frozenset[str]
    """Empty: all."""
    selector: bytes
    """A LabelSelector as JSON, so that equal terms are one."""

    def matches(self, pod: Pod) -> bool:
        if self.namespaces and pod.metadata.namespace not in self.namespaces:
            return False
        return _compiled(self.selector).matches(pod.metadata.labels)


@lru_cache(maxsize=_SELECTORS_CACHED_MAX)
def _compiled(selector: bytes) -> Selector:
    found = from_selector(msgspec.json.decode(selector, type=LabelSelector))
    assert found is not None
    return found


def encoded(
    selector: LabelSelector | None,
    labels: Mapping[str, str],
    keys: Iterable[str] = (),
    other: Iterable[str] = (),
) -> bytes:
    """The selector, narrowed to pods with the same (`keys`) or another (`other`) value as
    `labels`. Without a selector nothing is meant: a selector that matches no pod."""
    if selector is None:
        none = {"key": "weft.dev/nothing", "operator": "In", "values": ["-"]}
        return msgspec.json.encode({"matchExpressions": [none]})
    body = msgspec.to_builtins(selector)
    more = [(k, "In") for k in keys if k in labels] + [(k, "NotIn") for k in other if k in labels]
    needs = [{"key": k, "operator": op, "values": [labels[k]]} for k, op in more]
    if needs:
        body = {**body, "matchExpressions": [*body.get("matchExpressions", ()), *needs]}
    return msgspec.json.encode(body, order="deterministic")


def affinity_term(pod: Pod, term: PodAffinityTerm, namespaces: "Namespaces") -> Term:
    """A term of a pod's affinity; without namespaces it means the pod's own."""
    chosen = set(term.namespaces)
    everywhere = False
    if term.namespace_selector is not None:
        found = from_selector(term.namespace_selector)
        assert found is not None
        everywhere = not found.requirements
        chosen |= {name for name, labels in namespaces.items() if found.matches(labels)}
        if not chosen:
            chosen = {""}  # the selector chooses none: no pod is meant
    elif not chosen:
        chosen = {pod.metadata.namespace}
    selector = encoded(
        term.label_selector, pod.metadata.labels, term.match_label_keys, term.mismatch_label_keys
    )
    return Term(term.topology_key, frozenset() if everywhere else frozenset(chosen), selector)


Namespaces = Mapping[str, Mapping[str, str]]
"""Labels of every namespace."""


class Counts:
    """Pods of one term, or holders of one, by domain."""

    def __init__(self) -> None:
        self.by_domain: dict[str, int] = {}
        self.total = 0

    def add(self, domain: str | None) -> None:
        if domain is not None:
            self.by_domain[domain] = self.by_domain.get(domain, 0) + 1
            self.total += 1

    def at(self, domain: str | None) -> int:
        return self.by_domain.get(domain, 0) if domain is not None else 0


class Topology:
    """All counts of one cycle. Terms are counted from when they are first asked for."""

    def __init__(
        self,
        labels: Mapping[str, Mapping[str, str]],
        pods: Iterable[Pod],
        namespaces: Namespaces,
    ) -> None:
        """`labels` of every node; `pods` that are on nodes."""
        self._labels = labels
        self.namespaces = namespaces
        self._pods: list[tuple[Pod, str]] = []
        self._counts: dict[Term, Counts] = {}
        self._holders: dict[Term, Counts] = {}
        for pod in pods:
            self.place(pod, pod.spec.node_name)

    @property
    def holders(self) -> int:
        """Different terms by which pods on nodes keep others away."""
        return len(self._holders)

    def domain(self, node: str, key: str) -> str | None:
        """The value of the node's label."""
        return self._labels.get(node, {}).get(key)

    def place(self, pod: Pod, node: str) -> None:
        """A pod is on a node from now on."""
        self._pods.append((pod, node))
        if self._counts:
            for term, counts in self._counted(pod):
                counts.add(self.domain(node, term.key))
        for term in required_anti_terms(pod, self.namespaces):
            self._holders.setdefault(term, Counts()).add(self.domain(node, term.key))

    def _counted(self, pod: Pod) -> Sequence[tuple[Term, Counts]]:
        return [(t, c) for t, c in self._counts.items() if t.matches(pod)]

    def counts(self, term: Term) -> Counts:
        """Of the pods that the term means. Pods on their way out count."""
        found = self._counts.get(term)
        if found is None:
            found = self._counts[term] = Counts()
            for pod, node in self._pods:
                if term.matches(pod):
                    found.add(self.domain(node, term.key))
        return found

    def repelled(self, pod: Pod) -> Sequence[tuple[Term, Counts]]:
        """Terms by which pods on nodes keep this pod away, and where those pods are."""
        return [(t, c) for t, c in self._holders.items() if t.matches(pod)]


def required_anti_terms(pod: Pod, namespaces: Namespaces) -> Sequence[Term]:
    affinity = pod.spec.affinity
    anti = affinity.pod_anti_affinity if affinity is not None else None
    if anti is None:
        return ()
    terms = anti.required_during_scheduling_ignored_during_execution
    return [affinity_term(pod, t, namespaces) for t in terms]
