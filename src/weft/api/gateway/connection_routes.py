"""TLSRoute, TCPRoute and UDPRoute: connections as a whole, and datagrams."""

from weft.api.gateway.common import BackendRef, Message, ParentReference, RouteStatus
from weft.api.k8s.meta_v1 import ObjectMeta


class TLSRouteRule(Message, frozen=True):
    """Where connections go."""

    name: str = ""
    """A name, unique within the route."""
    backend_refs: tuple[BackendRef, ...] = ()
    """Back ends; connections are refused when there is none."""


class TLSRouteSpec(Message, frozen=True):
    """Connections by the server name that callers ask for."""

    parent_refs: tuple[ParentReference, ...] = ()
    """Gateways that the route attaches to."""
    hostnames: tuple[str, ...] = ()
    """Server names (SNI)."""
    rules: tuple[TLSRouteRule, ...] = ()
    """One rule."""


class TLSRoute(Message, frozen=True):
    """Routes TLS connections by server name."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """TLSRoute."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: TLSRouteSpec = TLSRouteSpec()
    """What is wanted."""
    status: RouteStatus = RouteStatus()
    """What the controllers of its parents say."""


class TCPRouteRule(Message, frozen=True):
    """Where connections go."""

    name: str = ""
    """A name, unique within the route."""
    backend_refs: tuple[BackendRef, ...] = ()
    """Back ends; connections are refused when there is none."""


class TCPRouteSpec(Message, frozen=True):
    """All connections of a listener."""

    parent_refs: tuple[ParentReference, ...] = ()
    """Gateways that the route attaches to."""
    rules: tuple[TCPRouteRule, ...] = ()
    """One rule."""


class TCPRoute(Message, frozen=True):
    """Routes TCP connections."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """TCPRoute."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: TCPRouteSpec = TCPRouteSpec()
    """What is wanted."""
    status: RouteStatus = RouteStatus()
    """What the controllers of its parents say."""


class UDPRouteRule(Message, frozen=True):
    """Where datagrams go."""

    name: str = ""
    """A name, unique within the route."""
    backend_refs: tuple[BackendRef, ...] = ()
    """Back ends; datagrams are dropped when there is none."""


class UDPRouteSpec(Message, frozen=True):
    """All datagrams of a listener."""

    parent_refs: tuple[ParentReference, ...] = ()
    """Gateways that the route attaches to."""
    rules: tuple[UDPRouteRule, ...] = ()
    """One rule."""


class UDPRoute(Message, frozen=True):
    """Routes UDP datagrams."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """UDPRoute."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: UDPRouteSpec = UDPRouteSpec()
    """What is wanted."""
    status: RouteStatus = RouteStatus()
    """What the controllers of its parents say."""
