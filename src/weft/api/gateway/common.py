"""What the messages of several Gateway API kinds share."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from weft.api.k8s.meta_v1 import Condition

GROUP = "gateway.networking.k8s.io"
CONTROLLER_NAME = "weft.dev/gateway-controller"
"""The controllerName of GatewayClasses that weft serves."""
BUNDLE_VERSION = "gateway.networking.k8s.io/bundle-version"
"""Annotation of the API's own CustomResourceDefinitions: the release they are of."""
ADDRESS_TYPES = ("", "IPAddress", "Hostname")
"""Of Gateways, that weft knows. A Hostname is bound where it is written as an address, as the
conformance suite writes those of its options."""
CLASS_DEFINITION = "gatewayclasses.gateway.networking.k8s.io"
"""The definition of GatewayClasses, where somebody installed it."""
CLASS_NAME = "weft"
"""The GatewayClass that exists from the first start."""
WEIGHT_MAX = 1_000_000

Duration = Annotated[str, Meta(extra_json_schema={"format": "gateway-duration"})]
"""A duration of GEP-2257: whole numbers with h, m, s, ms, such as `1m30s`."""
Port = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": 65535})]
Weight = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": WEIGHT_MAX})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
Positive = Annotated[int, Meta(extra_json_schema={"minimum": 1})]


class Message(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base of all messages: frozen, snake_case here, camelCase on the wire."""


class ParentReference(Message, frozen=True):
    """What a route attaches to: a Gateway, a ListenerSet (or one of their listeners), or a Service
    of the mesh."""

    group: str = GROUP
    """API group of the parent; empty for a Service."""
    kind: str = "Gateway"
    """Gateway, ListenerSet or Service."""
    namespace: str = ""
    """The parent's namespace; the route's own when absent."""
    name: str = ""
    """The parent's name."""
    section_name: str = ""
    """A listener of the Gateway, or a port name of the Service; all when absent."""
    port: Port | None = None
    """Only listeners, or the Service's port, with this number."""


class BackendObjectReference(Message, frozen=True):
    """A back end, usually a Service."""

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


class BackendRef(Message, frozen=True):
    """A back end with its share of the connections."""

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


class SecretObjectReference(Message, frozen=True):
    """A certificate, usually a Secret."""

    group: str = ""
    """API group; empty for a Secret."""
    kind: str = "Secret"
    """Secret."""
    name: str = ""
    """The Secret's name."""
    namespace: str = ""
    """Its namespace; another one than the Gateway's needs a ReferenceGrant there."""


class ObjectReference(Message, frozen=True):
    """An object, perhaps of another namespace."""

    group: str = ""
    """API group."""
    kind: str = ""
    """Kind."""
    name: str = ""
    """Name."""
    namespace: str = ""
    """Its namespace; another one than the referrer's needs a ReferenceGrant there."""


class LocalObjectReference(Message, frozen=True):
    """An object of the same namespace."""

    group: str = ""
    """API group."""
    kind: str = ""
    """Kind."""
    name: str = ""
    """Name."""


class HTTPHeader(Message, frozen=True):
    """A header with its value."""

    name: str = ""
    """Name of the header; case does not matter."""
    value: str = ""
    """Its value."""


class HTTPHeaderFilter(Message, frozen=True):
    """Changes to headers."""

    set: tuple[HTTPHeader, ...] = ()
    """Headers to overwrite."""
    add: tuple[HTTPHeader, ...] = ()
    """Headers to append to."""
    remove: tuple[str, ...] = ()
    """Headers to take away."""


class Fraction(Message, frozen=True):
    """A part of the requests."""

    numerator: Count = 0
    """How many."""
    denominator: Positive = 100
    """Of how many."""


class HTTPRequestMirrorFilter(Message, frozen=True):
    """A copy of requests to another back end."""

    backend_ref: BackendObjectReference = BackendObjectReference()
    """Where the copies go; their answers are ignored."""
    percent: Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": 100})] | None = None
    """Share of the requests to copy, in percent; all when absent."""
    fraction: Fraction | None = None
    """Share of the requests to copy, finer than percent."""


class RouteParentStatus(Message, frozen=True):
    """How a route fares with one of its parents."""

    parent_ref: ParentReference = ParentReference()
    """The parent."""
    controller_name: str = ""
    """Who wrote this."""
    conditions: tuple[Condition, ...] = ()
    """Accepted, ResolvedRefs and what else is to be said."""


class RouteStatus(Message, frozen=True):
    """How a route fares with its parents."""

    parents: tuple[RouteParentStatus, ...] = ()
    """One entry for each parent and controller."""


class PolicyAncestorStatus(Message, frozen=True):
    """How a policy fares with an object that it affects."""

    ancestor_ref: ParentReference = ParentReference()
    """The object, usually a Gateway."""
    controller_name: str = ""
    """Who wrote this."""
    conditions: tuple[Condition, ...] = ()
    """Accepted and ResolvedRefs."""


class PolicyStatus(Message, frozen=True):
    """How a policy fares."""

    ancestors: tuple[PolicyAncestorStatus, ...] = ()
    """One entry for each object that it affects."""


class CookieConfig(Message, frozen=True):
    """The cookie that keeps a session."""

    lifetime_type: Literal["", "Session", "Permanent"] = ""
    """Whether it ends with the browser's session, the default, or after `absoluteTimeout`."""


class SessionPersistence(Message, frozen=True):
    """Requests of a session go to one endpoint for as long as it is there."""

    session_name: str = ""
    """Name of the cookie or header; chosen by weft when absent."""
    absolute_timeout: Duration = ""
    """How long a session lasts."""
    idle_timeout: Duration = ""
    """How long a session may be silent; weft does not watch it."""
    type: Literal["", "Cookie", "Header"] = ""
    """Cookie when absent."""
    cookie_config: CookieConfig | None = None
    """Of a cookie."""
