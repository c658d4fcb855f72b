"""Gateways: ports on which traffic from outside the mesh arrives."""

from typing import Literal

from msgspec import Struct

from weft.mesh.model.tls import GatewayTls
from weft.mesh.model.workload import TcpRoute


class GatewayServer(Struct, frozen=True, gc=False):
    """One TLS name set (or plain HTTP) on a gateway port."""

    name: str
    """`<namespace>/<gateway>/<server index>`."""
    hosts: tuple[str, ...]
    route_table: str
    """Name of the HTTP route table; empty for TCP."""
    tcp: TcpRoute | None = None
    tls: GatewayTls | None = None
    https_redirect: bool = False
    http3: bool = False
    """HTTP/3 is spoken on the UDP port of the same number, and clients are told so."""


class GatewayListener(Struct, frozen=True, gc=False):
    """A port on which the node proxy receives traffic from outside the mesh."""

    port: int
    """The port that the Gateway object names."""
    protocol: Literal["http", "https", "tcp", "tls"]
    servers: tuple[GatewayServer, ...]
