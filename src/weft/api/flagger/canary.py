"""Canary: a Deployment whose changes are rolled out step by step and judged."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from weft.api.gateway.common import ParentReference
from weft.api.istio.common import Count, Message, PercentInt, Port
from weft.api.istio.destination_rule import TrafficPolicy
from weft.api.istio.virtual_service import (
    CorsPolicy,
    Headers,
    HTTPMatchRequest,
    HTTPRetry,
)
from weft.api.k8s.meta_v1 import ObjectMeta

Positive = Annotated[int, Meta(extra_json_schema={"minimum": 1})]
HookType = Literal[
    "", "confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase",
    "confirm-promotion", "post-rollout", "event", "rollback",
]  # fmt: skip
INTERVAL_SECONDS_DEFAULT = 60
DEADLINE_SECONDS_DEFAULT = 600


class ObjectRef(Message, frozen=True):
    """An object of the Canary's namespace."""

    api_version: str = ""
    """The version of its API."""
    kind: str = ""
    """Its kind."""
    name: str = ""
    """Its name."""


class NamespacedRef(Message, frozen=True):
    """An object, perhaps of another namespace."""

    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace; the Canary's when absent."""


class ScalerReplicas(Message, frozen=True):
    """Limits of the primary's autoscaler."""

    min_replicas: Positive | None = None
    """At least so many pods; as the target's when absent."""
    max_replicas: Positive | None = None
    """At most so many pods; as the target's when absent."""


class AutoscalerRef(Message, frozen=True):
    """The autoscaler of the target, of which the primary gets a copy."""

    api_version: str = ""
    """The version of its API."""
    kind: str = ""
    """HorizontalPodAutoscaler; ScaledObject is refused."""
    name: str = ""
    """Its name."""
    primary_scaler_queries: Mapping[str, str] = {}
    """Refused: only ScaledObjects have queries."""
    primary_scaler_replicas: ScalerReplicas | None = None
    """Other limits for the primary."""


class CustomMetadata(Message, frozen=True):
    """Labels and annotations for an object that is made."""

    labels: Mapping[str, str] = {}
    """Labels that are added."""
    annotations: Mapping[str, str] = {}
    """Annotations that are added."""


class Rewrite(Message, frozen=True):
    """Change what the back end sees."""

    uri: str = ""
    """The new path, or what takes the place of the matched prefix."""
    authority: str = ""
    """Replaces the Host header."""
    type: Literal["", "ReplaceFullPath", "ReplacePrefixMatch"] = ""
    """Of an HTTPRoute: what `uri` replaces; ReplaceFullPath when absent."""


class CanaryService(Message, frozen=True):
    """The Services and routes that are made."""

    name: str = ""
    """Name of the Service that is called; the target's when absent."""
    port: Port = 80
    """Its port."""
    port_name: str = ""
    """Name of the port; http when absent."""
    app_protocol: str = ""
    """Protocol of the port."""
    traffic_distribution: Literal["", "PreferClose", "PreferSameZone", "PreferSameNode"] = ""
    """Which endpoints the Services prefer."""
    target_port: int | str | None = None
    """Port of the container; `port` when absent."""
    port_discovery: bool = False
    """The Services get all ports of the containers."""
    headless: bool = False
    """Refused: calls to a headless Service are not divided."""
    timeout: str = ""
    """Limit of a request."""
    backend_timeout: str = ""
    """Limit of one try; with an HTTPRoute only."""
    mesh_name: str = ""
    """Refused."""
    backends: tuple[str, ...] = ()
    """Refused."""
    gateways: tuple[str, ...] = ()
    """Gateways of the VirtualService; `mesh` when absent."""
    gateway_refs: tuple[ParentReference, ...] = ()
    """Parents of the HTTPRoute; the Service itself when absent."""
    hosts: tuple[str, ...] = ()
    """Hosts of the route; the VirtualService has the Service's name among them."""
    delegation: bool = False
    """The VirtualService has neither hosts nor gateways: another one delegates to it."""
    match: tuple[HTTPMatchRequest, ...] = ()
    """Which requests; all when absent."""
    rewrite: Rewrite | None = None
    """Change path or host."""
    retries: HTTPRetry | None = None
    """Retry policy."""
    headers: Headers | None = None
    """Header changes."""
    cors_policy: CorsPolicy | None = None
    """Cross-origin rules."""
    traffic_policy: TrafficPolicy | None = None
    """Of the DestinationRules of primary and canary."""
    apex: CustomMetadata | None = None
    """Metadata of the Service that is called, and of the route."""
    primary: CustomMetadata | None = None
    """Metadata of the primary's Service."""
    canary: CustomMetadata | None = None
    """Metadata of the canary's Service."""


class ThresholdRange(Message, frozen=True):
    """What a metric may be."""

    min: float | None = None
    """At least this."""
    max: float | None = None
    """At most this."""


class CanaryMetric(Message, frozen=True):
    """One thing that is measured at each step."""

    name: str = ""
    """request-success-rate (percent), request-duration (p99 in milliseconds), or any name."""
    interval: str = ""
    """How far back; 1m when absent."""
    threshold: float | None = None
    """Old form of a limit: the least success rate, the most of anything else."""
    threshold_range: ThresholdRange | None = None
    """What it may be."""
    query: str = ""
    """A query in PromQL to `metricsServer`."""
    template_ref: NamespacedRef | None = None
    """A MetricTemplate."""
    template_variables: Mapping[str, str] = {}
    """Values of `{{ variables.NAME }}` in its query."""


class CanaryAlert(Message, frozen=True):
    """Who is told."""

    name: str = ""
    """Its name."""
    severity: Literal["", "info", "warn", "error"] = ""
    """info: of everything; warn: of warnings; error: of failures and warnings."""
    provider_ref: NamespacedRef = NamespacedRef()
    """An AlertProvider."""


class CanaryWebhook(Message, frozen=True):
    """Who is asked, or told."""

    name: str = ""
    """Its name."""
    type: HookType = ""
    """When it is asked and what its answer means; rollout when absent."""
    mute_alert: bool = False
    """Send no alert when it makes the Canary wait."""
    url: str = ""
    """Where the request goes."""
    timeout: str = ""
    """How long the answer may take; 10s when absent."""
    retries: Count | None = None
    """How often it is asked again when it does not answer well."""
    disable_tls: bool = field(default=False, name="disableTLS")
    """Take any certificate."""
    metadata: Mapping[str, str] = {}
    """Sent along."""


class CanaryAnalysis(Message, frozen=True):
    """How a new version is tried."""

    interval: str = ""
    """Between two steps; 60s when absent."""
    iterations: Count = 0
    """Steps of an A/B test or of blue-green."""
    mirror: bool = False
    """Copy requests to the canary before it answers any."""
    mirror_weight: PercentInt | None = None
    """Share that is copied; 100 when absent."""
    max_weight: PercentInt | None = None
    """Weight after which the version is promoted; 100 when absent."""
    step_weight: PercentInt | None = None
    """What each step adds."""
    step_weights: tuple[PercentInt, ...] = ()
    """The weights of the steps."""
    step_weight_promotion: PercentInt | None = None
    """What each step takes away again after the promotion; all at once when absent."""
    threshold: Count = 0
    """Failed checks after which it goes back; 1 when absent."""
    primary_ready_threshold: PercentInt | None = None
    """Percent of the primary's pods that must be available; 100 when absent."""
    canary_ready_threshold: PercentInt | None = None
    """Percent of the canary's pods that must be available; 100 when absent."""
    match: tuple[HTTPMatchRequest, ...] = ()
    """A/B test: requests that the canary answers."""
    metrics: tuple[CanaryMetric, ...] = ()
    """What is measured."""
    alerts: tuple[CanaryAlert, ...] = ()
    """Who is told."""
    webhooks: tuple[CanaryWebhook, ...] = ()
    """Who is asked, or told."""
    session_affinity: Mapping[str, Any] | None = None
    """Refused."""


class CanarySpec(Message, frozen=True):
    """Of what, and how."""

    provider: str = ""
    """What divides the calls: istio (a VirtualService; the default), gatewayapi:v1, nginx, skipper
    (an HTTPRoute), or kubernetes (nothing: blue-green)."""
    metrics_server: str = ""
    """The Prometheus that is asked `query` of metrics."""
    target_ref: ObjectRef = ObjectRef()
    """The Deployment."""
    autoscaler_ref: AutoscalerRef | None = None
    """Its HorizontalPodAutoscaler."""
    ingress_ref: ObjectRef | None = None
    """With provider nginx or skipper: the Ingress, which stays as it is."""
    route_ref: ObjectRef | None = None
    """Refused."""
    upstream_ref: Mapping[str, Any] | None = None
    """Refused."""
    service: CanaryService = CanaryService()
    """The Services and routes that are made."""
    analysis: CanaryAnalysis | None = None
    """How a new version is tried."""
    progress_deadline_seconds: Count | None = None
    """How long pods may take to be available; 600 when absent."""
    skip_analysis: bool = False
    """Promote new versions untried."""
    revert_on_deletion: bool = False
    """Give the Deployment its pods, and the Service its selector, back when this is deleted."""
    suspend: bool = False
    """Do nothing."""


class CanaryCondition(Message, frozen=True):
    """One aspect of the state."""

    type: str = ""
    """Promoted."""
    status: str = ""
    """True, False or Unknown."""
    last_update_time: str = ""
    """When it was last written."""
    last_transition_time: str = ""
    """When its status last changed."""
    reason: str = ""
    """The phase."""
    message: str = ""
    """The cause, for people."""


class CanaryStatus(Message, frozen=True):
    """How it fares."""

    phase: str = ""
    """Initializing, Initialized, Waiting, Progressing, WaitingPromotion, Promoting, Finalising,
    Succeeded, Failed or Terminating."""
    failed_checks: int = 0
    """Checks that failed since the analysis began."""
    canary_weight: int = 0
    """Percent of the calls that the canary answers."""
    iterations: int = 0
    """Steps of an A/B test or of blue-green so far."""
    tracked_configs: Mapping[str, str] = {}
    """ConfigMaps and Secrets that the pods read, and their versions."""
    last_applied_spec: str = ""
    """Hash of the template that was seen last."""
    last_promoted_spec: str = ""
    """Hash of the template that the primary has."""
    last_transition_time: str = ""
    """When anything here last changed."""
    conditions: tuple[CanaryCondition, ...] = ()
    """Promoted."""


class Canary(Message, frozen=True):
    """A Deployment whose changes are rolled out step by step and judged."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Canary."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: CanarySpec = CanarySpec()
    """Of what, and how."""
    status: CanaryStatus = CanaryStatus()
    """How it fares."""

    @property
    def analysis(self) -> CanaryAnalysis:
        return self.spec.analysis or CanaryAnalysis()

    @property
    def apex(self) -> str:
        """Name of the Service that is called."""
        return self.spec.service.name or self.spec.target_ref.name
