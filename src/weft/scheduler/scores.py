"""How well a node suits a pod, 0 to 100 per score, weighed as Kubernetes weighs them."""

from collections.abc import Mapping

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import PodSpec
from weft.api.node_selectors import matches_term
from weft.scheduler.filters import Free, tolerates
from weft.scheduler.profiles import Profile
from weft.scheduler.resources import (
    CPU,
    MEMORY,
    SCORED_CPU_MIN_MILLICORES,
    SCORED_MEMORY_MIN_BYTES,
    Amounts,
)

SCORE_MAX = 100.0
WEIGHT_TAINTS = 3.0
WEIGHT_AFFINITY = 2.0


def packed(needs: Amounts, pod: tuple[int, int], free: Free, profile: Profile) -> float:
    """As `room`, by the strategy of a profile instead of least allocated."""
    cpu_offered, memory_offered = free.scored_offered
    cpu = (free.scored_cpu + pod[0]) / cpu_offered if cpu_offered else 1.0
    memory = (free.scored_memory + pod[1]) / memory_offered if memory_offered else 1.0
    shares = {CPU: cpu, MEMORY: memory}
    for name, _ in profile.resources:
        offered = free.offered.get(name, 0)
        if name not in shares and offered:
            shares[name] = (free.used.get(name, 0) + needs.get(name, 0)) / offered
    return profile.fit(shares) + SCORE_MAX * (1.0 - abs(min(1.0, cpu) - min(1.0, memory)) / 2)


def room(pod: tuple[int, int], free: Free) -> float:
    """Least allocated plus balanced: after the pod, much is free and cpu and memory are used
    evenly. `pod` is what it counts as (`scored`).

    With c and m the shares then taken, the two are (2 - c - m)/2 and 1 - |c - m|/2; their sum is
    2 - max(c, m). So a node's score never rises while pods are added to it.
    """
    cpu_offered, memory_offered = free.scored_offered
    cpu = (free.scored_cpu + pod[0]) / cpu_offered if cpu_offered else 1.0
    memory = (free.scored_memory + pod[1]) / memory_offered if memory_offered else 1.0
    return SCORE_MAX * (2.0 - min(1.0, max(cpu, memory)))


def scored(needs: Amounts) -> tuple[int, int]:
    """Millicores and bytes that a pod counts as when nodes are scored."""
    return (
        needs.get(CPU) or SCORED_CPU_MIN_MILLICORES,
        needs.get(MEMORY) or SCORED_MEMORY_MIN_BYTES,
    )


def preference(spec: PodSpec, nodes: Mapping[str, Node]) -> dict[str, float]:
    """Per node: preferred node affinity met, and PreferNoSchedule taints avoided."""
    avoided = _normalised({name: _taints(spec, node) for name, node in nodes.items()})
    liked = _normalised({name: _affinity(spec, node) for name, node in nodes.items()})
    return {
        name: WEIGHT_TAINTS * (SCORE_MAX - avoided[name]) + WEIGHT_AFFINITY * liked[name]
        for name in nodes
    }


def _taints(spec: PodSpec, node: Node) -> int:
    return sum(
        taint.effect == "PreferNoSchedule" and not tolerates(spec.tolerations, taint)
        for taint in node.spec.taints
    )


def _affinity(spec: PodSpec, node: Node) -> int:
    affinity = spec.affinity.node_affinity if spec.affinity else None
    if affinity is None:
        return 0
    return sum(
        term.weight or 0
        for term in affinity.preferred_during_scheduling_ignored_during_execution
        if term.preference is not None and matches_term(term.preference, node)
    )


def _normalised(values: Mapping[str, int]) -> dict[str, float]:
    highest = max(values.values(), default=0)
    if highest <= 0:
        return dict.fromkeys(values, 0.0)
    return {name: SCORE_MAX * value / highest for name, value in values.items()}
