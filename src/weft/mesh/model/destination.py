"""Destinations: endpoints and how calls are spread over them."""

from typing import Literal

from msgspec import Struct

from weft.mesh.model.access import Access, AccessPolicy, Authentication
from weft.mesh.model.protocol import AppProtocol
from weft.mesh.model.tls import UpstreamTls

HealthStatus = Literal["HEALTHY", "DRAINING", "UNHEALTHY"]


LABELS_APP = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
"""The first one that a pod has names its service in telemetry."""


class Endpoint(Struct, frozen=True, gc=False):
    """One address that serves a destination."""

    address: str
    """IP; a host name only when the destination's discovery is `dns` or `logical_dns`."""
    port: int
    gate: str = ""
    """The name under which the proxy of its node takes calls for it, over mutual TLS; empty: it is
    reached directly."""
    own_port: int = 0
    """Host isolation: the port that its pod declares, which stands in policies. 0: it is `port`."""
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
    fallback: int = 0
    """Above 0: it takes over for those with lower numbers, in so far as they are unhealthy."""
    service: str = ""
    """The service that it takes over from, whose policies it has; empty is the destination's."""


class HashKey(Struct, frozen=True, gc=False):
    """What consistent hashing hashes."""

    kind: Literal["header", "cookie", "source_ip", "query"]
    name: str = ""
    cookie_ttl: float | None = None
    cookie_path: str = ""
    cookie_attributes: tuple[tuple[str, str], ...] = ()
    """(name, value) of further attributes of a cookie that is made."""


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
    zone_aware: bool = False
    """Endpoints of the caller's region come first. Among these, its zone takes all calls where it
    has at least the share of endpoints that the zone has of callers, else its own share."""
    zone_aware_endpoints_min: int = 6
    """In the caller's region; with fewer, zones do not matter."""
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
    """Limits; None is weft's default (unlimited: a shared proxy must not couple its callers).
    They are counted for each calling workload, unless they are shared."""

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
    """Of connections that carry requests."""
    bytes_idle_timeout: float | None = None
    """Of connections of bytes."""
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
    retry_budget_interval: float = 0.0
    """Seconds whose requests count; 0 is those under way."""
    ping_interval: float = 0.0
    """Seconds between HTTP/2 pings; 0 is none."""
    ping_timeout: float = 0.0
    shared: bool = False
    """The limits are counted for all callers of a proxy together: they protect the endpoints."""


class SuccessRate(Struct, frozen=True, gc=False):
    """Ejection of endpoints that succeed so many standard deviations less often than the mean."""

    hosts_min: int = 5
    requests_min: int = 100
    """In an interval."""
    deviations: float = 1.9


class FailurePercentage(Struct, frozen=True, gc=False):
    """Ejection of endpoints of which so many requests fail."""

    percent: int = 85
    hosts_min: int = 5
    requests_min: int = 50
    """In an interval."""


class OutlierDetection(Struct, frozen=True, gc=False):
    """Ejection of failing endpoints; None or 0 turns a detector off."""

    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_local_origin_failures: int | None = None
    success_rate: SuccessRate | None = None
    failure_percentage: FailurePercentage | None = None
    split_local_origin: bool = False
    statuses: tuple[int, ...] = ()
    """HTTP statuses that count as errors; empty is all from 500 on."""
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


class AdmissionControl(Struct, frozen=True, gc=False):
    """Refusal of a share of the requests while too many of them fail."""

    success_percent: float = 95.0
    """Share of successes below which requests are refused."""
    window: float = 30.0
    """Seconds that are looked back on."""
    aggression: float = 1.0
    """How fast the refused share grows; 1 is in proportion."""
    requests_per_second_min: int = 0
    """Below, nothing is refused."""
    rejection_percent_max: float = 80.0


class Tunnel(Struct, frozen=True, gc=False):
    """Connections go through an HTTP proxy, which the endpoints are, to a target that it calls."""

    target: str
    """`host:port`, as the proxy is told."""
    post: bool = False
    """Ask with POST, not CONNECT."""


class ComingPod(Struct, frozen=True, gc=False):
    """A port of a pod that will be an endpoint once it is ready."""

    node: str
    pod_uid: str
    port: int


class Destination(Struct, frozen=True, gc=False):
    """A port of a service, or of one of its subsets: what Envoy calls a cluster."""

    name: str
    host: str
    port: int
    protocol: AppProtocol
    discovery: Literal["endpoints", "dns", "logical_dns", "original_dst", "dynamic", "gateway"] = (
        "endpoints"
    )
    """`logical_dns`: as `dns`, but new connections go to the first address that DNS gives, and
    those that are open stay when it gives others. `dynamic`: the host that the caller names is
    resolved when it calls. `gateway`: the egress gateway's listener for `port`."""
    subset: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    load_balancer: LoadBalancer = LoadBalancer()
    pool: ConnectionPool = ConnectionPool()
    outlier: OutlierDetection | None = None
    health_check: HealthCheck | None = None
    panic_percent: int | None = None
    """With fewer healthy endpoints, all are used. None is the outlier detection's, else never."""
    through_inbound: bool = False
    """Its pods are reached through their own inbound listeners, which do what users had them do."""
    admission: AdmissionControl | None = None
    request_bytes_max: int = 0
    """Longer bodies are answered 413; bodies are read whole before they are sent on. 0: none."""
    compression: tuple[Literal["gzip", "brotli", "zstd"], ...] = ()
    """Of responses, for callers that take it; the first that a caller takes."""
    node_local: bool = False
    """A node's proxy uses the endpoints of its own node only."""
    tls: UpstreamTls | None = None
    proxy_protocol: Literal["", "V1", "V2"] = ""
    """Connections begin with the caller's address (haproxy's PROXY protocol)."""
    tunnel: Tunnel | None = None
    """Of connections, not of requests."""
    service: str = ""
    """Name of the Kubernetes service (or the host of a ServiceEntry), for telemetry."""
    namespace: str = ""
    access: tuple[Access, ...] = ()
    """Who may call which of the endpoints. Every endpoint is in one of these, or has no policy."""
    authentication: Authentication | None = None
    """The tokens that requests may carry."""
    asked: tuple[AccessPolicy, ...] = ()
    """For which requests to it an authorizer is asked before an endpoint is chosen."""
    source: str = ""
    """The objects that shaped it, for explain, e.g. `DestinationRule default/weather`."""
    coming: tuple[ComingPod, ...] = ()
    """Pods that do not serve yet. Their nodes' proxies let calls in before anybody sends one."""
    wakes: str = ""
    """The workload of its namespace that calls wake when nobody serves: `deployment/web`."""
    asleep: bool = False
    """Calls are held until the workload is awake."""
