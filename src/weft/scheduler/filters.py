"""Whether a pod may run on a node, and if not, why. Reasons are Kubernetes' words.

Static filters look at what pods and nodes declare; `fits` looks at what is still free.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from weft.api import node_selectors
from weft.api.conditions import is_true
from weft.api.k8s.core_v1 import Node, Taint
from weft.api.k8s.pod_v1 import PodSpec, Toleration
from weft.api.taints import TAINT_MEMORY_PRESSURE, TAINT_NOT_READY, TAINT_UNSCHEDULABLE, covers
from weft.scheduler.resources import PODS, Amounts

Port = tuple[str, str, int]

NOT_READY = Taint(key=TAINT_NOT_READY, effect="NoSchedule")
UNSCHEDULABLE = Taint(key=TAINT_UNSCHEDULABLE, effect="NoSchedule")
REASON_UNSCHEDULABLE = "node(s) were unschedulable"
REASON_NOT_READY = "node(s) were not ready"
REASON_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
REASON_PORTS = "node(s) didn't have free ports for the requested pod ports"
REASON_PODS = "Too many pods"
REASON_TAINTED = "node(s) had untolerated taint"
_BLOCKING = ("NoSchedule", "NoExecute")
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104


class Free(Struct):
    """What a node offers and what its pods take of it. Changes while a cycle places pods."""

    offered: Amounts
    used: dict[str, int]
    ports: set[Port]
    scored_cpu: int = 0
    """Millicores taken, pods without a request counted at the least that scores assume."""
    scored_memory: int = 0
    """Bytes taken, counted likewise."""
    scored_offered: tuple[int, int] = (0, 0)
    """Millicores and bytes offered."""


def refusal(spec: PodSpec, node: Node) -> str:
    """Why the pod may never run on the node as both are declared; "" when it may."""
    for reason_of in _STATIC:
        if reason := reason_of(spec, node):
            return reason
    return ""


def shortages(needs: Amounts, ports: frozenset[Port], free: Free) -> Sequence[str]:
    """What the node lacks for the pod right now; empty when it fits."""
    found = []
    used, offered = free.used, free.offered
    if ports and _clash(ports, free.ports):
        found.append(REASON_PORTS)
    if used[PODS] + 1 > offered[PODS]:
        found.append(REASON_PODS)
    for name, need in needs.items():
        if need > 0 and need > offered.get(name, 0) - used.get(name, 0):
            found.append(f"Insufficient {name}")
    return found


def _clash(wanted: Iterable[Port], taken: Iterable[Port]) -> bool:
    return any(
        port == other_port
        and protocol == other_protocol
        and (address == other or _ANY_ADDRESS in (address, other))
        for address, protocol, port in wanted
        for other, other_protocol, other_port in taken
    )


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether any toleration covers the taint (empty key with Exists covers all)."""
    return any(covers(t, taint) for t in tolerations)


def asks_for_something(spec: PodSpec) -> bool:
    """Whether its quality of service class is another than BestEffort."""
    for containers in (spec.containers, spec.init_containers):
        for container in containers:
            asked = container.resources
            if asked is None:
                continue
            # Written out: this is asked for every pod of a cycle.
            for side in (asked.requests, asked.limits):
                if side.get("cpu", "0") != "0" or side.get("memory", "0") != "0":
                    return True
    return False


def _unschedulable(spec: PodSpec, node: Node) -> str:
    blocked = node.spec.unschedulable and not tolerates(spec.tolerations, UNSCHEDULABLE)
    return REASON_UNSCHEDULABLE if blocked else ""


def tainted(spec: PodSpec, node: Node) -> str:
    """The taint that keeps the pod away, in words; "" for none."""
    taint = blocking_taint(spec, node)
    return f"{REASON_TAINTED} {{{taint.key}: {taint.value}}}" if taint is not None else ""


def blocking_taint(spec: PodSpec, node: Node) -> Taint | None:
    """The taint that keeps the pod away. Only pods that asked for nothing stay away from a node
    that is short of memory."""
    for taint in node.spec.taints:
        if taint.key == TAINT_MEMORY_PRESSURE and asks_for_something(spec):
            continue
        if taint.effect in _BLOCKING and not tolerates(spec.tolerations, taint):
            return taint
    return None


def _affine(spec: PodSpec, node: Node) -> str:
    return "" if node_selectors.admits(spec, node) else REASON_AFFINITY


def _ready(spec: PodSpec, node: Node) -> str:
    if is_true(node.status.conditions, "Ready"):
        return ""
    return "" if tolerates(spec.tolerations, NOT_READY) else REASON_NOT_READY


_STATIC: tuple[Callable[[PodSpec, Node], str], ...] = (
    _unschedulable,
    tainted,
    _affine,
    _ready,
)


def placement(spec: PodSpec) -> tuple[object, ...]:
    """All of a pod that static filters and preferences read."""
    return spec.node_selector, spec.affinity, spec.tolerations, asks_for_something(spec)
