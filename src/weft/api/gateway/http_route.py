"""HTTPRoute."""

from typing import Annotated, Literal

from msgspec import Meta

from weft.api.gateway.common import (
    BackendObjectReference,
    Count,
    Duration,
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

StatusCode = Annotated[int, Meta(extra_json_schema={"minimum": 400, "maximum": 599})]


class HTTPPathMatch(Message, frozen=True):
    """A condition on the path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    """PathPrefix compares whole segments: `/foo` holds for `/foo/bar`, not for `/foobar`."""
    value: str = "/"
    """The path, prefix or expression (RE2)."""


class HTTPHeaderMatch(Message, frozen=True):
    """A condition on a header."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How the value is compared."""
    name: str = ""
    """Name of the header; case does not matter."""
    value: str = ""
    """The value or expression (RE2)."""


class HTTPQueryParamMatch(Message, frozen=True):
    """A condition on a query parameter."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How the value is compared."""
    name: str = ""
    """Name of the parameter; case matters."""
    value: str = ""
    """The value or expression (RE2)."""


class HTTPRouteMatch(Message, frozen=True):
    """All conditions must hold."""

    path: HTTPPathMatch = HTTPPathMatch()
    """The path; any when absent."""
    headers: tuple[HTTPHeaderMatch, ...] = ()
    """Headers; of several conditions on one name only the first counts."""
    query_params: tuple[HTTPQueryParamMatch, ...] = ()
    """Query parameters."""
    method: Literal[
        "", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"
    ] = ""
    """The method; any when absent."""


class HTTPPathModifier(Message, frozen=True):
    """A change of the path."""

    type: Literal["", "ReplaceFullPath", "ReplacePrefixMatch"] = ""
    """What is replaced."""
    replace_full_path: str | None = None
    """The new path."""
    replace_prefix_match: str | None = None
    """What takes the place of the matched prefix."""


class HTTPRequestRedirectFilter(Message, frozen=True):
    """Answer with a redirect."""

    scheme: Literal["", "http", "https"] = ""
    """Scheme of the Location; the request's when absent."""
    hostname: str = ""
    """Host of the Location; the request's when absent."""
    path: HTTPPathModifier | None = None
    """Path of the Location; the request's when absent."""
    port: Port | None = None
    """Port of the Location; that of the scheme, or of the listener, when absent."""
    status_code: Annotated[int, Meta(extra_json_schema={"minimum": 300, "maximum": 399})] = 302
    """301, 302, 303, 307 or 308."""


class HTTPURLRewriteFilter(Message, frozen=True):
    """Changes to what the back end sees."""

    hostname: str = ""
    """Host that the back end sees."""
    path: HTTPPathModifier | None = None
    """Path that the back end sees."""


class HTTPCORSFilter(Message, frozen=True):
    """Cross-origin requests that browsers may make."""

    allow_origins: tuple[str, ...] = ()
    """Origins, also with `*`."""
    allow_credentials: bool | None = None
    """Whether requests may carry credentials."""
    allow_methods: tuple[str, ...] = ()
    """Methods."""
    allow_headers: tuple[str, ...] = ()
    """Request headers."""
    expose_headers: tuple[str, ...] = ()
    """Response headers that scripts may read."""
    max_age: Annotated[int, Meta(extra_json_schema={"minimum": 1})] = 5
    """Seconds that a browser may keep the answer to a preflight."""


class GRPCAuthConfig(Message, frozen=True):
    """How a server is asked that speaks Envoy's ext_authz protocol."""

    allowed_headers: tuple[str, ...] = ()
    """Request headers that it gets; all when empty."""


class HTTPAuthConfig(Message, frozen=True):
    """How a server is asked over HTTP."""

    path: str = ""
    """Put in front of the request's path."""
    allowed_headers: tuple[str, ...] = ()
    """Request headers that it gets besides Host, Content-Length and Authorization."""
    allowed_response_headers: tuple[str, ...] = ()
    """Headers of its answer that the back end gets; all but Host when empty."""


class ForwardBodyConfig(Message, frozen=True):
    """The part of requests' bodies in what is asked."""

    max_size: Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": 65535})] = 0
    """Bytes; longer bodies are refused. 0: no body is sent."""


class HTTPExternalAuthFilter(Message, frozen=True):
    """A server that is asked whether a request may pass."""

    protocol: Literal["", "HTTP", "GRPC"] = ""
    """What it speaks: HTTP, or GRPC for Envoy's ext_authz protocol."""
    backend_ref: BackendObjectReference = BackendObjectReference()
    """The server."""
    grpc: GRPCAuthConfig | None = None
    """More about protocol GRPC."""
    http: HTTPAuthConfig | None = None
    """More about protocol HTTP."""
    forward_body: ForwardBodyConfig | None = None
    """Whether it gets bodies."""


class HTTPRouteFilter(Message, frozen=True):
    """A step before the back end; the field named by the type says more."""

    type: Literal[
        "",
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "CORS",
        "ExternalAuth",
        "ExtensionRef",
    ] = ""
    """Which step."""
    request_header_modifier: HTTPHeaderFilter | None = None
    """Changes to request headers."""
    response_header_modifier: HTTPHeaderFilter | None = None
    """Changes to response headers."""
    request_mirror: HTTPRequestMirrorFilter | None = None
    """Copies of requests."""
    request_redirect: HTTPRequestRedirectFilter | None = None
    """A redirect instead of a back end."""
    url_rewrite: HTTPURLRewriteFilter | None = None
    """Changes to host and path."""
    cors: HTTPCORSFilter | None = None
    """Cross-origin requests."""
    external_auth: HTTPExternalAuthFilter | None = None
    """A server that is asked whether requests may pass."""
    extension_ref: LocalObjectReference | None = None
    """A filter of an implementation; weft has none, its policies attach by `targetRef`."""


class HTTPBackendRef(Message, frozen=True):
    """A back end with its share of the requests."""

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
    filters: tuple[HTTPRouteFilter, ...] = ()
    """Steps for requests to this back end only."""


class HTTPRouteTimeouts(Message, frozen=True):
    """Limits."""

    request: Duration = ""
    """The whole request including retries; `0s` is none."""
    backend_request: Duration = ""
    """One try."""


class HTTPRouteRetry(Message, frozen=True):
    """Retries."""

    codes: tuple[StatusCode, ...] = ()
    """Status codes of answers after which the request is tried again."""
    attempts: Count | None = None
    """How often it is tried again at most."""
    backoff: Duration = ""
    """The least pause before it is tried again."""


class HTTPRouteRule(Message, frozen=True):
    """Requests that match, and what happens to them."""

    name: str = ""
    """A name, unique within the route."""
    matches: tuple[HTTPRouteMatch, ...] = (HTTPRouteMatch(),)
    """One of these must hold."""
    filters: tuple[HTTPRouteFilter, ...] = ()
    """Steps before the back end."""
    backend_refs: tuple[HTTPBackendRef, ...] = ()
    """Where requests go; 500 is answered when there is none."""
    timeouts: HTTPRouteTimeouts = HTTPRouteTimeouts()
    """Limits."""
    retry: HTTPRouteRetry | None = None
    """Retries; the mesh's usual ones when absent."""
    session_persistence: SessionPersistence | None = None
    """Sessions that stay at one endpoint."""


class HTTPRouteSpec(Message, frozen=True):
    """Rules for requests to host names."""

    parent_refs: tuple[ParentReference, ...] = ()
    """Gateways or Services that the route attaches to."""
    hostnames: tuple[str, ...] = ()
    """Hosts; those of the listener when absent."""
    rules: tuple[HTTPRouteRule, ...] = (HTTPRouteRule(),)
    """The most specific match wins, whatever the order."""


class HTTPRoute(Message, frozen=True):
    """Routes HTTP requests."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """HTTPRoute."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: HTTPRouteSpec = HTTPRouteSpec()
    """What is wanted."""
    status: RouteStatus = RouteStatus()
    """What the controllers of its parents say."""
