"""The whole mesh, and what one node needs of it."""

from typing import Literal

from msgspec import Struct

from weft.mesh.model.access import Authorizer
from weft.mesh.model.destination import Destination
from weft.mesh.model.entrance import Entrance, Peers
from weft.mesh.model.gateway import GatewayBinding, GatewayListener
from weft.mesh.model.http import AdaptiveConcurrency, RateLimit, RouteTable
from weft.mesh.model.login import Login
from weft.mesh.model.patch import EnvoyPatch
from weft.mesh.model.reporting import Reporting
from weft.mesh.model.workload import ServiceListener, Workload


class MeshModel(Struct, frozen=True, gc=False):
    """The whole mesh, for every node."""

    localities: tuple[tuple[str, str], ...] = ()
    """(node, region/zone/subzone) of the nodes that have one."""

    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    """Trust domains whose identities count as those of the mesh's own."""
    nodes: tuple[tuple[str, str], ...] = ()
    """(name, address for other nodes) of the nodes whose proxies take each other's calls."""
    connection_seconds: float = 3 * 3600.0
    """Connections between nodes are made anew after so long."""
    workloads: tuple[Workload, ...] = ()
    destinations: tuple[Destination, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    service_listeners: tuple[ServiceListener, ...] = ()
    gateways: tuple[GatewayListener, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    """The limits that all proxies count together."""
    patches: tuple[EnvoyPatch, ...] = ()
    """In the order in which they are applied to resources."""
    authorizers: tuple[Authorizer, ...] = ()
    """Services that policies of action `custom` may ask."""
    access_log: bool = False
    """Proxies write a line for each request."""
    gateway_reporting: Reporting = Reporting()


class NodePlace(Struct, frozen=True, gc=False):
    """An address and port of a node that leads to a port of a Service or pod."""

    owner: str
    address: str
    bound: int
    port: int
    transport: Literal["tcp", "udp", "health"] = "tcp"


class ClientLimits(Struct, frozen=True, gc=False):
    """How long callers from outside may keep what they hold: seconds, 0 is no limit."""

    handshake_seconds_max: float = 10.0
    """For a TLS handshake."""
    request_seconds_max: float = 3600.0
    """From the first byte of a request until its last, or until the answer begins."""
    idle_seconds_max: float = 600.0
    """A connection without a request."""


class NodeSettings(Struct, frozen=True, gc=False):
    """Facts about a node that its proxy configuration depends on."""

    name: str
    isolation: Literal["netns", "host"] = "netns"
    address: str = ""
    """Source of upstream connections into pods; pods do not redirect what comes from it."""
    passthrough_address: str = ""
    """Source of passthrough connections; pods do redirect those, so inbound policy holds."""
    gateway_address: str = "127.0.0.1"
    gateway_ports: tuple[tuple[int, int], ...] = ()
    """(Gateway port, host port bound for it) at that address."""
    gateway_bindings: tuple[GatewayBinding, ...] = ()
    """Of Gateways with addresses of their own."""
    places: tuple[NodePlace, ...] = ()
    """Where it listens for Services and pods."""
    first_port: int = 0
    """Host isolation: the lowest port that the proxy may bind; 0 is no limit."""
    locality: str = ""
    """region/zone/subzone of the node."""
    localities: tuple[tuple[str, str], ...] = ()
    """Those of all nodes that have one."""
    peers: Peers = Peers()
    access_log: str = ""
    """File that the proxy writes a JSON line per request to; empty is none."""
    access_log_file: str = ""
    """The same where not all requests are logged: for those that a Telemetry object wants logged.
    Empty where the proxy has no such file."""
    trace_percent: float = 0.0
    """Share of requests that are traced. Without any no spans are made: they cost each request 5 to
    10 µs, traced or not."""
    authorizers: tuple[str, ...] = ()
    """Names of those that policies may ask."""
    logins: tuple[str, ...] = ()
    """Names of the policies that send browsers to an identity provider."""
    adaptive: tuple[AdaptiveConcurrency, ...] = ()
    """Limits that routes of the node follow."""
    clients: ClientLimits = ClientLimits()
    relayed: bool = False
    """The proxy is in a network of its own; a relay passes on to it what comes to the machine's
    addresses, but no datagrams."""


class NodeModel(Struct, frozen=True, gc=False):
    """What one node's proxy needs, and the only thing it is translated from."""

    node: NodeSettings
    trust_domain: str = "cluster.local"
    workloads: tuple[Workload, ...] = ()
    destinations: tuple[Destination, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    service_listeners: tuple[ServiceListener, ...] = ()
    gateways: tuple[GatewayListener, ...] = ()
    entrances: tuple[Entrance, ...] = ()
    """What other nodes' proxies may connect to."""
    patches: tuple[EnvoyPatch, ...] = ()
    authorizers: tuple[Authorizer, ...] = ()
    logins: tuple[Login, ...] = ()
    """Those of the tables that send browsers to a provider."""
    gateway_reporting: Reporting = Reporting()
