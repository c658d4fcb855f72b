"""Services of type LoadBalancer: which addresses the nodes gave them, in their status.

The nodes' agents choose and bind the addresses (annotation `weft.dev/gateway-bindings` of the
Node); this controller only tells. Source of the status: Kubernetes' service controller.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api import gateway_bindings
from weft.api.gateway_bindings import Binding
from weft.api.k8s.core_v1 import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    PortStatus,
    Service,
    ServiceSpec,
)
from weft.api.service_places import service_owner
from weft.api.snapshot import Snapshot
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_BINDINGS
from weft.controllers.support.patches import status_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Key, Plan


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Bring the status to what the nodes have."""
    service = snapshot.get(Service, key.name, key.namespace)
    if service is None or service.metadata.deletion_timestamp:
        return NOTHING
    known = service.status.load_balancer or LoadBalancerStatus()
    ingress = tuple(_ingress(service, snapshot)) if service.spec.type == "LoadBalancer" else ()
    if ingress == known.ingress:
        return NOTHING
    wanted = LoadBalancerStatus(ingress=ingress)
    return Plan(status_patch(service, replace(service.status, load_balancer=wanted)))


def _ingress(service: Service, snapshot: Snapshot) -> Iterable[LoadBalancerIngress]:
    owner = service_owner(service.metadata.namespace, service.metadata.name)
    seen: set[str] = set()
    for node in sorted(snapshot.list(Node), key=lambda n: n.metadata.name):
        text = node.metadata.annotations.get(ANNOTATION_NODE_GATEWAY_BINDINGS, "")
        binding = gateway_bindings.decode(text).get(owner)
        for address in binding.addresses if binding and _complete(binding, service.spec) else ():
            if address not in seen and binding:
                seen.add(address)
                yield LoadBalancerIngress(ip=address, ip_mode="VIP", ports=_moved(binding))


def _complete(binding: Binding, spec: ServiceSpec) -> bool:
    """Whether all ports are bound: half a load balancer is none."""
    udp = {p.port for p in spec.ports if p.protocol == "UDP"}
    tcp = {p.port for p in spec.ports if p.protocol in ("", "TCP")}
    return tcp <= binding.ports.keys() and udp <= binding.udp_ports.keys()


def _moved(binding: Binding) -> tuple[PortStatus, ...]:
    """All ports as they are bound, when some could not be had (below 1024, for ordinary users)."""
    ports = ((p, "TCP") for p in binding.ports.items())
    every = [*ports, *((p, "UDP") for p in binding.udp_ports.items())]
    if all(port == bound for (port, bound), _ in every):
        return ()
    return tuple(PortStatus(port=bound, protocol=name) for (_, bound), name in every)


def _all_balanced(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return [
        Key(s.metadata.namespace, s.metadata.name)
        for s in snapshot.list(Service)
        if s.spec.type == "LoadBalancer"
    ]


CONTROLLER = Controller(
    name="loadbalancer",
    primary=Service,
    plan=plan,
    watches=(Watch(Node, _all_balanced),),
)
