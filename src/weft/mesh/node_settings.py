"""What a Node object says about its proxy."""

import ipaddress
from collections.abc import Iterable

import msgspec

from weft.api import gateway_bindings, service_places
from weft.api.k8s.core_v1 import Node
from weft.api.wellknown import (
    ANNOTATION_NODE_ADDRESS,
    ANNOTATION_NODE_FIRST_PORT,
    ANNOTATION_NODE_GATEWAY_ADDRESS,
    ANNOTATION_NODE_GATEWAY_BINDINGS,
    ANNOTATION_NODE_GATEWAY_PORTS,
    ANNOTATION_NODE_ISOLATION,
    ANNOTATION_NODE_PASSTHROUGH_ADDRESS,
    ANNOTATION_NODE_RELAYED,
    ANNOTATION_NODE_SERVICE_PLACES,
    ISOLATION_HOST,
    LABELS_LOCALITY,
)
from weft.mesh.model import GatewayBinding, NodePlace, NodeSettings

GATEWAY_ADDRESS_DEFAULT = "127.0.0.1"


def node_settings(node: Node) -> NodeSettings:
    """Reads a node's annotations; what is absent or unreadable takes its default."""
    annotations = node.metadata.annotations
    isolation = annotations.get(ANNOTATION_NODE_ISOLATION, "")
    first_port = annotations.get(ANNOTATION_NODE_FIRST_PORT, "")
    return NodeSettings(
        name=node.metadata.name,
        isolation="host" if isolation == ISOLATION_HOST else "netns",
        address=annotations.get(ANNOTATION_NODE_ADDRESS, ""),
        passthrough_address=annotations.get(ANNOTATION_NODE_PASSTHROUGH_ADDRESS, ""),
        gateway_address=annotations.get(ANNOTATION_NODE_GATEWAY_ADDRESS, "")
        or GATEWAY_ADDRESS_DEFAULT,
        gateway_ports=_ports(annotations.get(ANNOTATION_NODE_GATEWAY_PORTS, "")),
        gateway_bindings=_bindings(annotations.get(ANNOTATION_NODE_GATEWAY_BINDINGS, "")),
        places=_places(annotations.get(ANNOTATION_NODE_SERVICE_PLACES, "")),
        locality=locality(node),
        first_port=int(first_port) if first_port.isdecimal() else 0,
        relayed=annotations.get(ANNOTATION_NODE_RELAYED) == "true",
    )


def node_addresses(nodes: Iterable[Node]) -> tuple[tuple[str, str], ...]:
    """(name, InternalIP) of the nodes whose proxies can take each other's calls: pods have networks
    of their own there, and other machines can reach the address."""
    found = []
    for node in nodes:
        addresses = (a.address for a in node.status.addresses if a.type == "InternalIP")
        address = next(addresses, "")
        host = node.metadata.annotations.get(ANNOTATION_NODE_ISOLATION) == ISOLATION_HOST
        if not host and _reachable(address):
            found.append((node.metadata.name, address))
    return tuple(sorted(found))


def _reachable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_link_local)


def locality(node: Node) -> str:
    """`region/zone/subzone` from the node's labels, shortened where parts are absent; empty when
    there is neither region nor zone."""
    parts = [node.metadata.labels.get(name, "") for name in LABELS_LOCALITY]
    return "/".join(parts).rstrip("/") if parts[0] or parts[1] else ""


def _ports(text: str) -> tuple[tuple[int, int], ...]:
    if not text:
        return ()
    try:
        return tuple(sorted(msgspec.json.decode(text, type=dict[int, int]).items()))
    except msgspec.DecodeError:
        return ()


def _places(text: str) -> tuple[NodePlace, ...]:
    return tuple(
        NodePlace(owner, place.address, place.bound, place.port, place.transport)
        for owner, held in sorted(service_places.decode(text).items())
        for place in held.places
    )


def _bindings(text: str) -> tuple[GatewayBinding, ...]:
    return tuple(
        GatewayBinding(
            name,
            found.addresses,
            tuple(sorted(found.ports.items())),
            tuple(sorted(found.udp_ports.items())),
            found.unusable,
        )
        for name, found in sorted(gateway_bindings.decode(text).items())
    )
