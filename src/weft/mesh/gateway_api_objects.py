"""What the Gateway API part of the mesh reads and what it makes, as values."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Secret
from weft.mesh.model import GatewayListener, GatewayTls, HttpRoute, RouteTable, UpstreamTls

Route = gw.HTTPRoute | gw.GRPCRoute | gw.TLSRoute | gw.TCPRoute | gw.UDPRoute
Json = dict[str, Any]
MADE_FROM = "weft.dev/made-from"
"""Annotation of objects that stand for another one (an Ingress) and have no uid: that one, as
explanations name it."""


class GatewayApiObjects(Struct, frozen=True):
    """All objects that the Gateway API part is made of, besides hosts."""

    classes: Sequence[gw.GatewayClass] = ()
    bundle: str | None = None
    """Version of the Gateway API's own definitions, where somebody installed them: "" when they
    do not say."""
    gateways: Sequence[gw.Gateway] = ()
    http_routes: Sequence[gw.HTTPRoute] = ()
    grpc_routes: Sequence[gw.GRPCRoute] = ()
    tls_routes: Sequence[gw.TLSRoute] = ()
    tcp_routes: Sequence[gw.TCPRoute] = ()
    udp_routes: Sequence[gw.UDPRoute] = ()
    listener_sets: Sequence[gw.ListenerSet] = ()
    tls_policies: Sequence[gw.BackendTLSPolicy] = ()
    grants: Sequence[gw.ReferenceGrant] = ()
    namespaces: Sequence[Namespace] = ()
    secrets: Sequence[Secret] = ()
    config_maps: Sequence[ConfigMap] = ()

    def routes_by_kind(self) -> tuple[Sequence[Route], ...]:
        """All routes."""
        return (
            self.http_routes, self.grpc_routes, self.tls_routes, self.tcp_routes, self.udp_routes,
        )  # fmt: skip

    def any_routes(self) -> bool:
        return any(self.routes_by_kind())


def age_key(obj: Route | gw.Gateway | gw.ListenerSet | gw.BackendTLSPolicy) -> tuple[str, str, str]:
    """Sort key: the oldest first."""
    meta = obj.metadata
    return meta.creation_timestamp, meta.namespace, meta.name


class ObjectStatus(Struct, frozen=True):
    """The status that an object shall have. Conditions carry no times, and `Programmed` is True
    where the configuration exists: whoever writes it knows when, and whether proxies have it."""

    cls: type[Struct]
    namespace: str
    name: str
    uid: str
    status: Json
    gateway: str = ""
    """The Gateway (`<namespace>/<name>`) whose ports must be bound before it is programmed."""
    places: tuple[tuple[int, str], ...] = ()
    """Those ports, with their transport (tcp or udp)."""


class Listener(Struct, frozen=True):
    """A listener of a Gateway, judged."""

    gateway: gw.Gateway
    spec: gw.Listener
    set: gw.ListenerSet | None = None
    """The ListenerSet that adds it; None for the Gateway's own."""
    kinds: tuple[str, ...] = ()
    """Kinds of routes that may attach."""
    tls: GatewayTls | None = None
    refused: str = ""
    """Reason why it is not accepted."""
    refused_message: str = ""
    conflict: str = ""
    """Reason of Conflicted."""
    unresolved: str = ""
    """Reason why its references are not resolved."""
    unresolved_message: str = ""
    overlaps: str = ""
    """Another listener with TLS of the port whose host names it shares some of."""

    @property
    def owner(self) -> gw.Gateway | gw.ListenerSet:
        return self.set or self.gateway

    @property
    def port(self) -> int:
        return self.spec.port or 0

    @property
    def transport(self) -> str:
        return "udp" if self.spec.protocol == "UDP" else "tcp"

    @property
    def passes(self) -> bool:
        """Whether what arrives is passed on as it is: datagrams, and TLS that ends elsewhere."""
        tls = self.spec.tls
        passed = self.spec.protocol == "TLS" and tls is not None and tls.mode == "Passthrough"
        return passed or self.spec.protocol == "UDP"

    @property
    def host(self) -> str:
        return self.spec.hostname.lower() or "*"

    @property
    def serves(self) -> bool:
        """Whether it can be opened."""
        return not (self.refused or self.conflict or self.lacks_certificate)

    @property
    def lacks_certificate(self) -> bool:
        return self.tls is None and bool(self.unresolved) and self.unresolved != ROUTE_KINDS

    @property
    def gateway_name(self) -> str:
        return f"{self.gateway.metadata.namespace}/{self.gateway.metadata.name}"

    @property
    def name(self) -> str:
        """Unique among all listeners."""
        if self.set is None:
            return f"{self.gateway_name}/{self.spec.name}"
        meta = self.set.metadata
        return f"{self.gateway_name}/{meta.namespace}/{meta.name}/{self.spec.name}"


ROUTE_KINDS = "InvalidRouteKinds"


class Attached(Struct, frozen=True):
    """A route at a listener."""

    route: Route
    listener: Listener
    hosts: tuple[str, ...]
    """Hosts that both name; `*` for those without any."""
    written: tuple[str, ...]
    """For each of them the host that the route names: precedence goes by these."""


class ServiceRoutes(Struct, frozen=True):
    """Routes of Services as parents: (host, port) -> (callers' namespace or "" for all, routes)."""

    by_port: Mapping[tuple[str, int], tuple[tuple[str, tuple[HttpRoute, ...]], ...]] = {}

    def has(self, host: str, port: int) -> bool:
        """Whether the port of the host is routed."""
        return (host, port) in self.by_port

    def clients(self, host: str, port: int) -> set[str]:
        """Namespaces with routes of their own."""
        return {ns for ns, _ in self.by_port.get((host, port), ()) if ns}

    def find(self, host: str, port: int, client: str) -> tuple[HttpRoute, ...]:
        """Routes for callers of a namespace: their own, else those for all."""
        found = dict(self.by_port.get((host, port), ()))
        return found.get(client) or found.get("") or ()


class Derived(Struct, frozen=True):
    """A destination made of others: of one with other TLS, or of several with weights."""

    name: str
    parts: tuple[tuple[str, int], ...]
    """(destination, weight)."""
    tls: UpstreamTls | None = None
    source: str = ""
    streams: bool = False
    """Connections go there as bytes, whatever the parts are declared as."""


class GatewayApi(Struct, frozen=True):
    """What the objects mean."""

    listeners: tuple[GatewayListener, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    service_routes: ServiceRoutes = ServiceRoutes()
    derived: tuple[Derived, ...] = ()
    statuses: tuple[ObjectStatus, ...] = ()
