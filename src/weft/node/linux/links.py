"""What a pod may send on its link: frames and packets from its own addresses.

The rules stand on the node's end of the pod's pair of devices, where the pod cannot reach them,
whatever it may do in its own network. So it can neither send in another's name nor (by ARP) have
sent to itself what is for another pod or for the node. IPv6 and VLANs do not exist on pods' links.
"""

import socket

from weft.node.linux import nft
from weft.node.linux.nft import Chain, Table

ARP, IPV4 = 0x0806, 0x0800
LINK_PREFIX = b"\x0a\x57"
"""Of pods' hardware addresses: set locally, for one receiver. Their address follows."""


def link_address(address: str) -> bytes:
    """The hardware address of the pod with this address: no two pods of a node share one."""
    return LINK_PREFIX + socket.inet_aton(address)


def link_table(device: str, address: str) -> Table:
    """The part of the node's table that is for the pod behind this device. It is always the same
    for a device of this name: what an earlier pod left is right for the next one."""
    own = link_address(address)
    rules = (
        nft.frame(own, IPV4) + nft.source(f"{address}/32") + nft.give_back(),
        nft.frame(own, ARP) + nft.arp_sender(own, address) + nft.give_back(),
        nft.drop(),
    )
    chain = Chain(device, nft.HOOK_INGRESS, 0, "filter", device)
    return Table((chain,), tuple((device, rule) for rule in rules), nft.LINK)


def trial_table(device: str, address: str) -> Table:
    """As `link_table`, and drops nothing."""
    table = link_table(device, address)
    return table._replace(rules=table.rules[:-1])
