"""policy.weft.dev/v1alpha1: policies attached to a service or a gateway."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from weft.api.istio.common import Count, Duration, IstioStatus, Message, PercentInt, Regex
from weft.api.k8s.meta_v1 import ObjectMeta

Positive = Annotated[int, Meta(extra_json_schema={"minimum": 1})]
HttpStatus = Annotated[int, Meta(extra_json_schema={"minimum": 100, "maximum": 599})]


class PolicyTarget(Message, frozen=True):
    """The object that a policy is for, in the policy's own namespace."""

    group: str = ""
    """The API group: empty for a Service; networking.istio.io or gateway.networking.k8s.io for a
    Gateway; gateway.networking.k8s.io for routes."""
    kind: Literal["", "Service", "Gateway", "HTTPRoute", "GRPCRoute"] = ""
    """Service, Gateway, HTTPRoute or GRPCRoute."""
    name: str = ""
    """The object's name."""


# ------------------------------------------------------------------ rate limits


class TextMatch(Message, frozen=True):
    """A match on a text; exactly one field is given."""

    exact: str = ""
    """The whole text."""
    prefix: str = ""
    """How the text begins."""
    regex: Regex = ""
    """An RE2 expression that the whole text matches."""


class RateLimitSource(Message, frozen=True):
    """Who calls, as the mesh knows it."""

    principal: str = ""
    """The SPIFFE ID of the caller."""
    namespace: str = ""
    """The namespace of the caller."""


class RateLimitMatch(Message, frozen=True):
    """Requests that a rule counts; all given parts must hold."""

    path: TextMatch | None = None
    """The path, without the query."""
    methods: tuple[str, ...] = ()
    """One of these methods, such as GET."""
    headers: Mapping[str, TextMatch] = {}
    """Headers by name; an empty match asks only that the header is there."""
    query_params: Mapping[str, TextMatch] = {}
    """Query parameters by name; an empty match asks only that the parameter is there."""
    source: RateLimitSource | None = None
    """Who calls."""
    client_cidr: str = field(default="", name="clientCIDR")
    """The network of the client's address, such as 10.0.0.0/8."""


class RateLimitKey(Message, frozen=True):
    """What requests are counted by: each value has a limit of its own."""

    type: Literal[
        "", "header", "query", "sourcePrincipal", "sourceNamespace", "clientAddress", "path"
    ] = ""
    """header, query, sourcePrincipal, sourceNamespace, clientAddress, or path (with its query)."""
    name: str = ""
    """Name of the header or query parameter. Requests without it are not counted."""


class RateLimitAmount(Message, frozen=True):
    """How much is let through."""

    requests: Positive | None = None
    """Requests per unit of time, in the long run."""
    per: Literal["", "second", "minute", "hour"] = ""
    """The unit of time."""
    burst: Positive | None = None
    """Requests that may come at once after a pause; as many as `requests` when absent."""


class RateLimitRule(Message, frozen=True):
    """One limit. A request must pass all rules that count it."""

    name: str = ""
    """A name, unique within the object; the rule's number when absent."""
    match: RateLimitMatch | None = None
    """Requests that are counted; all when absent."""
    key: tuple[RateLimitKey, ...] = ()
    """What they are counted by; all together when empty."""
    limit: RateLimitAmount | None = None
    """How many are let through."""
    shadow: bool | None = None
    """Count what would be refused, refuse nothing."""


class Bandwidth(Message, frozen=True):
    """How many bytes are let through. Bodies wait; nothing is refused."""

    request_kib_per_second: Positive | None = None
    """KiB of request bodies per second; no limit when absent."""
    response_kib_per_second: Positive | None = None
    """KiB of response bodies per second; no limit when absent."""


class RateLimitPolicySpec(Message, frozen=True):
    """Limits for the requests to a service, through a gateway, or by a route."""

    target_ref: PolicyTarget | None = None
    """The Service, Gateway or route."""
    scope: Literal["", "local", "global"] = ""
    """local: each node proxy counts for itself. global: all proxies count together."""
    failure_mode: Literal["", "open", "closed"] = ""
    """Global limits whose counters cannot be reached: open lets requests pass (the default), closed
    refuses them."""
    rules: tuple[RateLimitRule, ...] = ()
    """The limits."""
    bandwidth: Bandwidth | None = None
    """Limits on bytes, for each route and node proxy by itself."""


class RateLimitPolicy(Message, frozen=True):
    """Limits how many requests a service gets, or a gateway lets in. What is over the limit is
    answered 429."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """RateLimitPolicy."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: RateLimitPolicySpec = RateLimitPolicySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""


# ------------------------------------------------------------------ back ends


class HttpHealthCheck(Message, frozen=True):
    """A request that a healthy endpoint answers."""

    path: str = ""
    """The path; `/` when absent."""
    host: str = ""
    """The Host header; the service's name when absent."""
    expected_statuses: tuple[HttpStatus, ...] = ()
    """Statuses of a healthy endpoint; 200 when empty."""


class TcpHealthCheck(Message, frozen=True):
    """A connection that a healthy endpoint accepts."""


class GrpcHealthCheck(Message, frozen=True):
    """A call of grpc.health.v1.Health."""

    service: str = ""
    """The service to ask for; the whole server when absent."""


class HealthCheck(Message, frozen=True):
    """How each node proxy finds out which endpoints are healthy. One of http, tcp, grpc."""

    http: HttpHealthCheck | None = None
    """By a request."""
    tcp: TcpHealthCheck | None = None
    """By a connection."""
    grpc: GrpcHealthCheck | None = None
    """By the gRPC health protocol."""
    interval: Duration = ""
    """Between two checks of an endpoint; 5s when absent."""
    timeout: Duration = ""
    """How long an answer may take; 1s when absent."""
    healthy_threshold: Positive | None = None
    """Checks that must succeed before an endpoint is used again; 2 when absent."""
    unhealthy_threshold: Positive | None = None
    """Checks that must fail before an endpoint is no longer used; 3 when absent."""


class FailoverTarget(Message, frozen=True):
    """Endpoints that take over."""

    service: str = ""
    """Another Service; the policy's own when absent, with a `subset`."""
    namespace: str = ""
    """Its namespace; the policy's own when absent."""
    port: Positive | None = None
    """Its port; the same number as the port called when absent."""
    subset: str = ""
    """A subset that a DestinationRule defines; all endpoints when absent."""


class RetryBudget(Message, frozen=True):
    """How many retries there may be at one time."""

    percent: PercentInt | None = None
    """Share of the requests under way; 20 when absent."""
    min_concurrency: Count | None = None
    """So many are always allowed; 3 when absent."""


class RetryAfter(Message, frozen=True):
    """A header of an answer that names the time of the next try."""

    header: str = ""
    """Its name, such as retry-after or ratelimit-reset."""
    format: Literal["", "seconds", "unixTimestamp"] = ""
    """What it holds: a number of seconds (when absent), or a time in seconds since 1970."""


class BackendRetry(Message, frozen=True):
    """When a request that failed is sent again, where its route says nothing on that."""

    attempts: Count | None = None
    """Tries after the first one; 0 returns every failure to the caller at once. 2 when absent."""
    retry_on: tuple[str, ...] = ()
    """Envoy's conditions, such as 5xx, reset, connect-failure, retriable-4xx, unavailable; the
    mesh's usual ones when empty."""
    status_codes: tuple[HttpStatus, ...] = ()
    """Answers that are retried, too."""
    retriable_headers: Mapping[str, TextMatch] = {}
    """Answers with one of these headers are retried, too; an empty match asks only that the header
    is there."""
    per_try_timeout: Duration = ""
    """How long one try may take."""
    backoff: Duration = ""
    """Least time before the first retry, doubled by every further one; 25ms when absent."""
    max_backoff: Duration = ""
    """The most that it grows to; ten times `backoff` when absent."""
    retry_after: tuple[RetryAfter, ...] = ()
    """Headers of answers that name the time of the next try, the first that is there; it is waited
    for instead of the back-off."""
    max_retry_after: Duration = ""
    """Longer times are not waited for: the back-off holds; 300s when absent."""
    budget: RetryBudget | None = None
    """How many retries there may be at one time; no limit when absent."""


class BackendTimeouts(Message, frozen=True):
    """How long requests may take, where their route says nothing on that. No limit when absent."""

    request: Duration = ""
    """From the request's end to the answer's end, retries included; then 504."""
    idle: Duration = ""
    """A stream without a byte in either direction; then 504, or the stream is reset."""
    max_stream: Duration = ""
    """From a stream's begin to its end, WebSockets and gRPC streams included."""


class SuccessRateEjection(Message, frozen=True):
    """Endpoints that succeed far less often than the others are ejected."""

    minimum_hosts: Count | None = None
    """Endpoints with enough requests that there must be; 5 when absent."""
    request_volume: Count | None = None
    """Requests in an interval that are enough; 100 when absent."""
    stdev_factor: float | None = None
    """Standard deviations below the mean from which on an endpoint is ejected; 1.9 when absent."""


class FailurePercentageEjection(Message, frozen=True):
    """Endpoints of which too many requests fail are ejected."""

    threshold: PercentInt | None = None
    """The percentage; 85 when absent."""
    minimum_hosts: Count | None = None
    """Endpoints that there must be; 5 when absent."""
    request_volume: Count | None = None
    """Requests of an endpoint in an interval that are enough; 50 when absent."""


class OutlierEjection(Message, frozen=True):
    """Ejection by comparison, besides what a DestinationRule's `outlierDetection` counts."""

    success_rate: SuccessRateEjection | None = None
    """By comparison with the other endpoints."""
    failure_percentage: FailurePercentageEjection | None = None
    """By a fixed share."""
    interval: Duration = ""
    """How often is looked; 10s, or the DestinationRule's, when absent."""
    base_ejection_time: Duration = ""
    """How long the first ejection lasts; 30s, or the DestinationRule's, when absent."""
    max_ejection_percent: PercentInt | None = None
    """Share of the endpoints that may be ejected; 10, or the DestinationRule's, when absent."""


class AdmissionControl(Message, frozen=True):
    """Each node proxy refuses (503) a share of the requests while too many of them fail."""

    success_rate_threshold: PercentInt | None = None
    """Percentage of successes below which requests are refused; 95 when absent. Answers of 5xx and
    gRPC statuses of servers' failures are no successes."""
    sampling_window: Duration = ""
    """How far is looked back; 30s when absent."""
    aggression: float | None = None
    """From 1 on; the greater, the more is refused at the same rate of failures; 1 when absent."""
    minimum_requests_per_second: Count | None = None
    """With fewer requests nothing is refused; 0 when absent."""
    max_rejection_percent: PercentInt | None = None
    """The most that is refused; 80 when absent."""


class AdaptiveConcurrency(Message, frozen=True):
    """Each calling pod, and each gateway port, has as many requests under way as do not make the
    service slower: the limit is steered by the latency that is measured. More are answered 503."""

    percentile: PercentInt | None = None
    """Of the latencies of an interval, the one that counts; 90 when absent."""
    update_interval: Duration = ""
    """How often the limit is set anew; 100ms when absent."""
    max_concurrency: Positive | None = None
    """The limit never exceeds it; 1000 when absent."""
    min_concurrency: Positive | None = None
    """The limit while the latency without load is measured; 3 when absent."""
    baseline_interval: Duration = ""
    """How often the latency without load is measured, by letting few requests through; 60s when
    absent."""
    baseline_requests: Positive | None = None
    """Requests that such a measurement takes; 50 when absent."""
    headroom: PercentInt | None = None
    """How much more than the latency without load is taken for normal; 25 when absent."""


class BackendPolicySpec(Message, frozen=True):
    """How the endpoints of a service are chosen and protected."""

    target_ref: PolicyTarget | None = None
    """The Service."""
    load_balancer: Literal["", "leastResponseTime"] = ""
    """leastResponseTime: endpoints get requests in inverse proportion to how long they take."""
    health_check: HealthCheck | None = None
    """Active checks of the endpoints."""
    panic_threshold: PercentInt | None = None
    """When fewer than this percentage of the endpoints are healthy, all are used; 0 is never."""
    max_requests_in_flight: Count | None = None
    """Requests that a node proxy has under way to the service at once; more are answered 503."""
    max_requests_in_flight_per_caller: Count | None = None
    """Requests that one calling workload has under way from a node at once; more are answered 503,
    and other callers are not affected."""
    failover: tuple[FailoverTarget, ...] = ()
    """Who takes over, one after the other, in so far as endpoints are missing or unhealthy."""
    retry: BackendRetry | None = None
    """When failed requests are sent again."""
    timeouts: BackendTimeouts | None = None
    """How long requests may take."""
    outlier_ejection: OutlierEjection | None = None
    """Which endpoints are ejected for failing more than others."""
    admission_control: AdmissionControl | None = None
    """Refusal of requests while too many fail."""
    adaptive_concurrency: AdaptiveConcurrency | None = None
    """A limit of requests under way that follows the latency."""
    max_request_bytes: Positive | None = None
    """Requests with longer bodies are answered 413. Bodies are read whole before they are sent on,
    so calls that stream in both directions do not work with it."""
    compression: tuple[Literal["gzip", "brotli", "zstd"], ...] = ()
    """Compress responses for callers that take it (`accept-encoding`); the first that one takes."""


class BackendPolicy(Message, frozen=True):
    """Load balancing, health checks and protection of a service's endpoints."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """BackendPolicy."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: BackendPolicySpec = BackendPolicySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""


# ------------------------------------------------------------------ authentication at gateways


class SecretName(Message, frozen=True):
    """A Secret of the policy's namespace."""

    name: str = ""
    """The Secret's name."""


class ApiKeyAuthentication(Message, frozen=True):
    """Requests must carry a key; without, or with another one, they are answered 401."""

    secrets: tuple[SecretName, ...] = ()
    """Secrets whose entries are clients: name of the client -> its key."""
    headers: tuple[str, ...] = ()
    """Headers that may carry the key; x-api-key when no place is given."""
    query_parameters: tuple[str, ...] = ()
    """Query parameters that may carry it."""
    cookies: tuple[str, ...] = ()
    """Cookies that may carry it."""
    client_header: str = ""
    """Request header that gets the name of the client."""
    forward: bool | None = None
    """Leave the key in the request; it is taken out when absent."""


class BasicAuthentication(Message, frozen=True):
    """Requests must carry a user name and a password (RFC 7617)."""

    secret: SecretName | None = None
    """A Secret with `.htpasswd`: a line `name:{SHA}digest` for each user (htpasswd -s)."""


class OidcAuthentication(Message, frozen=True):
    """Browsers without a session are sent to an OpenID provider."""

    authorization_endpoint: str = ""
    """URL that browsers are sent to."""
    token_endpoint: str = ""
    """URL where the proxy gets tokens; a Service or ServiceEntry must have its host and port."""
    end_session_endpoint: str = ""
    """URL that browsers are sent to after the logout."""
    client_id: str = field(default="", name="clientID")
    """The client that the provider knows."""
    client_secret: SecretName | None = None
    """A Secret with `client-secret`."""
    redirect_path: str = ""
    """Path that the provider sends browsers back to; /oauth2/callback when absent. A route of the
    target must match it."""
    logout_path: str = ""
    """Path that ends the session; /logout when absent. A route of the target must match it."""
    scopes: tuple[str, ...] = ()
    """Scopes besides openid."""
    forward_access_token: bool | None = None
    """Send the access token on as `Authorization: Bearer`; RequestAuthentications check it."""
    refresh_token: bool | None = None
    """Get new tokens with the refresh token when they expire."""
    cookie_domain: str = ""
    """Domain of the session's cookies; the request's host when absent."""


class AuthenticationPolicySpec(Message, frozen=True):
    """What callers from outside must show. All that is given."""

    target_ref: PolicyTarget | None = None
    """The Gateway, HTTPRoute or GRPCRoute."""
    api_key: ApiKeyAuthentication | None = None
    """A key."""
    basic: BasicAuthentication | None = None
    """A user name and a password."""
    oidc: OidcAuthentication | None = None
    """A session at an OpenID provider."""


class AuthenticationPolicy(Message, frozen=True):
    """Who gets in at a gateway: API keys, basic authentication, login by OpenID Connect."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AuthenticationPolicy."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AuthenticationPolicySpec = AuthenticationPolicySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""
