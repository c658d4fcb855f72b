"""Ports on the node: for pods in host isolation, for ingress gateways. Pure: `free` is asked."""

from collections.abc import Callable, Iterable, Mapping

from weft.api.istio.networking_v1 import Gateway, bind_address, is_egress
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.selectors import matches_labels
from weft.lib.ports import PORT_OFFSET

HOST_PORT_FIRST = 20000
HOST_PORT_LAST = 29999
HOST_PORTS = HOST_PORT_LAST - HOST_PORT_FIRST + 1
"""Below the usual ephemeral range (32768), above what services use."""
GATEWAY_PORT_LAST = 65535


def wanted_ports(pod: Pod, services: Iterable[Service]) -> tuple[int, ...]:
    """Container ports that need one on the host: those declared, and numeric target ports of
    services that select the pod."""
    declared = [
        p.container_port
        for c in (*pod.spec.init_containers, *pod.spec.containers)
        for p in c.ports
        if p.container_port
    ]
    targets = [
        target
        for service in services
        if service.metadata.namespace == pod.metadata.namespace
        and matches_labels(service.spec.selector, pod.metadata.labels)
        for port in service.spec.ports
        if isinstance(target := port.target_port or port.port, int)
    ]
    return tuple(dict.fromkeys((*declared, *targets)))


def allocate_host_ports(
    wanted: Iterable[int], taken: frozenset[int], start: int, free: Callable[[int], bool]
) -> dict[int, int]:
    """A host port for each container port, from `start` on, around the range. Ports for which
    none is free are left out."""
    allocated: dict[int, int] = {}
    candidates = (HOST_PORT_FIRST + (start + i) % HOST_PORTS for i in range(HOST_PORTS))
    for port in wanted:
        found = next((c for c in candidates if c not in taken and free(c)), None)
        if found is None:
            break
        allocated[port] = found
    return allocated


def gateway_ports(gateways: Iterable[Gateway]) -> tuple[int, ...]:
    """Every port that a Gateway asks for without naming an address, in order."""
    numbers = {
        server.port.number
        for gateway in gateways
        for server in (() if is_egress(gateway) else gateway.spec.servers)
        if server.port is not None and server.port.number and bind_address(server) == ""
    }
    return tuple(sorted(numbers))


def allocate_gateway_ports(
    wanted: Iterable[int], before: Mapping[int, int], free: Callable[[int], bool]
) -> dict[int, int]:
    """Gateway port -> host port: what it had before; the port itself when it can be bound; 8000
    more; else the next free one. Ports for which none is free are left out."""
    allocated = {port: before[port] for port in wanted if port in before}
    for port in wanted:
        if port in allocated:
            continue
        higher = port + PORT_OFFSET
        candidates = (port, *range(higher, GATEWAY_PORT_LAST + 1))
        taken = set(allocated.values())
        found = next((c for c in candidates if c not in taken and free(c)), None)
        if found is not None:
            allocated[port] = found
    return dict(sorted(allocated.items()))
