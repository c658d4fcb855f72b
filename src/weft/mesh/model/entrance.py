"""Calls from other nodes: what a node's proxy takes from the proxies of others."""

from msgspec import Struct

from weft.mesh.model.access import AccessPolicy
from weft.mesh.model.workload import Workload

NODE_MTLS_PORT = 15008
"""Where node proxies take each other's calls, at the node's InternalIP."""


class Peers(Struct, frozen=True, gc=False):
    """What a node needs to know of the mesh beyond it, to call and be called."""

    address: str = ""
    """The node's own for others; empty: nobody can call in."""
    identity: str = ""
    """The node's own SPIFFE ID, for calls of those whom nobody knows."""
    nodes: tuple[tuple[str, str], ...] = ()
    """(name, address) of the other nodes whose proxies take calls."""
    trust_domains: tuple[str, ...] = ("cluster.local",)
    """The mesh's own, then those that count as it."""
    connection_seconds: float = 3 * 3600.0
    """Connections between nodes are made anew after so long, before their certificates end."""


class Entrance(Struct, frozen=True, gc=False):
    """A port of a pod that others nodes' proxies may connect to."""

    name: str
    """The server name (SNI) that stands for it."""
    workload: Workload
    port: int
    requests: bool
    """Connections may carry HTTP; the caller's proxy says whether they do (ALPN)."""
    policies: tuple[AccessPolicy, ...] = ()
    """For requests, as far as they can be judged here."""
    callers: tuple[str, ...] | None = None
    """Principals that may open connections of bytes ("": those whom nobody knows); None: all."""
    through_inbound: bool = False
    """Calls go on to the pod's own inbound listener."""


def entrance_name(uid: str, port: int) -> str:
    """The server name of a pod's port: of this pod, never of a later one with its address."""
    return f"p{port}.{uid}"
