"""Workloads: who calls, from where, and how connections that are no HTTP are routed."""

from msgspec import Struct

from weft.mesh.model.access import AccessPolicy, Door
from weft.mesh.model.destination import ConnectionPool
from weft.mesh.model.http import PASS_UNKNOWN, UnknownHosts, WeightedDestination
from weft.mesh.model.protocol import AppProtocol
from weft.mesh.model.reporting import AS_THE_MESH, Sides
from weft.mesh.model.tls import GatewayTls
from weft.mesh.model.walls import Walls

GATEWAY_ACCOUNT = "ns/istio-system/sa/istio-ingressgateway-service-account"
"""Whom policies name that are for what enters through a gateway, as in Istio's installation: the
part of a principal after the trust domain."""


class TcpRoute(Struct, frozen=True, gc=False):
    """Connections to these addresses and this port go to the destinations as bytes."""

    addresses: tuple[str, ...]
    """IPs or CIDRs; empty is any address."""
    port: int
    destinations: tuple[WeightedDestination, ...]
    sni_hosts: tuple[str, ...] = ()
    """When not empty: only TLS connections with one of these server names."""
    source_labels: tuple[tuple[str, str], ...] = ()
    """When not empty: only connections of workloads with all of these labels."""
    source_networks: tuple[str, ...] = ()
    """When not empty: only connections from one of these IPs or CIDRs."""
    server_first: bool = True
    """The protocol may have the server speak first: no inspection may delay it."""
    http_table: str = ""
    """When not empty (a port of protocol `auto`): connections that begin like HTTP are routed by
    this table; only the others go to `destinations` as bytes. `server_first` is False then."""
    source: str = ""


class UdpRoute(Struct, frozen=True, gc=False):
    """Datagrams to these addresses and this port go to the destination. All datagrams of a caller's
    socket go to one endpoint, until the socket is silent for a while or the endpoint fails."""

    addresses: tuple[str, ...]
    port: int
    destination: str
    """Name of a Destination of protocol `udp`; empty is nowhere."""
    source: str = ""


class OutboundPort(Struct, frozen=True, gc=False):
    """Calls of HTTP to this port are routed by this table."""

    port: int
    """0 is the pod's own HTTP proxy listener (host isolation), whose callers name the port in the
    request's authority."""
    route_table: str
    declared: bool = True
    """False: no service declares this port as HTTP, all are `auto`; bytes that are not HTTP go to
    the TcpRoute of their address, or where they were going."""


class InboundPort(Struct, frozen=True, gc=False):
    """A port the workload serves."""

    port: int
    protocol: AppProtocol


class IngressListener(Struct, frozen=True, gc=False):
    """A listener of the proxy before a port of the workload, in the workload's network."""

    port: int
    """The port that callers know."""
    bound: int
    """Where it listens: `port`, or another one when the program itself has that."""
    protocol: AppProtocol
    target_port: int
    target: str = ""
    """Where the program listens: `127.0.0.1` or `::1`; empty is the workload's own address."""
    pool: ConnectionPool = ConnectionPool()
    """Limits of connections to the program, of all callers together."""
    tls: GatewayTls | None = None
    """TLS of callers that ends here."""


class LocalListener(Struct, frozen=True, gc=False):
    """An address inside the workload's network where its calls are taken. Exactly one of
    `route_table` and `tcp` is set."""

    address: str
    port: int
    route_table: str = ""
    tcp: TcpRoute | None = None


class Workload(Struct, frozen=True, gc=False):
    """A pod with a network: a source of calls and, at its address, a target of calls."""

    uid: str
    name: str
    """Pod name."""
    namespace: str
    node: str
    address: str
    workload: str
    """Canonical name of what owns it (the Deployment's name)."""
    principal: str
    """spiffe://<trust-domain>/ns/<ns>/sa/<sa>."""
    netns: str = ""
    """Path of its pinned network namespace; empty in host isolation."""
    proxy_address: str = ""
    """Host isolation: `127.0.0.1:15100`, the HTTP proxy listener that is this pod's identity."""
    app: str = ""
    version: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    inbound: tuple[InboundPort, ...] = ()
    outbound: tuple[OutboundPort, ...] = ()
    tcp: tuple[TcpRoute, ...] = ()
    udp: tuple[UdpRoute, ...] = ()
    local: tuple[LocalListener, ...] = ()
    ingress: tuple[IngressListener, ...] = ()
    access: tuple[AccessPolicy, ...] = ()
    """Policies for calls to this pod."""
    denied: tuple[str, ...] = ()
    """Names of destinations that the workload may not open connections to."""
    door: Door = Door()
    """For callers without an identity of the mesh."""
    walls: Walls | None = None
    """What NetworkPolicies let through; None: everything."""
    unknown: UnknownHosts = PASS_UNKNOWN
    """Of connections that are no HTTP, or go to a port that no table is for."""
    reporting: Sides = AS_THE_MESH


class ServiceListener(Struct, frozen=True, gc=False):
    """A service address that the node proxy itself listens on: in host isolation, and for callers
    from outside (`owner`).

    Exactly one of `route_table`, `tcp` and `udp` is set.
    """

    address: str
    port: int
    route_table: str = ""
    tcp: TcpRoute | None = None
    udp: UdpRoute | None = None
    host: str = ""
    """The service it stands for; the virtual host is chosen by it when Host names none."""
    owner: str = ""
    """`Service <namespace>/<name>` or `Pod <namespace>/<name>` that callers from outside reach.
    In the whole mesh it has no address; on a node, one listener for each place there."""
    source_ranges: tuple[str, ...] = ()
    """CIDRs of callers that are let in; all when empty."""
    node_local: bool = False
    """Only endpoints of the node that was called serve."""
    health_port: int = 0
    """Where the node's proxy says over HTTP whether the node has such endpoints; 0 is nowhere."""
