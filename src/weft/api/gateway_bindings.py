"""Where a node binds the ports of Gateways with addresses of their own: an annotation of the Node.

The node's agent writes it, the mesh and statuses are made from it.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct


class Binding(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What one Gateway has on the node."""

    addresses: tuple[str, ...] = ()
    ports: dict[int, int] = {}
    """Gateway port -> port bound for it, the same at all addresses; TCP."""
    udp_ports: dict[int, int] = {}
    unusable: tuple[str, ...] = ()
    """Addresses that the Gateway asks for and the node cannot bind."""


Bindings = Mapping[str, Binding]
"""Gateway (`<namespace>/<name>`) -> what it has."""


def bind_owner(address: str) -> str:
    """Who has what Istio's Gateways bind at an address that they name."""
    return f"bind {address}"


def decode(text: str) -> dict[str, Binding]:
    """From the annotation; what cannot be read is nothing."""
    try:
        return msgspec.json.decode(text, type=dict[str, Binding]) if text else {}
    except msgspec.MsgspecError:
        return {}


def encode(bindings: Bindings) -> str:
    """For the annotation; equal values give equal text."""
    return msgspec.json.encode({name: bindings[name] for name in sorted(bindings)}).decode()
