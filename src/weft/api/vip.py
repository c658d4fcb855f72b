"""Addresses of hosts that have none of their own: ServiceEntries by name.

The DNS of the node answers with them, the mesh routes by them; both derive the address from the
host name alone, so nothing has to be stored or agreed upon.
"""

import hashlib
import ipaddress

VIP_NETWORK = ipaddress.IPv4Network("240.240.0.0/12")
"""Part of the reserved class E range, which Istio uses for the same purpose; never on a wire."""


def vip_for(host: str) -> str:
    """The address of a host name; equal names (case and a final dot aside) give equal addresses.

    Two names may share an address (1 pair in 2^20): routing by Host tells them apart, raw TCP
    cannot, and the mesh reports that.
    """
    digest = hashlib.sha256(host.lower().rstrip(".").encode()).digest()
    usable = VIP_NETWORK.num_addresses - 2
    return str(VIP_NETWORK[1 + int.from_bytes(digest[:8], "big") % usable])
