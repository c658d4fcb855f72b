"""Where nodes would listen for callers from outside, if all objects were applied and every port and
address were free."""

import ipaddress
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.mesh.model import GatewayBinding, MeshModel, NodePlace, NodeSettings
from weft.mesh.node_settings import node_settings
from weft.node.node_ports import asked_places, load_balancers
from weft.offline.configuration import with_gateway_ports

BALANCER_NETWORK = ipaddress.IPv4Network("127.129.0.0/16")
"""Stands for the addresses that a node would give to Services of type LoadBalancer."""


def settings_of_nodes(snapshot: Snapshot, model: MeshModel) -> tuple[NodeSettings, ...]:
    """The settings of all nodes. What a node says that it has bound stands."""
    services, pods = tuple(snapshot.list(Service)), tuple(snapshot.list(Pod))
    return tuple(_settings(node, model, services, pods) for node in snapshot.list(Node))


def _settings(
    node: Node, model: MeshModel, services: Iterable[Service], pods: Iterable[Pod]
) -> NodeSettings:
    known = with_gateway_ports(node_settings(node), model)
    own = [a.address for a in node.status.addresses if a.type == "InternalIP"]
    addresses = tuple(dict.fromkeys((*own[:1], known.gateway_address)))
    places = known.places or tuple(
        NodePlace(asked.owner, place.address, place.bound, place.port, place.transport)
        for asked in asked_places(services, pods, node.metadata.name, addresses)
        for place in asked.places
    )
    named = {binding.gateway for binding in known.gateway_bindings}
    missing = (b for b in _balancers(services) if b.gateway not in named)
    return replace(known, places=places, gateway_bindings=(*known.gateway_bindings, *missing))


def _balancers(services: Iterable[Service]) -> Iterator[GatewayBinding]:
    for number, wanted in enumerate(load_balancers(services)):
        address = wanted.addresses or (str(BALANCER_NETWORK[number + 1]),)
        tcp, udp = (tuple((p, p) for p in ports) for ports in (wanted.ports, wanted.udp_ports))
        yield GatewayBinding(wanted.gateway, address, tcp, udp)
