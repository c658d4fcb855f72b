"""GRPCRoute."""

from typing import Literal

from weft.api.gateway.common import (
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    LocalObjectReference,
    Message,
    ParentReference,
    Port,
    RouteStatus,
    SessionPersistence,
    Weight,
)
from weft.api.k8s.meta_v1 import ObjectMeta


class GRPCMethodMatch(Message, frozen=True):
    """A condition on the called method."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How service and method are compared."""
    service: str = ""
    """Service with its package; any when absent."""
    method: str = ""
    """Method; any when absent."""


class GRPCHeaderMatch(Message, frozen=True):
    """A condition on a header."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How the value is compared."""
    name: str = ""
    """Name of the header; case does not matter."""
    value: str = ""
    """The value or expression (RE2)."""


class GRPCRouteMatch(Message, frozen=True):
    """All conditions must hold."""

    method: GRPCMethodMatch | None = None
    """The called method; any when absent."""
    headers: tuple[GRPCHeaderMatch, ...] = ()
    """Headers; of several conditions on one name only the first counts."""


class GRPCRouteFilter(Message, frozen=True):
    """A step before the back end; the field named by the type says more."""

    type: Literal[
        "", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"
    ] = ""
    """Which step."""
    request_header_modifier: HTTPHeaderFilter | None = None
    """Changes to request headers."""
    response_header_modifier: HTTPHeaderFilter | None = None
    """Changes to response headers."""
    request_mirror: HTTPRequestMirrorFilter | None = None
    """Copies of requests."""
    extension_ref: LocalObjectReference | None = None
    """A filter of an implementation; weft has none."""


class GRPCBackendRef(Message, frozen=True):
    """A back end with its share of the calls."""

    group: str = ""
    """API group of the back end; empty for a Service."""
    kind: str = "Service"
    """Service."""
    name: str = ""
    """The back end's name."""
    namespace: str = ""
    """Its namespace; another one than the route's needs a ReferenceGrant there."""
    port: Port | None = None
    """The Service's port; needed for Services."""
    weight: Weight = 1
    """Share, relative to the other back ends; 0 is none."""
    filters: tuple[GRPCRouteFilter, ...] = ()
    """Steps for calls to this back end only."""


class GRPCRouteRule(Message, frozen=True):
    """Calls that match, and what happens to them."""

    name: str = ""
    """A name, unique within the route."""
    matches: tuple[GRPCRouteMatch, ...] = (GRPCRouteMatch(),)
    """One of these must hold."""
    filters: tuple[GRPCRouteFilter, ...] = ()
    """Steps before the back end."""
    backend_refs: tuple[GRPCBackendRef, ...] = ()
    """Where calls go."""
    session_persistence: SessionPersistence | None = None
    """Sessions that stay at one endpoint."""


class GRPCRouteSpec(Message, frozen=True):
    """Rules for calls to host names."""

    parent_refs: tuple[ParentReference, ...] = ()
    """Gateways or Services that the route attaches to."""
    hostnames: tuple[str, ...] = ()
    """Hosts; those of the listener when absent."""
    rules: tuple[GRPCRouteRule, ...] = (GRPCRouteRule(),)
    """The most specific match wins, whatever the order."""


class GRPCRoute(Message, frozen=True):
    """Routes gRPC calls."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """GRPCRoute."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: GRPCRouteSpec = GRPCRouteSpec()
    """What is wanted."""
    status: RouteStatus = RouteStatus()
    """What the controllers of its parents say."""
