"""Clusters and pods made up for a scheduling simulation; the scheduler itself is the real one.

Shapes are those of Kubernetes' scheduler benchmark (scheduler_perf): nodes of 4 cores, 32 GiB and
110 pods in three zones, pods of 100m and 500Mi.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.runtime.plan import Bind, Plan, RecordEvent

Shape = Literal[
    "basic", "affinity", "anti-affinity", "spread", "spread-hosts", "preferred", "node-affinity"
]
SHAPES: tuple[Shape, ...] = (
    "basic", "affinity", "anti-affinity", "spread", "spread-hosts", "preferred", "node-affinity",
)  # fmt: skip
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
LABELS = {"app": "simulated"}


class Outcome(Struct, frozen=True):
    """What came of a cycle."""

    bound: int
    waiting: int
    per_zone: Mapping[str, int]
    fullest: int
    """Pods on the fullest node."""
    emptiest: int
    reasons: Mapping[str, int]
    """Why pods wait, and how many."""


def nodes(count: int, zones: int, cpu: str, memory: str) -> list[Node]:
    ready = [{"type": "Ready", "status": "True"}]
    amounts = {"cpu": cpu, "memory": memory, "pods": "110"}
    return [
        msgspec.convert(
            {
                "metadata": {
                    "name": f"node-{i}",
                    "labels": {ZONE: f"zone-{i % zones}", HOST: f"node-{i}"},
                },
                "status": {"conditions": ready, "allocatable": amounts},
            },
            Node,
        )
        for i in range(count)
    ]


def pods(count: int, shape: Shape, cpu: str, memory: str) -> list[Pod]:
    """Pods that wait, all alike."""
    spec = _spec(shape) | {"containers": [_container(cpu, memory)]}
    one = msgspec.convert(
        {"metadata": {"namespace": "default", "labels": LABELS}, "spec": spec}, Pod
    )
    return [
        msgspec.structs.replace(
            one, metadata=msgspec.structs.replace(one.metadata, name=f"pod-{i}", uid=f"pod-{i}")
        )
        for i in range(count)
    ]


def _container(cpu: str, memory: str) -> dict[str, Any]:
    return {"name": "main", "resources": {"requests": {"cpu": cpu, "memory": memory}}}


def _spec(shape: Shape) -> dict[str, Any]:
    selector = {"matchLabels": LABELS}
    zone = {"topologyKey": ZONE, "labelSelector": selector}
    host = {"topologyKey": HOST, "labelSelector": selector}
    hard, soft = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    match shape:
        case "affinity":
            return {"affinity": {"podAffinity": {hard: [zone]}}}
        case "anti-affinity":
            return {"affinity": {"podAntiAffinity": {hard: [host]}}}
        case "preferred":
            weighted = [{"weight": 100, "podAffinityTerm": zone}]
            return {"affinity": {"podAntiAffinity": {soft: weighted}}}
        case "spread" | "spread-hosts":
            term = zone if shape == "spread" else host
            constraint = {"maxSkew": 5, "whenUnsatisfiable": "DoNotSchedule", **term}
            return {"topologySpreadConstraints": [constraint]}
        case "node-affinity":
            need = {"key": ZONE, "operator": "In", "values": ["zone-0"]}
            terms = {"nodeSelectorTerms": [{"matchExpressions": [need]}]}
            return {"affinity": {"nodeAffinity": {hard: terms}}}
    return {}


def outcome(plan: Plan, nodes: Sequence[Node], waiting: int) -> Outcome:
    """Counts of a plan of the scheduler."""
    zones = {n.metadata.name: n.metadata.labels.get(ZONE, "") for n in nodes}
    per_node = Counter({n.metadata.name: 0 for n in nodes})
    per_node.update(a.node for a in plan.actions if isinstance(a, Bind))
    per_zone: Counter[str] = Counter()
    for name, count in per_node.items():
        per_zone[zones[name]] += count
    bound = sum(per_node.values())
    return Outcome(
        bound=bound,
        waiting=waiting - bound,
        per_zone=dict(sorted(per_zone.items())),
        fullest=max(per_node.values(), default=0),
        emptiest=min(per_node.values(), default=0),
        reasons=_reasons(plan.actions),
    )


def _reasons(actions: Iterable[object]) -> Mapping[str, int]:
    return Counter(
        a.message for a in actions if isinstance(a, RecordEvent) and a.reason == "FailedScheduling"
    )
