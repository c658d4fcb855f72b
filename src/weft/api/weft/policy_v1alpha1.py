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
    """The API group: empty for a Service, networking.istio.io for a Gateway."""
    kind: Literal["", "Service", "Gateway"] = ""
    """Service or Gateway."""
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
    source: RateLimitSource | None = None
    """Who calls."""
    client_cidr: str = field(default="", name="clientCIDR")
    """The network of the client's address, such as 10.0.0.0/8."""


class RateLimitKey(Message, frozen=True):
    """What requests are counted by: each value has a limit of its own."""

    type: Literal["", "header", "sourcePrincipal", "sourceNamespace", "clientAddress", "path"] = ""
    """header, sourcePrincipal, sourceNamespace, clientAddress, or path (with its query)."""
    name: str = ""
    """Name of the header. Requests without it are not counted."""


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


class RateLimitPolicySpec(Message, frozen=True):
    """Limits for the requests to a service, or through a gateway."""

    target_ref: PolicyTarget | None = None
    """The Service or Gateway."""
    scope: Literal["", "local", "global"] = ""
    """local: each node proxy counts for itself. global: all proxies count together."""
    rules: tuple[RateLimitRule, ...] = ()
    """The limits."""


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
