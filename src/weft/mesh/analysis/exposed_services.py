"""Services and containers on nodes' own addresses: ports that somebody else has, addresses that
nobody has, affinity that does not end."""

from weft.api import gateway_bindings, service_places
from weft.api.gateway import v1 as gw
from weft.api.gateway_bindings import bind_owner
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.service_places import Held, pod_owner, service_owner
from weft.api.wellknown import (
    ANNOTATION_GATEWAY_HTTP3,
    ANNOTATION_NODE_GATEWAY_BINDINGS,
    ANNOTATION_NODE_RELAYED,
    ANNOTATION_NODE_SERVICE_PLACES,
)
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import World
from weft.mesh.findings import Findings

AFFINITY_SECONDS_DEFAULT = 10800


def lacking_ports(world: World, report: Findings) -> None:
    """Ports that nodes cannot open."""
    for node in world.list(Node):
        text = node.metadata.annotations.get(ANNOTATION_NODE_SERVICE_PLACES, "")
        held = {owner: h for owner, h in service_places.decode(text).items() if h.lacking}
        if not held:
            continue
        for service in world.list(Service):
            meta = service.metadata
            _lacking(service, held.get(service_owner(meta.namespace, meta.name)), node, report)
        for pod in world.list(Pod):
            meta = pod.metadata
            _lacking(pod, held.get(pod_owner(meta.namespace, meta.name)), node, report)


def _lacking(obj: Service | Pod, held: Held | None, node: Node, report: Findings) -> None:
    path = "spec.ports" if isinstance(obj, Service) else "spec.containers"
    relayed = node.metadata.annotations.get(ANNOTATION_NODE_RELAYED) == "true"
    for place in held.lacking if held else ():
        if relayed and place.transport == "udp":
            what = f"port {place.bound} of {place.address}"
            report.add(c.NO_DATAGRAMS, obj, path, node=node.metadata.name, what=what)
            continue
        report.add(
            c.PORT_TAKEN, obj, path,
            port=place.bound, address=place.address, node=node.metadata.name,
        )  # fmt: skip


def datagrams(world: World, report: Findings) -> None:
    """Gateways that ask for datagrams, on nodes that these do not reach."""
    nodes = [
        node.metadata.name
        for node in world.list(Node)
        if node.metadata.annotations.get(ANNOTATION_NODE_RELAYED) == "true"
    ]
    if not nodes:
        return
    node = ", ".join(nodes)
    every: tuple[gw.Gateway | istio.Gateway, ...]
    every = (*world.list(gw.Gateway), *world.list(istio.Gateway))
    for gateway in every:
        if gateway.metadata.annotations.get(ANNOTATION_GATEWAY_HTTP3) == "true":
            path = f"metadata.annotations[{ANNOTATION_GATEWAY_HTTP3}]"
            report.add(c.NO_DATAGRAMS, gateway, path, node=node, what="HTTP/3")
    for found in world.list(gw.Gateway):
        for index, listener in enumerate(found.spec.listeners):
            if listener.protocol == "UDP":
                what = f"port {listener.port}"
                path = f"spec.listeners[{index}]"
                report.add(c.NO_DATAGRAMS, found, path, node=node, what=what)


def addresses(world: World, report: Findings) -> None:
    """Addresses that load balancers ask for and no node has."""
    found = [
        gateway_bindings.decode(n.metadata.annotations.get(ANNOTATION_NODE_GATEWAY_BINDINGS, ""))
        for n in world.list(Node)
    ]
    for service in world.list(Service):
        meta, address = service.metadata, service.spec.load_balancer_ip
        owner = service_owner(meta.namespace, meta.name)
        if address and any(address in b[owner].unusable for b in found if owner in b):
            report.add(c.ADDRESS_UNUSABLE, service, "spec.loadBalancerIP", address=address)


def named_addresses(world: World, report: Findings) -> None:
    """Addresses that Gateways of Istio bind and no node has."""
    found = [
        gateway_bindings.decode(n.metadata.annotations.get(ANNOTATION_NODE_GATEWAY_BINDINGS, ""))
        for n in world.list(Node)
    ]
    for gateway in world.list(istio.Gateway):
        for index, server in enumerate(gateway.spec.servers):
            address = istio.bind_address(server)
            tried = [b[bind_owner(address)] for b in found if address and bind_owner(address) in b]
            if tried and all(each.unusable for each in tried):
                path = f"spec.servers[{index}].bind"
                report.add(c.BIND_UNUSABLE, gateway, path, address=address)


def affinity(world: World, report: Findings) -> None:
    """Time-outs of affinity that somebody wrote."""
    for service in world.list(Service):
        config = service.spec.session_affinity_config
        client = config.client_ip if config else None
        seconds = client.timeout_seconds if client else None
        if seconds and seconds != AFFINITY_SECONDS_DEFAULT:
            path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            report.add(c.AFFINITY_ENDLESS, service, path, seconds=seconds)


CHECKS = (lacking_ports, datagrams, addresses, named_addresses, affinity)
