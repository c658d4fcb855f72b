"""How a Rollout goes from one version to the next. Fields after Argo Rollouts' public types."""

from collections.abc import Mapping
from typing import Any, Literal

from weft.api.argo.common import (
    Count,
    DryRun,
    MeasurementRetention,
    Percent,
    PodTemplateMetadata,
    RunArgument,
    TemplateRef,
)
from weft.api.argo.experiment import TemplateService
from weft.api.istio.common import Message
from weft.api.k8s.meta_v1 import LabelSelector


class RolloutAnalysis(Message, frozen=True):
    """An analysis that a Rollout runs."""

    templates: tuple[TemplateRef, ...] = ()
    """Its templates."""
    args: tuple[RunArgument, ...] = ()
    """Arguments."""
    dry_run: tuple[DryRun, ...] = ()
    """Metrics that decide nothing."""
    measurement_retention: tuple[MeasurementRetention, ...] = ()
    """How many measurements are kept."""
    analysis_run_metadata: PodTemplateMetadata | None = None
    """Labels and annotations of the run."""
    starting_step: Count | None = None
    """Of an analysis in the background: the step at which it begins; 0 when absent."""


class PreferredAntiAffinity(Message, frozen=True):
    """Versions rather run on different nodes."""

    weight: int = 1
    """From 1 to 100."""


class RequiredAntiAffinity(Message, frozen=True):
    """Versions run on different nodes."""


class AntiAffinity(Message, frozen=True):
    """Keep pods of the new version off the nodes of the old one."""

    preferred_during_scheduling_ignored_during_execution: PreferredAntiAffinity | None = None
    """Where it can be."""
    required_during_scheduling_ignored_during_execution: RequiredAntiAffinity | None = None
    """In any case."""


class BlueGreenStrategy(Message, frozen=True):
    """The new version comes up beside the old one; then all requests move at once."""

    active_service: str = ""
    """The Service that requests go to."""
    preview_service: str = ""
    """The Service of the new version before it is promoted."""
    preview_replica_count: Count | None = None
    """Pods of the new version before it is promoted; all when absent."""
    auto_promotion_enabled: bool | None = None
    """Promote without asking; true when absent."""
    auto_promotion_seconds: Count | None = None
    """How long to wait before."""
    max_unavailable: int | str | None = None
    """Pods that a restart may take away; 25% when absent."""
    scale_down_delay_seconds: Count | None = None
    """How long the old version lives on; 30 when absent."""
    scale_down_delay_revision_limit: Count | None = None
    """How many old versions live on at most."""
    pre_promotion_analysis: RolloutAnalysis | None = None
    """Judges the new version before requests move."""
    post_promotion_analysis: RolloutAnalysis | None = None
    """Judges it after they moved; a failure moves them back."""
    anti_affinity: AntiAffinity | None = None
    """Keep pods of the new version off the nodes of the old one."""
    preview_metadata: PodTemplateMetadata | None = None
    """For pods while they are the new version."""
    active_metadata: PodTemplateMetadata | None = None
    """For pods while requests go to them."""
    abort_scale_down_delay_seconds: Count | None = None
    """How long the new version lives on after an abort; 30 when absent, 0 is for ever."""


class StringMatch(Message, frozen=True):
    """A match on a text; exactly one field is given."""

    exact: str = ""
    """The whole text."""
    prefix: str = ""
    """How the text begins."""
    regex: str = ""
    """An RE2 expression that the whole text matches."""


class RouteMatch(Message, frozen=True):
    """Requests; all given parts must hold."""

    method: StringMatch | None = None
    """The method."""
    path: StringMatch | None = None
    """The path."""
    headers: Mapping[str, StringMatch] = {}
    """Headers by name."""


class HeaderRoutingMatch(Message, frozen=True):
    """A header and its value."""

    header_name: str = ""
    """The header."""
    header_value: StringMatch | None = None
    """Its value."""


class SetHeaderRoute(Message, frozen=True):
    """Requests with these headers go to the new version. Without matches, the route ends."""

    name: str = ""
    """Its name among the managed routes."""
    match: tuple[HeaderRoutingMatch, ...] = ()
    """Headers that must all match."""


class SetMirrorRoute(Message, frozen=True):
    """Copies of requests go to the new version, too. Without matches, the route ends."""

    name: str = ""
    """Its name among the managed routes."""
    match: tuple[RouteMatch, ...] = ()
    """Which requests; one of them must match."""
    percentage: Percent | None = None
    """How many of them; all when absent."""


class SetCanaryScale(Message, frozen=True):
    """How many pods the new version has, whatever its share of requests."""

    weight: Percent | None = None
    """As a share of `replicas`."""
    replicas: Count | None = None
    """As a number."""
    match_traffic_weight: bool | None = None
    """By its share of requests again."""


class RolloutPause(Message, frozen=True):
    """Wait."""

    duration: int | str | None = None
    """Seconds, or a duration such as 10m; until somebody promotes when absent."""


class ExperimentStepTemplate(Message, frozen=True):
    """A ReplicaSet of an experiment."""

    name: str = ""
    """Its name within the experiment."""
    spec_ref: Literal["", "canary", "stable"] = ""
    """Which version it runs."""
    replicas: Count | None = None
    """How many pods; 1 when absent."""
    metadata: PodTemplateMetadata | None = None
    """More labels and annotations of its pods."""
    selector: LabelSelector | None = None
    """Which pods are its own; the Rollout's selector when absent."""
    weight: Percent | None = None
    """Its share of requests."""
    service: TemplateService | None = None
    """Make a Service for it."""


class ExperimentStepAnalysis(Message, frozen=True):
    """An analysis of an experiment."""

    name: str = ""
    """Its name within the experiment."""
    template_name: str = ""
    """The template."""
    cluster_scope: bool | None = None
    """It is a ClusterAnalysisTemplate."""
    args: tuple[RunArgument, ...] = ()
    """Arguments."""
    required_for_completion: bool | None = None
    """The experiment waits for its end."""


class ExperimentStep(Message, frozen=True):
    """Run an experiment; its success leads to the next step."""

    templates: tuple[ExperimentStepTemplate, ...] = ()
    """The ReplicaSets."""
    duration: str = ""
    """How long."""
    analyses: tuple[ExperimentStepAnalysis, ...] = ()
    """How it is judged."""
    dry_run: tuple[DryRun, ...] = ()
    """Metrics that decide nothing."""
    analysis_run_metadata: PodTemplateMetadata | None = None
    """Labels and annotations of the runs."""


class CanaryStep(Message, frozen=True):
    """One step; exactly one field is given."""

    set_weight: Percent | None = None
    """The new version's share of requests, in percent."""
    pause: RolloutPause | None = None
    """Wait."""
    experiment: ExperimentStep | None = None
    """Run an experiment."""
    analysis: RolloutAnalysis | None = None
    """Run an analysis; its success leads to the next step."""
    set_canary_scale: SetCanaryScale | None = None
    """Set the number of pods of the new version."""
    set_header_route: SetHeaderRoute | None = None
    """Send requests with some headers to the new version."""
    set_mirror_route: SetMirrorRoute | None = None
    """Send copies of requests to the new version."""
    plugin: Mapping[str, Any] | None = None
    """Refused: weft has no plugins."""
    replica_progress_threshold: Mapping[str, Any] | None = None
    """Refused."""


class RouteRef(Message, frozen=True):
    """A route for connections."""

    port: int | None = None
    """The port that it matches."""
    sni_hosts: tuple[str, ...] = ()
    """The names that it matches (TLS)."""


class IstioVirtualService(Message, frozen=True):
    """A VirtualService whose weights are set."""

    name: str = ""
    """Its name; `NAME.NAMESPACE` for another namespace."""
    routes: tuple[str, ...] = ()
    """Names of the HTTP routes; may be absent when there is one."""
    tls_routes: tuple[RouteRef, ...] = ()
    """TLS routes."""
    tcp_routes: tuple[RouteRef, ...] = ()
    """TCP routes."""


class IstioDestinationRule(Message, frozen=True):
    """A DestinationRule whose subsets follow the versions."""

    name: str = ""
    """Its name."""
    canary_subset_name: str = ""
    """The subset of the new version."""
    stable_subset_name: str = ""
    """The subset of the old version."""


class IstioTrafficRouting(Message, frozen=True):
    """Requests are divided by Istio's objects."""

    virtual_service: IstioVirtualService | None = None
    """The VirtualService whose weights are set."""
    destination_rule: IstioDestinationRule | None = None
    """The DestinationRule whose subsets follow the versions."""
    virtual_services: tuple[IstioVirtualService, ...] = ()
    """Several VirtualServices."""


class ManagedRoute(Message, frozen=True):
    """A route that steps make."""

    name: str = ""
    """Its name."""


class RolloutTrafficRouting(Message, frozen=True):
    """How requests are divided. Without any of the fields, the mesh divides calls to the stable
    Service by itself."""

    istio: IstioTrafficRouting | None = None
    """By Istio's objects."""
    plugins: Mapping[str, Any] | None = None
    """argoproj-labs/gatewayAPI: by routes of the Gateway API. Others are refused."""
    managed_routes: tuple[ManagedRoute, ...] = ()
    """Routes that steps make, the first wins."""
    max_traffic_weight: Count | None = None
    """What all weights sum up to; 100 when absent."""
    nginx: Mapping[str, Any] | None = None
    """For ingress-nginx; the mesh divides calls to the stable Service, and of Ingresses to it."""
    alb: Mapping[str, Any] | None = None
    """For a load balancer of AWS; the mesh divides calls to `rootService`, and of Ingresses."""
    smi: Mapping[str, Any] | None = None
    """For a TrafficSplit; the mesh divides calls to `rootService`."""
    ambassador: Mapping[str, Any] | None = None
    """For Ambassador; the mesh divides calls to the stable Service."""
    app_mesh: Mapping[str, Any] | None = None
    """For App Mesh; the mesh divides calls to the stable Service."""
    traefik: Mapping[str, Any] | None = None
    """For Traefik; the mesh divides calls to the stable Service."""
    apisix: Mapping[str, Any] | None = None
    """For APISIX; the mesh divides calls to the stable Service."""


class PingPong(Message, frozen=True):
    """Two Services that take turns."""

    ping_service: str = ""
    """One."""
    pong_service: str = ""
    """The other."""


class CanaryStrategy(Message, frozen=True):
    """The new version gets a growing share of requests."""

    canary_service: str = ""
    """The Service of the new version."""
    stable_service: str = ""
    """The Service of the old version."""
    steps: tuple[CanaryStep, ...] = ()
    """What happens, in this order."""
    traffic_routing: RolloutTrafficRouting | None = None
    """How requests are divided; by the number of pods when absent."""
    max_unavailable: int | str | None = None
    """Pods that may be missing; 25% when absent. Without traffic routing only."""
    max_surge: int | str | None = None
    """Pods that there may be in addition; 25% when absent. Without traffic routing only."""
    analysis: RolloutAnalysis | None = None
    """Judges the new version in the background."""
    anti_affinity: AntiAffinity | None = None
    """Keep pods of the new version off the nodes of the old one."""
    canary_metadata: PodTemplateMetadata | None = None
    """For pods while they are the new version."""
    stable_metadata: PodTemplateMetadata | None = None
    """For pods while they are the stable version."""
    scale_down_delay_seconds: Count | None = None
    """How long the old version lives on; 30 when absent. With traffic routing only."""
    scale_down_delay_revision_limit: Count | None = None
    """How many old versions live on at most."""
    abort_scale_down_delay_seconds: Count | None = None
    """How long the new version lives on after an abort; 30 when absent, 0 is for ever."""
    dynamic_stable_scale: bool | None = None
    """The old version shrinks as its share of requests does."""
    ping_pong: PingPong | None = None
    """Two Services that take turns as the stable one: none of them changes its pods while it is
    called."""
    min_pods_per_replica_set: Count | None = None
    """Pods that a version has at least while it has any. With traffic routing only."""


class RolloutStrategy(Message, frozen=True):
    """Exactly one."""

    blue_green: BlueGreenStrategy | None = None
    """All requests move at once."""
    canary: CanaryStrategy | None = None
    """The new version gets a growing share."""
