"""The way to other nodes' proxies: the kernel of this node is told where each node's pods are
reached, whenever nodes come, go or move."""

import asyncio
import ipaddress
import logging
from collections.abc import Iterable

from msgspec import Struct

from weft.api.k8s.core_v1 import Node
from weft.mesh.model import NODE_MTLS_PORT
from weft.mesh.node_settings import node_addresses
from weft.node.network_netns import NetnsNetwork, NetworkError
from weft.runtime.informer import Informers

log = logging.getLogger("weft.node")

RETRY_SECONDS = 2.0


def wanted_gates(nodes: Iterable[Node], own: str) -> dict[str, str]:
    """Pod network -> address of its node, for all nodes but our own. Of two nodes that claim one
    network the older has it."""
    ordered = sorted(nodes, key=lambda n: (n.metadata.creation_timestamp, n.metadata.name))
    addresses = dict(node_addresses(ordered))
    taken = {n.spec.pod_cidr for n in ordered if n.metadata.name == own}
    found: dict[str, str] = {}
    for node in ordered:
        network, address = node.spec.pod_cidr, addresses.get(node.metadata.name, "")
        if node.metadata.name != own and address and network not in taken and _is_network(network):
            taken.add(network)
            found[network] = address
    return found


def _is_network(text: str) -> bool:
    try:
        ipaddress.IPv4Network(text)
    except ValueError:
        return False
    return True


class NodeGates:
    """`run` until cancelled."""

    def __init__(self, informers: Informers, network: NetnsNetwork, own: str) -> None:
        self._informers = informers
        self._network = network
        self._own = own
        self._changed = asyncio.Event()
        informers.add(Node)
        informers.subscribe(self._on_change)

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if cls is Node:
            self._changed.set()

    async def run(self) -> None:
        await self._informers.synced((Node,))
        opened: dict[str, str] = {}
        while True:
            self._changed.clear()
            wanted = wanted_gates(self._informers.cache.list(Node), self._own)
            if wanted != opened:
                try:
                    await self._network.open_gates(wanted, NODE_MTLS_PORT)
                    opened = wanted
                except NetworkError as error:
                    log.warning("%s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
            await self._changed.wait()
