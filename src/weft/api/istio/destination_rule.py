"""DestinationRule: how a host's endpoints are called. Fields after the public Istio reference."""

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from weft.api.istio.common import (
    Count,
    Duration,
    HttpStatus,
    IstioStatus,
    Message,
    Percent,
    PercentInt,
    Port,
    PortSelector,
    WorkloadSelector,
)
from weft.api.k8s.meta_v1 import ObjectMeta


class HTTPCookieAttribute(Message, frozen=True):
    """An attribute of a generated cookie."""

    name: str = ""
    """Its name, e.g. SameSite."""
    value: str = ""
    """Its value; may be empty."""


class HTTPCookie(Message, frozen=True):
    """A cookie that is hashed, made when the request has none and `ttl` is set."""

    name: str = ""
    """The cookie's name."""
    path: str = ""
    """The cookie's path."""
    ttl: Duration = ""
    """Life of a generated cookie; `0s` makes a session cookie."""
    attributes: tuple[HTTPCookieAttribute, ...] = ()
    """More attributes of a generated cookie."""


class RingHash(Message, frozen=True):
    """The ring hash algorithm."""

    minimum_ring_size: Count | None = None
    """Least number of places on the ring; 1024 when absent."""


class MagLev(Message, frozen=True):
    """The Maglev algorithm."""

    table_size: Count | None = None
    """Size of the table, a prime; 65537 when absent."""


class ConsistentHashLB(Message, frozen=True):
    """Endpoint chosen by a hash of one part of the request."""

    http_header_name: str = ""
    """Hash this header."""
    http_cookie: HTTPCookie | None = None
    """Hash this cookie."""
    use_source_ip: bool | None = None
    """Hash the client's address."""
    http_query_parameter_name: str = ""
    """Hash this query parameter."""
    ring_hash: RingHash | None = None
    """Use a ring hash, the default."""
    maglev: MagLev | None = None
    """Use Maglev."""
    minimum_ring_size: Count | None = None
    """Old place of `ringHash.minimumRingSize`."""


class LocalityDistribute(Message, frozen=True):
    """Shares of traffic from one locality."""

    from_: str = field(default="", name="from")
    """Locality of the caller: region/zone/sub-zone, `*` for any part."""
    to: Mapping[str, Count] = {}
    """Locality to share; the shares add up to 100."""


class LocalityFailover(Message, frozen=True):
    """Where traffic of a region goes when the region's endpoints fail."""

    from_: str = field(default="", name="from")
    """The region that fails."""
    to: str = ""
    """The region that takes over."""


class LocalityLbSetting(Message, frozen=True):
    """Load balancing by locality."""

    distribute: tuple[LocalityDistribute, ...] = ()
    """Fixed shares; excludes `failover`."""
    failover: tuple[LocalityFailover, ...] = ()
    """Order between regions; excludes `distribute`."""
    failover_priority: tuple[str, ...] = ()
    """Labels, most important first, in which caller and endpoint should agree."""
    enabled: bool | None = None
    """Switches locality load balancing on or off."""


class WarmupConfiguration(Message, frozen=True):
    """Let new endpoints take load slowly."""

    duration: Duration = ""
    """How long an endpoint warms up."""
    minimum_percent: Percent | None = None
    """Share of its weight that it starts with; 10 when absent."""
    aggression: float | None = None
    """Shape of the increase, at least 1; 1 is a straight line."""


class ZoneAwareLbSetting(Message, frozen=True):
    """Endpoints of the caller's zone come first, as far as they can take its share of the calls."""

    enabled: bool | None = None
    """Switches it on or off."""
    failover: tuple[LocalityFailover, ...] = ()
    """Order between regions."""
    failover_priority: tuple[str, ...] = ()
    """Labels, most important first, in which caller and endpoint should agree."""
    min_cluster_size: Count | None = None
    """Endpoints in the caller's region that it takes at least; 6 when absent."""


class LoadBalancerSettings(Message, frozen=True):
    """How an endpoint is chosen; one of `simple` and `consistentHash`."""

    simple: Literal[
        "", "UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"
    ] = ""
    """A plain algorithm; LEAST_REQUEST when absent."""
    consistent_hash: ConsistentHashLB | None = None
    """Sticky choice by a hash."""
    locality_lb_setting: LocalityLbSetting | None = None
    """Preference by locality."""
    zone_aware_lb_setting: ZoneAwareLbSetting | None = None
    """Preference of the caller's zone."""
    warmup_duration_secs: Duration = ""
    """Old place of `warmup.duration`."""
    warmup: WarmupConfiguration | None = None
    """Slow start of new endpoints; ROUND_ROBIN and LEAST_REQUEST only."""


class TcpKeepalive(Message, frozen=True):
    """TCP keep-alive of connections to endpoints."""

    probes: Count | None = None
    """Unanswered probes until the connection is dead."""
    time: Duration = ""
    """Idle time before the first probe."""
    interval: Duration = ""
    """Time between probes."""


class TCPSettings(Message, frozen=True):
    """Limits of connections."""

    max_connections: Count | None = None
    """Connections to the host at most."""
    connect_timeout: Duration = ""
    """Limit of connecting; 10s when absent."""
    tcp_keepalive: TcpKeepalive | None = None
    """Keep-alive."""
    max_connection_duration: Duration = ""
    """Longest life of a connection."""
    idle_timeout: Duration = ""
    """Idle time after which a TCP connection closes; 1h when absent."""


class Http2KeepAlive(Message, frozen=True):
    """HTTP/2 pings on connections to endpoints."""

    interval: Duration = ""
    """Time between pings."""
    timeout: Duration = ""
    """Time for an answer, until the connection is dead."""


class HTTPSettings(Message, frozen=True):
    """Limits of HTTP traffic."""

    http1_max_pending_requests: Count | None = None
    """Requests that may wait for a connection."""
    http2_max_requests: Count | None = None
    """Requests at one time."""
    max_requests_per_connection: Count | None = None
    """Requests after which a connection closes; 1 switches keep-alive off."""
    max_retries: Count | None = None
    """Retries at one time."""
    idle_timeout: Duration = ""
    """Idle time after which a connection closes; 1h when absent."""
    h2_upgrade_policy: Literal["", "DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = ""
    """Whether HTTP/1.1 becomes HTTP/2 on the way to the endpoint."""
    use_client_protocol: bool | None = None
    """Speak to endpoints what the client spoke."""
    max_concurrent_streams: Count | None = None
    """HTTP/2 streams per connection."""
    http2_keep_alive: Http2KeepAlive | None = None
    """Pings."""


class ConnectionPoolSettings(Message, frozen=True):
    """Limits of connections and requests."""

    tcp: TCPSettings | None = None
    """For TCP and HTTP."""
    http: HTTPSettings | None = None
    """For HTTP."""


class OutlierDetection(Message, frozen=True):
    """Eject endpoints that fail."""

    consecutive_errors: Count | None = None
    """Old name of `consecutive5xxErrors`, for gateway errors."""
    split_external_local_origin_errors: bool | None = None
    """Count failures to connect apart from answers of the endpoint."""
    consecutive_local_origin_failures: Count | None = None
    """Failures to connect in a row until ejection; with the split only."""
    consecutive_gateway_errors: Count | None = None
    """502, 503 or 504 in a row until ejection."""
    consecutive_5xx_errors: Count | None = field(default=None, name="consecutive5xxErrors")
    """5xx in a row until ejection; 5 when absent, 0 switches it off."""
    interval: Duration = ""
    """Time between sweeps; 10s when absent."""
    base_ejection_time: Duration = ""
    """Ejection lasts this long times the number of ejections; 30s when absent."""
    max_ejection_percent: PercentInt | None = None
    """Share of endpoints that may be ejected; 10 when absent."""
    outlier_detection_http_error_codes: tuple[HttpStatus, ...] = ()
    """Statuses that count as errors; 500 to 599 when absent."""
    min_health_percent: PercentInt | None = None
    """Detection stops when fewer endpoints than this are healthy; 0 when absent."""


class ClientTLSSettings(Message, frozen=True):
    """TLS towards endpoints."""

    mode: Literal["", "DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = ""
    """Whether and how TLS is used."""
    client_certificate: str = ""
    """File of the client certificate; MUTUAL."""
    private_key: str = ""
    """File of its key; MUTUAL."""
    ca_certificates: str = ""
    """File of the authorities to trust."""
    credential_name: str = ""
    """Secret with certificate, key and authorities, instead of files."""
    subject_alt_names: tuple[str, ...] = ()
    """Names of which the endpoint's certificate must have one."""
    sni: str = ""
    """Server name to send."""
    insecure_skip_verify: bool | None = None
    """Do not check the endpoint's certificate."""
    ca_crl: str = ""
    """File of revoked certificates."""


class TunnelSettings(Message, frozen=True):
    """Reach the real target through an HTTP proxy."""

    protocol: str = ""
    """CONNECT or POST."""
    target_host: str = ""
    """Host to tunnel to."""
    target_port: Port | None = None
    """Port to tunnel to."""


class ProxyProtocol(Message, frozen=True):
    """Send a PROXY protocol header to endpoints."""

    version: Literal["", "V1", "V2"] = ""
    """Version of the header; V1 when absent."""


class RetryBudget(Message, frozen=True):
    """Limit retries to a share of the active requests."""

    percent: Percent | None = None
    """Share of active and pending requests; 20 when absent."""
    min_retry_concurrency: Count | None = None
    """Retries that are always allowed; 3 when absent."""
    budget_interval: Duration = ""
    """Requests of so long a time count; those under way when absent or 0."""


class PortTrafficPolicy(Message, frozen=True):
    """A policy for one port; what it leaves out takes defaults, not the host's policy."""

    port: PortSelector | None = None
    """Which port."""
    load_balancer: LoadBalancerSettings | None = None
    """Choice of the endpoint."""
    connection_pool: ConnectionPoolSettings | None = None
    """Limits."""
    outlier_detection: OutlierDetection | None = None
    """Ejection of failing endpoints."""
    tls: ClientTLSSettings | None = None
    """TLS towards endpoints."""


class TrafficPolicy(Message, frozen=True):
    """How endpoints are chosen, limited and protected."""

    load_balancer: LoadBalancerSettings | None = None
    """Choice of the endpoint."""
    connection_pool: ConnectionPoolSettings | None = None
    """Limits."""
    outlier_detection: OutlierDetection | None = None
    """Ejection of failing endpoints."""
    tls: ClientTLSSettings | None = None
    """TLS towards endpoints."""
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    """Policies of single ports."""
    tunnel: TunnelSettings | None = None
    """Tunnel through a proxy."""
    proxy_protocol: ProxyProtocol | None = None
    """PROXY protocol towards endpoints."""
    retry_budget: RetryBudget | None = None
    """Limit of retries."""


class Subset(Message, frozen=True):
    """A part of a host's endpoints, e.g. one version."""

    name: str = ""
    """Name that routes refer to."""
    labels: Mapping[str, str] = {}
    """Labels that an endpoint's pod must all have."""
    traffic_policy: TrafficPolicy | None = None
    """Policy of this subset; what it leaves out comes from the host's policy."""


class DestinationRuleSpec(Message, frozen=True):
    """Policies for a host."""

    host: str = ""
    """Name of a service or service entry; short names are read in the object's namespace."""
    traffic_policy: TrafficPolicy | None = None
    """Policy of all subsets and ports."""
    subsets: tuple[Subset, ...] = ()
    """Named parts of the endpoints."""
    export_to: tuple[str, ...] = ()
    """Namespaces that see this object; `.` is its own, `*` all."""
    workload_selector: WorkloadSelector | None = None
    """Callers for which the rule holds; all when absent."""


class DestinationRule(Message, frozen=True):
    """How the endpoints of a host are called, after routing."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """DestinationRule."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: DestinationRuleSpec = DestinationRuleSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""
