"""Gateways: ports on which traffic from outside the mesh arrives."""

from typing import Literal

from msgspec import Struct

from weft.mesh.model.tls import GatewayTls
from weft.mesh.model.workload import TcpRoute


class GatewayServer(Struct, frozen=True, gc=False):
    """One TLS name set (or plain HTTP) on a gateway port."""

    name: str
    """`<namespace>/<gateway>/<server index>`, or with the listener's name."""
    hosts: tuple[str, ...]
    route_table: str
    """Name of the HTTP route table; empty for TCP and UDP."""
    tcp: TcpRoute | None = None
    """Where connections go, or (protocol `udp`) datagrams."""
    tls: GatewayTls | None = None
    https_redirect: bool = False
    http3: bool = False
    """HTTP/3 is spoken on the UDP port of the same number, and clients are told so."""


class GatewayListener(Struct, frozen=True, gc=False):
    """A port on which the node proxy receives traffic from outside the mesh, or, of an egress
    gateway, from workloads that their routes send there."""

    port: int
    """The port that the Gateway object names."""
    protocol: Literal["http", "https", "tcp", "tls", "udp"]
    servers: tuple[GatewayServer, ...]
    gateway: str = ""
    """`<namespace>/<name>` of the Gateway that has addresses of its own, where the port is bound;
    empty: the port is bound at the address that all others share."""
    egress: bool = False
    """Only the mesh can reach it."""
    bind: str = ""
    """The address that Gateways of Istio name; empty: the one that they share."""

    @property
    def binding(self) -> str:
        """The name of the binding that says where nodes listen; empty: at the shared address."""
        return self.gateway or (f"bind {self.bind}" if self.bind else "")


class GatewayBinding(Struct, frozen=True, gc=False):
    """Where a node binds the ports of a Gateway that has addresses of its own."""

    gateway: str
    """`<namespace>/<name>`, or for an address that Gateways of Istio name `bind <address>`."""
    addresses: tuple[str, ...]
    ports: tuple[tuple[int, int], ...] = ()
    """(Gateway port, port bound for it), for TCP."""
    udp_ports: tuple[tuple[int, int], ...] = ()
    """The same for UDP."""
    unusable: tuple[str, ...] = ()
    """Addresses that the Gateway asks for and the node cannot bind."""

    def bound(self, listener: GatewayListener) -> int:
        """The port bound for a listener; 0 when there is none."""
        ports = self.udp_ports if listener.protocol == "udp" else self.ports
        return dict(ports).get(listener.port, 0)
