"""What pods request and nodes offer, as whole numbers: millicores for cpu, else base units."""

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from weft.api.k8s.container_v1 import Container, ResourceRequirements
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod, PodSpec
from weft.lib.quantity import parse_quantity

Amounts = Mapping[str, int]

CPU = "cpu"
MEMORY = "memory"
PODS = "pods"
PODS_PER_NODE_DEFAULT = 110
"""For nodes that do not say (the kubelet's default)."""
SCORED_CPU_MIN_MILLICORES = 100
SCORED_MEMORY_MIN_BYTES = 200 * 1024 * 1024
"""What a pod without requests counts as when nodes are scored, so that such pods spread too."""
_QUANTITIES_CACHED_MAX = 4096
_NO_PORTS: frozenset[tuple[str, str, int]] = frozenset()


@lru_cache(maxsize=_QUANTITIES_CACHED_MAX)
def amount(resource: str, text: str | int | float) -> int:
    """A quantity rounded up to whole units; 0 when it cannot be read."""
    try:
        value = parse_quantity(text)
    except ValueError:
        return 0
    return math.ceil(value * 1000 if resource == CPU else value)


def amounts(quantities: Mapping[str, str | int | float]) -> dict[str, int]:
    return {name: amount(name, text) for name, text in quantities.items()}


def offered(node: Node) -> dict[str, int]:
    """What pods may use of a node."""
    return {PODS: PODS_PER_NODE_DEFAULT} | amounts(node.status.allocatable)


def requested(spec: PodSpec) -> dict[str, int]:
    """What a pod needs at any one time: its containers together (with init containers that keep
    running), or its largest init container if that is more; plus overhead. Requests made for the
    pod as a whole replace those of its containers."""
    containers = spec.containers
    if len(containers) == 1:  # by far the most frequent, and cycles ask it of every pod
        total = _requests(containers[0].resources)
    else:
        total = _sum(_requests(c.resources) for c in containers)
    if spec.init_containers:
        total = _with_init(total, spec.init_containers)
    if spec.resources is not None:
        total |= _requests(spec.resources)
    if spec.overhead:
        total = _sum((total, amounts(spec.overhead)))
    return total


def host_ports(pod: Pod) -> frozenset[tuple[str, str, int]]:
    """(host IP, protocol, port) that the pod's containers take on the node."""
    if not any(c.ports for c in pod.spec.containers):
        return _NO_PORTS
    return frozenset(
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
    )


def _requests(resources: ResourceRequirements | None) -> dict[str, int]:
    """A limit without a request is the request."""
    if resources is None:
        return {}
    if not resources.limits:
        return amounts(resources.requests)
    return amounts({**resources.limits, **resources.requests})


def _with_init(total: dict[str, int], init: Iterable[Container]) -> dict[str, int]:
    running: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in init:
        needs = _sum((running, _requests(container.resources)))
        peak = _max(peak, needs)
        if container.restart_policy == "Always":
            running = needs
    return _max(_sum((total, running)), peak)


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def _max(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in (*one, *other)}
