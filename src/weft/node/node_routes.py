"""Kernel routes to the pods of other nodes: a node's pod network lies behind its address.

The machines must be on one network segment, as with flannel's `host-gw`. Calls of the mesh do not
need them, they go from proxy to proxy; what is no call of the mesh does.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
from collections.abc import Iterable

from weft.api.k8s.core_v1 import Node
from weft.node.linux import netlink

log = logging.getLogger("weft.node")


def wanted_routes(nodes: Iterable[Node], own: str) -> dict[str, str]:
    """Pod network -> address of its node, for all nodes but our own. What is no network or no
    address of a machine is left out; of two nodes that claim one network the older has it."""
    found: dict[str, str] = {}
    ordered = sorted(nodes, key=lambda n: (n.metadata.creation_timestamp, n.metadata.name))
    taken = {n.spec.pod_cidr for n in ordered if n.metadata.name == own}
    for node in ordered:
        network, address = node.spec.pod_cidr, internal_ip(node)
        if node.metadata.name == own or network in taken or not _usable(network, address):
            continue
        taken.add(network)
        found[network] = address
    return found


def internal_ip(node: Node) -> str:
    """The node's address for other nodes; "" when it says none."""
    found = (a.address for a in node.status.addresses if a.type == "InternalIP")
    return next(found, "")


def _usable(network: str, address: str) -> bool:
    try:
        return (
            not ipaddress.IPv4Address(address).is_loopback
            and ipaddress.IPv4Network(network).prefixlen >= 16
            and ipaddress.IPv4Address(address) not in ipaddress.IPv4Network(network)
        )
    except ValueError:
        return False


class NodeRoutes:
    """Keeps the kernel's routes as they shall be."""

    async def apply(self, wanted: dict[str, str]) -> None:
        """Add, change and remove. A gateway that cannot be reached is logged; the rest applies."""
        await asyncio.to_thread(_apply, wanted)

    async def remove(self) -> None:
        await asyncio.to_thread(_apply, {})


def _apply(wanted: dict[str, str]) -> None:
    with contextlib.closing(netlink.Netlink()) as node:
        present = node.node_routes()
        for network in present.keys() - wanted.keys():
            try:
                node.talk(node.delete_node_route(network))
            except OSError as error:
                if error.errno != errno.ESRCH:
                    log.warning("route not removed network=%s error=%s", network, error)
        for network, gateway in wanted.items():
            if present.get(network) == gateway:
                continue
            try:
                node.talk(node.node_route(network, gateway))
            except OSError as error:
                log.warning("no route to pods network=%s node=%s error=%s", network, gateway, error)
