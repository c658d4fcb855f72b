"""telemetry.istio.io/v1: which signals are taken of which workloads.

Source: Istio 1.28 reference, "Telemetry".
"""

from collections.abc import Mapping
from typing import Literal

from weft.api.istio.common import IstioStatus, Message, Percent, WorkloadSelector
from weft.api.istio.security import TargetReference
from weft.api.k8s.meta_v1 import ObjectMeta

WorkloadMode = Literal["", "CLIENT_AND_SERVER", "CLIENT", "SERVER"]


class ProviderRef(Message, frozen=True):
    """A provider by its name."""

    name: str = ""
    """The name."""


# ------------------------------------------------------------------ tracing


class TracingSelector(Message, frozen=True):
    """Which side of calls is meant."""

    mode: WorkloadMode = ""
    """CLIENT: the workload's own calls. SERVER: calls to it. CLIENT_AND_SERVER: both."""


class LiteralTag(Message, frozen=True):
    """A fixed text."""

    value: str = ""
    """The text."""


class EnvironmentTag(Message, frozen=True):
    """A variable of the proxy's environment."""

    name: str = ""
    """The variable."""
    default_value: str = ""
    """What stands in its place when it is not set."""


class HeaderTag(Message, frozen=True):
    """A header of the request."""

    name: str = ""
    """The header."""
    default_value: str = ""
    """What stands in its place when it is absent."""


class FormatterTag(Message, frozen=True):
    """A format of Envoy's access logs."""

    value: str = ""
    """The format."""


class CustomTag(Message, frozen=True):
    """A tag of every span; exactly one field is given."""

    literal: LiteralTag | None = None
    """A fixed text."""
    environment: EnvironmentTag | None = None
    """A variable of the proxy's environment."""
    header: HeaderTag | None = None
    """A header of the request."""
    formatter: FormatterTag | None = None
    """A format of Envoy's access logs."""


class Tracing(Message, frozen=True):
    """How calls are traced."""

    match: TracingSelector | None = None
    """Which side of calls is meant."""
    providers: tuple[ProviderRef, ...] = ()
    """Who gets the spans."""
    random_sampling_percentage: Percent | None = None
    """Share of the requests that are traced."""
    disable_span_reporting: bool | None = None
    """Make no spans."""
    custom_tags: Mapping[str, CustomTag] = {}
    """Tags of every span."""
    use_request_id_for_trace_sampling: bool | None = None
    """Decide by the request's id whether it is traced."""
    enable_istio_tags: bool | None = None
    """Add Istio's own tags to spans."""


# ------------------------------------------------------------------ metrics


class MetricSelector(Message, frozen=True):
    """Which metric is meant, on which side of calls."""

    metric: Literal[
        "", "ALL_METRICS", "REQUEST_COUNT", "REQUEST_DURATION", "REQUEST_SIZE", "RESPONSE_SIZE",
        "TCP_OPENED_CONNECTIONS", "TCP_CLOSED_CONNECTIONS", "TCP_SENT_BYTES", "TCP_RECEIVED_BYTES",
        "GRPC_REQUEST_MESSAGES", "GRPC_RESPONSE_MESSAGES",
    ] = ""  # fmt: skip
    """One of Istio's standard metrics; ALL_METRICS when neither it nor customMetric is given."""
    custom_metric: str = ""
    """Another metric, by its name."""
    mode: WorkloadMode = ""
    """CLIENT, SERVER or both."""


class TagOverride(Message, frozen=True):
    """What becomes of a label."""

    operation: Literal["", "UPSERT", "REMOVE"] = ""
    """UPSERT sets it to `value`, REMOVE leaves it out."""
    value: str = ""
    """A CEL expression."""


class MetricsOverrides(Message, frozen=True):
    """What is different of a metric."""

    match: MetricSelector | None = None
    """The metric; all when absent."""
    disabled: bool | None = None
    """Do not count."""
    tag_overrides: Mapping[str, TagOverride] = {}
    """By label."""


class Metrics(Message, frozen=True):
    """What is counted."""

    providers: tuple[ProviderRef, ...] = ()
    """Who gets the numbers."""
    overrides: tuple[MetricsOverrides, ...] = ()
    """What is different, one after the other."""
    reporting_interval: str = ""
    """How often connections are reported."""


# ------------------------------------------------------------------ access logs


class LogSelector(Message, frozen=True):
    """Which side of calls is meant."""

    mode: WorkloadMode = ""
    """CLIENT, SERVER or both."""


class LogFilter(Message, frozen=True):
    """Which calls are logged."""

    expression: str = ""
    """A CEL expression over Envoy's attributes, such as `response.code >= 400`."""


class AccessLogging(Message, frozen=True):
    """What is logged."""

    match: LogSelector | None = None
    """Which side of calls is meant."""
    providers: tuple[ProviderRef, ...] = ()
    """Who gets the log."""
    disabled: bool | None = None
    """Log nothing."""
    filter: LogFilter | None = None
    """Log only calls for which this holds."""


class TelemetrySpec(Message, frozen=True):
    """Which signals are taken of which workloads."""

    selector: WorkloadSelector | None = None
    """The workloads; all of the namespace when absent, of the mesh in the root namespace."""
    target_ref: TargetReference | None = None
    """A Gateway or a Service instead."""
    target_refs: tuple[TargetReference, ...] = ()
    """Several such."""
    tracing: tuple[Tracing, ...] = ()
    """How calls are traced."""
    metrics: tuple[Metrics, ...] = ()
    """What is counted."""
    access_logging: tuple[AccessLogging, ...] = ()
    """What is logged."""


class Telemetry(Message, frozen=True):
    """Which signals are taken of workloads."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Telemetry."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: TelemetrySpec = TelemetrySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""
