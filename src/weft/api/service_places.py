"""Where a node listens for Services and pods on addresses of its own: an annotation of the Node.

The node's agent writes it, the mesh is made from it.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

Transport = Literal["tcp", "udp", "health"]
"""`health` is a healthCheckNodePort, which the proxy answers itself."""


class Place(Struct, frozen=True, order=True, array_like=True):
    """An address and port of the node, and the port of the Service or pod that it leads to."""

    address: str
    bound: int
    port: int
    transport: Transport = "tcp"


class Held(Struct, frozen=True, omit_defaults=True):
    """What one owner has on the node."""

    places: tuple[Place, ...] = ()
    lacking: tuple[Place, ...] = ()
    """What it should have and somebody else has."""


Places = Mapping[str, Held]
"""Owner (`Service <namespace>/<name>`, `Pod <namespace>/<name>`) -> what it has."""


def service_owner(namespace: str, name: str) -> str:
    return f"Service {namespace}/{name}"


def pod_owner(namespace: str, name: str) -> str:
    return f"Pod {namespace}/{name}"


def decode(text: str) -> dict[str, Held]:
    """From the annotation; what cannot be read is nothing."""
    try:
        return msgspec.json.decode(text, type=dict[str, Held]) if text else {}
    except msgspec.MsgspecError:
        return {}


def encode(places: Places) -> str:
    """For the annotation; equal values give equal text."""
    return msgspec.json.encode({name: places[name] for name in sorted(places)}).decode()
