"""The mesh model: what the mesh shall do, in mesh words, as frozen values.

`build` makes a MeshModel from API objects; `scope` cuts it to a NodeModel, the only input of the
translation to Envoy. Everything a proxy needs is in here, and nothing else: a value that is equal
gives the same Envoy resources, byte for byte. The model imports nothing of weft but its own parts.

Times are seconds (float). Names follow Istio where users will look for them: a destination is
named `outbound|80|v1|reviews.default.svc.cluster.local` as Istio names clusters.

Values refer to values only, never in a circle, so the garbage collector need not follow them
(`gc=False`): that halves the time of a build with ten thousand endpoints.
"""

from typing import Literal

from msgspec import Struct

from weft.mesh.model_tls import GatewayTls as GatewayTls  # noqa: PLC0414 - a part of the model
from weft.mesh.model_tls import UpstreamTls as UpstreamTls  # noqa: PLC0414

AppProtocol = Literal["http", "http2", "grpc", "tcp", "tls", "udp", "auto"]
"""How a port is treated. `http` is HTTP/1.1 with upgrades; http2 and grpc are HTTP/2 cleartext;
`auto` is not declared: a connection that begins like HTTP is HTTP (upstream HTTP/1.1, or HTTP/2
when the caller speaks that), anything else is bytes."""


class Header(Struct, frozen=True, gc=False):
    name: str
    value: str


class HeaderOperations(Struct, frozen=True, gc=False):
    """Changes to request or response headers; `set` overwrites, `add` appends."""

    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class StringMatch(Struct, frozen=True, gc=False):
    """`regex` is RE2 and must match the whole value; `present` ignores `value`."""

    kind: Literal["exact", "prefix", "regex", "present"]
    value: str = ""


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
    path_segments: bool = False
    """A path prefix ends at a segment: `/foo` holds for `/foo` and `/foo/bar`, not `/foobar`."""
    percent: float = 100.0
    """Holds for this share of the requests only, by chance; 0..100."""


class WeightedDestination(Struct, frozen=True, gc=False):
    """A share of the traffic. `destination` is the name of a Destination of the same model."""

    destination: str
    weight: int = 1
    request_headers: HeaderOperations = HeaderOperations()
    response_headers: HeaderOperations = HeaderOperations()


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
    """What requests are counted by. `name` is a header's."""

    kind: Literal["header", "source_principal", "source_namespace", "client_address", "path"]
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
    source_principal: str = ""
    source_namespace: str = ""
    client_network: str = ""
    """CIDR, in its canonical form."""
    keys: tuple[RateLimitKey, ...] = ()
    shadow: bool = False
    """What would be refused is only counted."""


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
    retry: RetryPolicy | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    request_headers: HeaderOperations = HeaderOperations()
    response_headers: HeaderOperations = HeaderOperations()
    rate_limits: tuple[RateLimit, ...] = ()
    """A request must pass all that count it, else it is answered 429."""
    source: str = ""
    """The object it comes from: `VirtualService default/weather`, or `Service default/web`."""


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


class RouteTable(Struct, frozen=True, gc=False):
    """The HTTP routing of a port (name `80`) or of a gateway (`http.8080.gateway.ns.name`)."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    passthrough: bool = True
    """Unknown hosts: True sends them where the connection was going, False answers 404."""
    ignore_port: bool = False
    """A port in Host is ignored when a virtual host is looked up; no domain has one then."""


HealthStatus = Literal["HEALTHY", "DRAINING", "UNHEALTHY"]


class Endpoint(Struct, frozen=True, gc=False):
    """One address that serves a destination."""

    address: str
    """IP; a host name only when the destination's discovery is `dns`."""
    port: int
    health: HealthStatus = "HEALTHY"
    weight: int = 1
    node: str = ""
    """Node that runs it; empty for what weft does not run."""
    pod_uid: str = ""
    workload: str = ""
    """Canonical workload name, for telemetry."""
    namespace: str = ""
    version: str = ""
    principal: str = ""
    """SPIFFE ID; empty when unknown."""
    labels: tuple[tuple[str, str], ...] = ()
    locality: str = ""
    """region/zone/subzone."""


class HashKey(Struct, frozen=True, gc=False):
    """What consistent hashing hashes."""

    kind: Literal["header", "cookie", "source_ip", "query"]
    name: str = ""
    cookie_ttl: float | None = None
    cookie_path: str = ""


class WarmUp(Struct, frozen=True, gc=False):
    """New endpoints take load slowly; for round robin and least request."""

    duration: float
    percent_min: float = 10.0
    """Share of its weight that an endpoint starts with."""
    aggression: float = 1.0
    """Shape of the increase; 1 is a straight line."""


class LocalityShares(Struct, frozen=True, gc=False):
    """How calls from a locality are shared out among localities (`region/zone/*`)."""

    origin: str
    shares: tuple[tuple[str, int], ...]
    """(locality, share); the shares add up to 100."""


class LocalityPolicy(Struct, frozen=True, gc=False):
    """Preference of endpoints by where they are. At most one of the three tuples is given."""

    distribute: tuple[LocalityShares, ...] = ()
    failover: tuple[tuple[str, str], ...] = ()
    """(region that fails, region that takes over)."""
    labels: tuple[tuple[str, str], ...] = ()
    """Labels, most important first, in which endpoints should agree with the caller's node, or
    have the value given here."""
    failover_enabled: bool = False
    """Nearer endpoints are preferred: subzone, zone, region. Needs outlier detection, without
    which nobody would find out that they fail."""


class LoadBalancer(Struct, frozen=True, gc=False):
    algorithm: Literal[
        "round_robin",
        "least_request",
        "least_response_time",
        "random",
        "ring_hash",
        "maglev",
    ] = "least_request"
    hash_key: HashKey | None = None
    ring_size_min: int = 1024
    maglev_table_size: int = 65537
    """A prime."""
    warm_up: WarmUp | None = None
    locality: LocalityPolicy | None = None


class ConnectionPool(Struct, frozen=True, gc=False):
    """Limits; None is weft's default (unlimited: a shared proxy must not couple its callers)."""

    connections_max: int | None = None
    connect_timeout: float = 10.0
    pending_requests_max: int | None = None
    requests_max: int | None = None
    requests_per_connection_max: int | None = None
    streams_per_connection_max: int | None = None
    """HTTP/2 requests at one time on a connection."""
    connection_duration_max: float | None = None
    retries_max: int | None = None
    idle_timeout: float | None = None
    tcp_keepalive: bool = False
    keepalive_probes: int = 0
    """0 is the kernel's value, here and below."""
    keepalive_time: float = 0.0
    keepalive_interval: float = 0.0
    client_protocol: bool = False
    """Speak to endpoints the version of HTTP that the caller spoke."""
    retry_budget_percent: float | None = None
    """Retries at one time, as a share of the requests under way."""
    retry_budget_min: int = 3


class OutlierDetection(Struct, frozen=True, gc=False):
    """Ejection of failing endpoints; None or 0 turns a detector off."""

    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_local_origin_failures: int | None = None
    split_local_origin: bool = False
    interval: float = 10.0
    base_ejection_time: float = 30.0
    ejection_percent_max: int = 10
    health_percent_min: int = 0


class HealthCheck(Struct, frozen=True, gc=False):
    """Active checks of a destination's endpoints by each proxy; times in seconds."""

    kind: Literal["http", "tcp", "grpc"]
    path: str = "/"
    host: str = ""
    statuses: tuple[int, ...] = (200,)
    grpc_service: str = ""
    interval: float = 5.0
    timeout: float = 1.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 3


class Destination(Struct, frozen=True, gc=False):
    """A port of a service, or of one of its subsets: what Envoy calls a cluster."""

    name: str
    host: str
    port: int
    protocol: AppProtocol
    discovery: Literal["endpoints", "dns", "original_dst"] = "endpoints"
    subset: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    load_balancer: LoadBalancer = LoadBalancer()
    pool: ConnectionPool = ConnectionPool()
    outlier: OutlierDetection | None = None
    health_check: HealthCheck | None = None
    panic_percent: int | None = None
    """With fewer healthy endpoints, all are used. None is the outlier detection's, else never."""
    tls: UpstreamTls | None = None
    service: str = ""
    """Name of the Kubernetes service (or the host of a ServiceEntry), for telemetry."""
    namespace: str = ""
    source: str = ""
    """The objects that shaped it, for explain, e.g. `DestinationRule default/weather`."""


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
    server_first: bool = True
    """The protocol may have the server speak first: no inspection may delay it."""
    http_table: str = ""
    """When not empty (a port of protocol `auto`): connections that begin like HTTP are routed by
    this table; only the others go to `destinations` as bytes. `server_first` is False then."""
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


class ServiceListener(Struct, frozen=True, gc=False):
    """Host isolation: a service address that the node proxy itself listens on.

    Exactly one of `route_table` and `tcp` is set.
    """

    address: str
    port: int
    route_table: str = ""
    tcp: TcpRoute | None = None
    host: str = ""
    """The service it stands for; the virtual host is chosen by it when Host names none."""


class GatewayServer(Struct, frozen=True, gc=False):
    """One TLS name set (or plain HTTP) on a gateway port."""

    name: str
    """`<namespace>/<gateway>/<server index>`."""
    hosts: tuple[str, ...]
    route_table: str
    """Name of the HTTP route table; empty for TCP."""
    tcp: TcpRoute | None = None
    tls: GatewayTls | None = None
    https_redirect: bool = False


class GatewayListener(Struct, frozen=True, gc=False):
    """A port on which the node proxy receives traffic from outside the mesh."""

    port: int
    """The port that the Gateway object names."""
    protocol: Literal["http", "https", "tcp", "tls"]
    servers: tuple[GatewayServer, ...]


class MeshModel(Struct, frozen=True, gc=False):
    """The whole mesh, for every node."""

    localities: tuple[tuple[str, str], ...] = ()
    """(node, region/zone/subzone) of the nodes that have one."""

    trust_domain: str = "cluster.local"
    workloads: tuple[Workload, ...] = ()
    destinations: tuple[Destination, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    service_listeners: tuple[ServiceListener, ...] = ()
    gateways: tuple[GatewayListener, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    """The limits that all proxies count together."""


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
    """(Gateway port, host port bound for it)."""
    first_port: int = 0
    """Host isolation: the lowest port that the proxy may bind; 0 is no limit."""
    locality: str = ""
    """region/zone/subzone of the node."""
    localities: tuple[tuple[str, str], ...] = ()
    """Those of all nodes that have one."""
    access_log: str = ""
    """File that the proxy writes a JSON line per request to; empty is none."""


class NodeModel(Struct, frozen=True, gc=False):
    """What one node's proxy needs, and the only thing it is translated from."""

    node: NodeSettings
    trust_domain: str = "cluster.local"
    workloads: tuple[Workload, ...] = ()
    destinations: tuple[Destination, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    service_listeners: tuple[ServiceListener, ...] = ()
    gateways: tuple[GatewayListener, ...] = ()
