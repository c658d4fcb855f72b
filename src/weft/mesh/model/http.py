"""HTTP in the mesh model: matches, routes, virtual hosts, and what is done to requests."""

from typing import Literal

from msgspec import Struct

from weft.mesh.model.access import AccessPolicy, Authentication, Authorizer
from weft.mesh.model.login import Login
from weft.mesh.model.text import StringMatch


class Header(Struct, frozen=True, gc=False):
    name: str
    value: str


class HeaderOperations(Struct, frozen=True, gc=False):
    """Changes to request or response headers; `set` overwrites, `add` appends."""

    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class NamedMatch(Struct, frozen=True, gc=False):
    """A match on a header or query parameter. `invert` is true for withoutHeaders."""

    name: str
    match: StringMatch
    invert: bool = False


class HttpMatch(Struct, frozen=True, gc=False):
    """All given parts must hold. An empty match matches every request."""

    path: StringMatch | None = None
    """Of the path without the query."""
    ignore_path_case: bool = False
    method: StringMatch | None = None
    authority: StringMatch | None = None
    scheme: StringMatch | None = None
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    source_namespaces: tuple[str, ...] = ()
    """When not empty: the caller's workload is in one of these namespaces. Short host names mean
    the caller's own namespace; this is how one table serves callers of all namespaces."""
    source_labels: tuple[tuple[str, str], ...] = ()
    """Labels that the caller's workload has, all of them."""
    source_workload: str = ""
    """`<namespace>/<workload>` of the caller."""
    path_segments: bool = False
    """A path prefix ends at a segment: `/foo` holds for `/foo` and `/foo/bar`, not `/foobar`."""
    percent: float = 100.0
    """Holds for this share of the requests only, by chance; 0..100."""


NOWHERE = ""
"""Destination of connections that are closed, and of datagrams that are dropped."""


class WeightedDestination(Struct, frozen=True, gc=False):
    """A share of the traffic. `destination` is the name of a Destination of the same model."""

    destination: str
    weight: int = 1
    request_headers: HeaderOperations = HeaderOperations()
    response_headers: HeaderOperations = HeaderOperations()
    closed_by: str = ""
    """`<namespace>/<name>` of the PeerAuthentication that keeps such callers from it."""


class Redirect(Struct, frozen=True, gc=False):
    """Answer with a redirect; empty parts keep the request's own."""

    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    prefix_rewrite: str = ""
    code: int = 301
    regex: str = ""
    """Replaced in the path by `substitution`, when not empty (RE2)."""
    substitution: str = ""


class DirectResponse(Struct, frozen=True, gc=False):
    """Answer without a back end."""

    status: int
    body: str = ""


class Rewrite(Struct, frozen=True, gc=False):
    """Changes to what the back end sees. `prefix` replaces the matched prefix (or whole exact
    path); `regex` and `substitution` replace all matches in the path (RE2)."""

    prefix: str | None = None
    authority: str = ""
    regex: str = ""
    substitution: str = ""


class RetryPolicy(Struct, frozen=True, gc=False):
    """`attempts` counts retries, not the first try; 0 is no retry (a direct return).

    `conditions` are Envoy's retry-on words, e.g. `connect-failure`; `status_codes` are retried too.
    """

    attempts: int = 2
    conditions: tuple[str, ...] = ()
    status_codes: tuple[int, ...] = ()
    per_try_timeout: float | None = None
    backoff_base: float | None = None
    backoff_max: float | None = None
    previous_hosts: bool = False
    """True: a retry may go to a host already tried; False: another is preferred."""
    remote_localities: bool = False
    """A retry goes to endpoints of a lower priority, in other localities."""
    retriable_headers: tuple[NamedMatch, ...] = ()
    """Answers with one of these headers are retried."""
    reset_headers: tuple[tuple[str, Literal["seconds", "unix_timestamp"]], ...] = ()
    """Headers of answers that say when to try again, in order of preference, instead of the
    back-off."""
    reset_max: float | None = None
    """Seconds; later times do not count."""
    safe_method_conditions: tuple[str, ...] = ()
    """Further conditions for GET, HEAD and OPTIONS only: `reset` lets a request that was under way
    on a killed back end succeed elsewhere, which is right only where a repeat changes nothing."""


class Fault(Struct, frozen=True, gc=False):
    """Injected faults; percentages are 0..100. At most one of the two statuses is set."""

    delay: float = 0.0
    delay_percent: float = 0.0
    abort_status: int = 0
    abort_grpc_status: int = 0
    """A gRPC status, 1 to 16."""
    abort_percent: float = 0.0


class Mirror(Struct, frozen=True, gc=False):
    """A copy of a share of the requests, its answers ignored."""

    destination: str
    percent: float = 100.0


class Cors(Struct, frozen=True, gc=False):
    """What browsers may do with answers, for pages of other origins."""

    origins: tuple[StringMatch, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """Request headers that pages may set."""
    expose: tuple[str, ...] = ()
    """Response headers that pages may read."""
    max_age: float | None = None
    credentials: bool | None = None
    forward_unmatched: bool = True
    """Preflights of other origins go to the back end; else the proxy answers them."""


class RateLimitKey(Struct, frozen=True, gc=False):
    """What requests are counted by. `name` is a header's, or a query parameter's."""

    kind: Literal[
        "header", "query", "source_principal", "source_namespace", "client_address", "path"
    ]
    name: str = ""


class RateLimit(Struct, frozen=True, gc=False):
    """A limit on requests, shared by all routes that name it. A request is counted when all given
    parts hold for it and it has all the keys; each combination of keys has a limit of its own."""

    name: str
    """Unique in the mesh: `<namespace>/<policy>/<rule>`."""
    requests: int
    per: float
    """Seconds in which `requests` are let through, in the long run."""
    burst: int
    """Requests that may come at once after a pause."""
    everywhere: bool = False
    """True: all proxies count together. False: each proxy counts, per route table, by itself."""
    path: StringMatch | None = None
    """Of the path without the query."""
    methods: tuple[str, ...] = ()
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    source_principal: str = ""
    source_namespace: str = ""
    client_network: str = ""
    """CIDR, in its canonical form."""
    keys: tuple[RateLimitKey, ...] = ()
    shadow: bool = False
    """What would be refused is only counted."""
    fail_closed: bool = False
    """Of a limit that all proxies count together: requests are refused while counters cannot be
    reached."""


class Bandwidth(Struct, frozen=True, gc=False):
    """Limits on bodies, KiB per second; 0 is none. Each proxy counts for each route by itself."""

    request: int = 0
    response: int = 0


class AdaptiveConcurrency(Struct, frozen=True, gc=False):
    """A limit of requests under way that follows the latency. Each listener measures by itself."""

    name: str
    """Unique in the mesh: `<namespace>/<policy>`. All routes that name it share a limit."""
    percentile: float = 90.0
    """Of an interval's latencies, the one that is compared."""
    interval: float = 0.1
    """Seconds between two settings of the limit."""
    limit_max: int = 1000
    limit_min: int = 3
    """While the latency without load is measured."""
    baseline_interval: float = 60.0
    """Seconds between two such measurements."""
    baseline_requests: int = 50
    headroom_percent: float = 25.0
    """How much more than the latency without load is normal."""


class Session(Struct, frozen=True, gc=False):
    """Requests that carry what the proxy gave out go to the endpoint that it names, for as long as
    that is there."""

    kind: Literal["cookie", "header"]
    name: str
    ttl: float = 0.0
    """Seconds that a cookie lasts; 0 is the browser's session."""
    path: str = "/"


class HttpRoute(Struct, frozen=True, gc=False):
    """The first route of a virtual host with a match that holds is taken.

    Exactly one of `destinations` (not empty), `redirect`, `direct_response` is the action.
    """

    name: str
    """Shown in access logs and by `explain`, e.g. `default/weather/http[0]`."""
    matches: tuple[HttpMatch, ...] = (HttpMatch(),)
    destinations: tuple[WeightedDestination, ...] = ()
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    rewrite: Rewrite | None = None
    timeout: float | None = None
    """Whole request including retries; None or 0 is none."""
    idle_timeout: float | None = None
    """A stream may be silent for so long; None or 0 is for ever."""
    stream_duration_max: float | None = None
    """From a stream's begin to its end; None or 0 is for ever."""
    retry: RetryPolicy | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    request_headers: HeaderOperations = HeaderOperations()
    response_headers: HeaderOperations = HeaderOperations()
    rate_limits: tuple[RateLimit, ...] = ()
    """A request must pass all that count it, else it is answered 429."""
    bandwidth: Bandwidth | None = None
    adaptive: AdaptiveConcurrency | None = None
    session: Session | None = None
    login: Login | None = None
    """What callers from outside must show."""
    asks: tuple[Authorizer, ...] = ()
    """All of them must let a request pass."""
    source: str = ""
    """The object it comes from: `VirtualService default/weather`, or `Service default/web`."""
    closed_by: str = ""
    """`<namespace>/<name>` of the PeerAuthentication for which it refuses all callers."""


class VirtualHost(Struct, frozen=True, gc=False):
    """Routes for some Host values. Domains are exact, `*.suffix`, or `*`; within a table no domain
    stands twice. A request that no route matches is answered 404."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[HttpRoute, ...]
    addresses: tuple[str, ...] = ()
    """Service addresses (ClusterIPs, VIPs) that only the mesh can reach: a connection to one of
    them whose Host names no virtual host of the table belongs to this virtual host. Within a table
    no address stands twice."""


class UnknownHosts(Struct, frozen=True, gc=False):
    """What becomes of calls to hosts that the caller does not know."""

    mode: Literal["pass", "refuse", "resolve"] = "pass"
    """`pass` sends them where they were going, `refuse` answers requests with 502 and closes
    other connections, `resolve` sends requests to what DNS says of Host and passes the rest."""
    proxy: str = ""
    """Name of a destination that gets them all instead."""


PASS_UNKNOWN = UnknownHosts()


class RouteTable(Struct, frozen=True, gc=False):
    """The HTTP routing of a port (name `80`) or of a gateway (`http.8080.gateway.ns.name`)."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    passthrough: bool = True
    """Unknown hosts: True is for calls inside the mesh, see `unknown`; False answers 404."""
    ignore_port: bool = False
    """A port in Host is ignored when a virtual host is looked up; no domain has one then."""
    access: tuple[AccessPolicy, ...] = ()
    """Of gateways: policies for all requests that enter through the table."""
    authentication: Authentication | None = None
    """Of gateways: the tokens that requests may carry."""
    unknown: UnknownHosts = PASS_UNKNOWN
