"""VirtualService: how requests to a host are routed. Fields after the public Istio reference."""

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from weft.api.istio.common import (
    Count,
    Duration,
    IstioStatus,
    Message,
    Percent,
    PercentInt,
    Port,
    PortSelector,
    Regex,
)
from weft.api.k8s.meta_v1 import ObjectMeta


class Destination(Message, frozen=True):
    """Where traffic goes: a service, or a subset of it."""

    host: str = ""
    """Name of a service or service entry; short names are read in the object's namespace."""
    subset: str = ""
    """Name of a subset that a DestinationRule defines."""
    port: PortSelector | None = None
    """Port of the host; needed when it has several."""


class StringMatch(Message, frozen=True):
    """Exactly one of the three. An empty message matches any value that is present."""

    exact: str | None = None
    """The whole value."""
    prefix: str | None = None
    """The start of the value."""
    regex: Regex | None = None
    """An RE2 expression for the whole value."""


class HTTPMatchRequest(Message, frozen=True):
    """A condition on a request; all of its parts must hold."""

    name: str = ""
    """Name of the match, joined to the route's in access logs."""
    uri: StringMatch | None = None
    """The path."""
    scheme: StringMatch | None = None
    """http or https."""
    method: StringMatch | None = None
    """The request's method."""
    authority: StringMatch | None = None
    """The Host header."""
    headers: Mapping[str, StringMatch] = {}
    """Header name (lower case) to match."""
    port: Port | None = None
    """The port that the client addressed."""
    source_labels: Mapping[str, str] = {}
    """Labels of the calling workload."""
    gateways: tuple[str, ...] = ()
    """Gateways for which this match holds, instead of the whole object's."""
    query_params: Mapping[str, StringMatch] = {}
    """Query parameter to match; prefix is not supported."""
    ignore_uri_case: bool | None = None
    """Compare the path without regard to case; exact and prefix only."""
    without_headers: Mapping[str, StringMatch] = {}
    """Headers that must not match."""
    source_namespace: str = ""
    """Namespace of the calling workload."""
    stat_prefix: str = ""
    """Prefix of the statistics of this route."""


class HeaderOperations(Message, frozen=True):
    """Changes to headers."""

    set: Mapping[str, str] = {}
    """Headers to overwrite."""
    add: Mapping[str, str] = {}
    """Values to append."""
    remove: tuple[str, ...] = ()
    """Headers to drop."""


class Headers(Message, frozen=True):
    """Changes to the headers of requests and responses."""

    request: HeaderOperations | None = None
    """Before the request is forwarded."""
    response: HeaderOperations | None = None
    """Before the response is returned."""


class HTTPRouteDestination(Message, frozen=True):
    """One of the weighted back ends of a route."""

    destination: Destination | None = None
    """Where this share goes."""
    weight: Count | None = None
    """Share of the traffic, relative to the sum of all weights; of no account when alone."""
    headers: Headers | None = None
    """Header changes for this share."""


class RouteDestination(Message, frozen=True):
    """One of the weighted back ends of a TCP or TLS route."""

    destination: Destination | None = None
    """Where this share goes."""
    weight: Count | None = None
    """Share of the connections."""


class HTTPRedirect(Message, frozen=True):
    """Answer with a redirect."""

    uri: str = ""
    """New path."""
    prefix_rewrite: str = ""
    """What takes the place of the matched prefix; instead of `uri`."""
    authority: str = ""
    """New host."""
    port: Port | None = None
    """New port."""
    derive_port: Literal["", "FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] = ""
    """Where the port comes from when `port` is absent."""
    scheme: str = ""
    """New scheme, http or https."""
    redirect_code: int | None = None
    """Status of the answer; 301 when absent."""


class HTTPBody(Message, frozen=True):
    """The body of a direct response; one of the two."""

    string: str = ""
    """As text."""
    bytes: str = ""
    """As base64."""


class HTTPDirectResponse(Message, frozen=True):
    """Answer at once, without a back end."""

    status: int | None = None
    """HTTP status of the answer."""
    body: HTTPBody | None = None
    """Body of the answer."""


class Delegate(Message, frozen=True):
    """The VirtualService that goes on with the routing."""

    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace; that of the root when absent."""


class RegexRewrite(Message, frozen=True):
    """Rewrite the path by an expression."""

    match: Regex = ""
    """RE2 expression to look for."""
    rewrite: str = ""
    """What to put in its place; \\1 and so on are groups."""


class HTTPRewrite(Message, frozen=True):
    """Change what the back end sees."""

    uri: str = ""
    """Replaces the matched prefix, or the whole path of an exact match."""
    authority: str = ""
    """Replaces the Host header."""
    uri_regex_rewrite: RegexRewrite | None = None
    """Rewrite by an expression instead of `uri`."""


class HTTPRetry(Message, frozen=True):
    """When and how often to try again."""

    attempts: Count | None = None
    """Number of retries; 0 switches them off."""
    per_try_timeout: Duration = ""
    """Limit of each try, at least 1ms; the route's timeout when absent."""
    retry_on: str = ""
    """Envoy's conditions and status codes, separated by commas."""
    retry_remote_localities: bool | None = None
    """Also try endpoints of other localities."""
    retry_ignore_previous_hosts: bool | None = None
    """Prefer endpoints that were not tried yet; true when absent."""
    backoff: Duration = ""
    """Least time between retries; 25ms when absent."""


class PercentValue(Message, frozen=True):
    """A share in percent, with fractions."""

    value: Percent | None = None
    """0 to 100."""


class FaultDelay(Message, frozen=True):
    """Delay requests."""

    percent: PercentInt | None = None
    """Share of requests, in whole percent; use `percentage`."""
    fixed_delay: Duration = ""
    """How long, at least 1ms."""
    exponential_delay: Duration = ""
    """Not implemented by any proxy."""
    percentage: PercentValue | None = None
    """Share of requests; all when absent."""


class FaultAbort(Message, frozen=True):
    """Answer requests with an error."""

    percent: PercentInt | None = None
    """Share of requests, in whole percent; use `percentage`."""
    http_status: int | None = None
    """HTTP status to answer."""
    grpc_status: str = ""
    """gRPC status to answer, by name or number."""
    http2_error: str = ""
    """Not implemented by any proxy."""
    percentage: PercentValue | None = None
    """Share of requests; all when absent."""


class HTTPFaultInjection(Message, frozen=True):
    """Faults to try a system's resilience with."""

    delay: FaultDelay | None = None
    """Delay before forwarding."""
    abort: FaultAbort | None = None
    """Answer instead of forwarding."""


class CorsPolicy(Message, frozen=True):
    """Cross-origin resource sharing."""

    allow_origin: tuple[str, ...] = ()
    """Origins as whole strings; use `allowOrigins`."""
    allow_origins: tuple[StringMatch, ...] = ()
    """Origins that may send requests."""
    allow_methods: tuple[str, ...] = ()
    """Methods for Access-Control-Allow-Methods."""
    allow_headers: tuple[str, ...] = ()
    """Headers for Access-Control-Allow-Headers."""
    expose_headers: tuple[str, ...] = ()
    """Headers that browsers may read."""
    max_age: Duration = ""
    """How long a preflight answer may be cached."""
    allow_credentials: bool | None = None
    """Whether requests may carry credentials."""
    unmatched_preflights: Literal["", "UNSPECIFIED", "FORWARD", "IGNORE"] = ""
    """What happens to preflights of other origins; FORWARD when absent."""


class HTTPMirrorPolicy(Message, frozen=True):
    """A copy of traffic for another destination, its answers dropped."""

    destination: Destination | None = None
    """Where copies go."""
    percentage: PercentValue | None = None
    """Share of requests to copy; all when absent."""


class HTTPRoute(Message, frozen=True):
    """A rule: the first whose match holds is taken."""

    name: str = ""
    """Shown in access logs."""
    match: tuple[HTTPMatchRequest, ...] = ()
    """Any of these must hold; every request when empty."""
    route: tuple[HTTPRouteDestination, ...] = ()
    """Weighted back ends."""
    redirect: HTTPRedirect | None = None
    """Redirect instead of forwarding."""
    direct_response: HTTPDirectResponse | None = None
    """Answer instead of forwarding."""
    delegate: Delegate | None = None
    """Go on with another VirtualService; without `route` and `redirect`."""
    rewrite: HTTPRewrite | None = None
    """Change path or host."""
    timeout: Duration = ""
    """Limit of a request with all its retries; none when absent."""
    retries: HTTPRetry | None = None
    """Retry policy."""
    fault: HTTPFaultInjection | None = None
    """Injected faults."""
    mirror: Destination | None = None
    """One destination for copies; `mirrors` allows several."""
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    """Destinations for copies."""
    mirror_percent: PercentInt | None = None
    """Share to copy, in whole percent; use `mirrorPercentage`."""
    mirror_percentage: PercentValue | None = None
    """Share to copy for `mirror`."""
    cors_policy: CorsPolicy | None = None
    """Cross-origin rules."""
    headers: Headers | None = None
    """Header changes for all back ends."""
    mirror_percent_old: PercentInt | None = field(default=None, name="mirror_percent")
    """Old spelling of `mirrorPercent`."""


class TLSMatchAttributes(Message, frozen=True):
    """A condition on a TLS connection that is passed through."""

    sni_hosts: tuple[str, ...] = ()
    """Server names; a leading `*.` matches any label."""
    destination_subnets: tuple[str, ...] = ()
    """Addresses that the client addressed, as CIDR."""
    port: Port | None = None
    """The port that the client addressed."""
    source_labels: Mapping[str, str] = {}
    """Labels of the calling workload."""
    gateways: tuple[str, ...] = ()
    """Gateways for which this match holds."""
    source_namespace: str = ""
    """Namespace of the calling workload."""


class L4MatchAttributes(Message, frozen=True):
    """A condition on a TCP connection."""

    destination_subnets: tuple[str, ...] = ()
    """Addresses that the client addressed, as CIDR."""
    port: Port | None = None
    """The port that the client addressed."""
    source_subnet: str = ""
    """Not implemented by any proxy."""
    source_labels: Mapping[str, str] = {}
    """Labels of the calling workload."""
    gateways: tuple[str, ...] = ()
    """Gateways for which this match holds."""
    source_namespace: str = ""
    """Namespace of the calling workload."""


class TLSRoute(Message, frozen=True):
    """A rule for TLS connections that are passed through."""

    match: tuple[TLSMatchAttributes, ...] = ()
    """Any of these must hold."""
    route: tuple[RouteDestination, ...] = ()
    """Weighted back ends."""


class TCPRoute(Message, frozen=True):
    """A rule for TCP connections."""

    match: tuple[L4MatchAttributes, ...] = ()
    """Any of these must hold; every connection when empty."""
    route: tuple[RouteDestination, ...] = ()
    """Weighted back ends."""


class VirtualServiceSpec(Message, frozen=True):
    """Routes for hosts."""

    hosts: tuple[str, ...] = ()
    """Host names, also with a leading `*.`; short names are read in the object's namespace."""
    gateways: tuple[str, ...] = ()
    """Gateways (`name` or `namespace/name`), or `mesh` for calls inside; only `mesh` when empty."""
    http: tuple[HTTPRoute, ...] = ()
    """Rules for HTTP, in order."""
    tls: tuple[TLSRoute, ...] = ()
    """Rules for TLS that is passed through, in order."""
    tcp: tuple[TCPRoute, ...] = ()
    """Rules for other connections, in order."""
    export_to: tuple[str, ...] = ()
    """Namespaces that see this object; `.` is its own, `*` all."""


class VirtualService(Message, frozen=True):
    """How traffic to one or more hosts is routed."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """VirtualService."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: VirtualServiceSpec = VirtualServiceSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""
