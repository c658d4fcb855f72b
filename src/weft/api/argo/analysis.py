"""AnalysisTemplate, ClusterAnalysisTemplate and AnalysisRun: what is measured, how it is judged.

Fields after the public types of Argo Rollouts; `weft` among the providers is weft's own.
"""

from collections.abc import Mapping
from typing import Any, Literal

from weft.api.argo.common import (
    Count,
    DryRun,
    FieldRef,
    MeasurementRetention,
    TemplateRef,
)
from weft.api.istio.common import Message
from weft.api.k8s.batch_v1 import JobSpec
from weft.api.k8s.meta_v1 import ObjectMeta

FINISHED = frozenset(("Successful", "Failed", "Error", "Inconclusive"))
"""Phases of runs, metrics and measurements that are over."""


class PrometheusHeader(Message, frozen=True):
    """A header of a request."""

    key: str = ""
    """Its name."""
    value: str = ""
    """Its value."""


class RangeQuery(Message, frozen=True):
    """A query over a span of time."""

    start: str = ""
    """An expression for its begin, such as now() - duration("10m")."""
    end: str = ""
    """An expression for its end."""
    step: str = ""
    """Between two samples."""


class PrometheusMetric(Message, frozen=True):
    """A query to a Prometheus, by its HTTP API."""

    address: str = ""
    """Where it is, such as http://prometheus:9090."""
    query: str = ""
    """The query, in PromQL."""
    authentication: Mapping[str, Any] | None = None
    """How to authenticate; refused but for headers."""
    timeout: Count | None = None
    """Seconds that the query may take; 30 when absent."""
    insecure: bool | None = None
    """Take any certificate."""
    headers: tuple[PrometheusHeader, ...] = ()
    """Headers of the request."""
    range_query: RangeQuery | None = None
    """Query a span of time; refused."""


class WebMetricHeader(Message, frozen=True):
    """A header of a request."""

    key: str = ""
    """Its name."""
    value: str = ""
    """Its value."""


class WebMetric(Message, frozen=True):
    """A request whose answer is JSON."""

    method: Literal["", "GET", "POST", "PUT"] = ""
    """GET when absent."""
    url: str = ""
    """Where to."""
    headers: tuple[WebMetricHeader, ...] = ()
    """Headers of the request."""
    body: str = ""
    """The body, for POST and PUT."""
    json_body: Mapping[str, Any] | None = None
    """The body as JSON."""
    timeout_seconds: Count | None = None
    """How long the request may take; 10 when absent."""
    json_path: str = ""
    """What of the answer is the result; all of it when absent."""
    insecure: bool | None = None
    """Take any certificate."""
    authentication: Mapping[str, Any] | None = None
    """How to authenticate; refused but for headers."""


class JobMetric(Message, frozen=True):
    """A Job that succeeds or fails."""

    metadata: ObjectMeta = ObjectMeta()
    """Labels and annotations of the Job."""
    spec: JobSpec = JobSpec()
    """The Job."""


class WeftMetric(Message, frozen=True):
    """What the mesh itself saw of calls: one signal, or an object of all of them."""

    signal: Literal[
        "", "errorPercent", "successPercent", "requestRate", "requests", "p50Ms", "p90Ms", "p95Ms",
        "p99Ms",
    ] = ""  # fmt: skip
    """The number that is the result."""
    namespace: str = ""
    """Namespace of who is called; the run's own when absent."""
    service: str = ""
    """Calls to this Service only."""
    workload: str = ""
    """Calls that pods of this workload answered only."""
    version: str = ""
    """Calls that pods of this version answered only: the label `version`, else the hash of their
    template."""
    window: str = ""
    """How far back; 30s when absent."""


class MetricProvider(Message, frozen=True):
    """Who measures; exactly one."""

    prometheus: PrometheusMetric | None = None
    """A Prometheus."""
    web: WebMetric | None = None
    """A request whose answer is JSON."""
    job: JobMetric | None = None
    """A Job."""
    weft: WeftMetric | None = None
    """The mesh."""
    kayenta: Mapping[str, Any] | None = None
    """Refused."""
    datadog: Mapping[str, Any] | None = None
    """Refused."""
    wavefront: Mapping[str, Any] | None = None
    """Refused."""
    new_relic: Mapping[str, Any] | None = None
    """Refused."""
    cloud_watch: Mapping[str, Any] | None = None
    """Refused."""
    graphite: Mapping[str, Any] | None = None
    """Refused."""
    influxdb: Mapping[str, Any] | None = None
    """Refused."""
    skywalking: Mapping[str, Any] | None = None
    """Refused."""
    plugin: Mapping[str, Any] | None = None
    """Refused."""


class Metric(Message, frozen=True):
    """One thing that is measured, and how it is judged."""

    name: str = ""
    """Its name."""
    interval: str = ""
    """Between two measurements; one measurement when absent."""
    initial_delay: str = ""
    """How long to wait before the first."""
    count: int | str | None = None
    """How often; 1 without an interval, without end otherwise."""
    success_condition: str = ""
    """An expression over `result` that holds for a success."""
    failure_condition: str = ""
    """An expression over `result` that holds for a failure."""
    failure_limit: int | str | None = None
    """Failures that are tolerated; 0 when absent."""
    inconclusive_limit: int | str | None = None
    """Measurements that are neither that are tolerated; 0 when absent."""
    consecutive_error_limit: int | str | None = None
    """Errors in a row that are tolerated; 4 when absent."""
    consecutive_success_limit: int | str | None = None
    """Successes in a row that end the metric; refused."""
    provider: MetricProvider = MetricProvider()
    """Who measures."""


class SecretKeyRef(Message, frozen=True):
    """A key of a Secret."""

    name: str = ""
    """The Secret, in the run's namespace."""
    key: str = ""
    """The key."""


class ValueFrom(Message, frozen=True):
    """Where the value of an argument comes from."""

    secret_key_ref: SecretKeyRef | None = None
    """A Secret; its value stands in no status."""
    field_ref: FieldRef | None = None
    """A field of the Rollout."""


class Argument(Message, frozen=True):
    """An argument; `{{ args.NAME }}` stands for it."""

    name: str = ""
    """Its name."""
    value: str | None = None
    """Its value; of a template, what it is when nobody passes one."""
    value_from: ValueFrom | None = None
    """Where the value comes from."""


class AnalysisTemplateSpec(Message, frozen=True):
    """What is measured."""

    metrics: tuple[Metric, ...] = ()
    """The metrics."""
    args: tuple[Argument, ...] = ()
    """Arguments."""
    dry_run: tuple[DryRun, ...] = ()
    """Metrics that decide nothing."""
    measurement_retention: tuple[MeasurementRetention, ...] = ()
    """How many measurements are kept."""
    templates: tuple[TemplateRef, ...] = ()
    """Further templates whose metrics and arguments belong to this one."""


class AnalysisTemplate(Message, frozen=True):
    """How to judge a version by what is measured."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AnalysisTemplate."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AnalysisTemplateSpec = AnalysisTemplateSpec()
    """What is measured."""


class ClusterAnalysisTemplate(Message, frozen=True):
    """An AnalysisTemplate for all namespaces."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ClusterAnalysisTemplate."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, labels."""
    spec: AnalysisTemplateSpec = AnalysisTemplateSpec()
    """What is measured."""


class Measurement(Message, frozen=True):
    """One measurement."""

    phase: str = ""
    """Running, Successful, Failed, Error or Inconclusive."""
    message: str = ""
    """Why."""
    started_at: str = ""
    """When it began."""
    finished_at: str = ""
    """When it ended."""
    value: str = ""
    """What was measured."""
    metadata: Mapping[str, str] = {}
    """Of a Job: its name."""
    resume_at: str = ""
    """Not used."""


class MetricResult(Message, frozen=True):
    """How a metric fared."""

    name: str = ""
    """The metric."""
    phase: str = ""
    """Pending, Running, Successful, Failed, Error or Inconclusive."""
    measurements: tuple[Measurement, ...] = ()
    """The last measurements."""
    message: str = ""
    """Why."""
    count: int = 0
    """Measurements without an error."""
    successful: int = 0
    """Successful ones."""
    failed: int = 0
    """Failed ones."""
    inconclusive: int = 0
    """Neither."""
    error: int = 0
    """Errors."""
    consecutive_error: int = 0
    """Errors since the last measurement without one."""
    consecutive_success: int = 0
    """Successes since the last measurement without one."""
    dry_run: bool = False
    """It decides nothing."""
    metadata: Mapping[str, str] = {}
    """What the provider says."""


class RunSummary(Message, frozen=True):
    """How many metrics fared how."""

    count: int = 0
    """All that are over."""
    successful: int = 0
    """Successful ones."""
    failed: int = 0
    """Failed ones."""
    inconclusive: int = 0
    """Neither."""
    error: int = 0
    """Errors."""


class AnalysisRunSpec(Message, frozen=True):
    """What is measured, with the values of all arguments."""

    metrics: tuple[Metric, ...] = ()
    """The metrics."""
    args: tuple[Argument, ...] = ()
    """Arguments with their values."""
    terminate: bool = False
    """End it now."""
    dry_run: tuple[DryRun, ...] = ()
    """Metrics that decide nothing."""
    measurement_retention: tuple[MeasurementRetention, ...] = ()
    """How many measurements are kept."""


class AnalysisRunStatus(Message, frozen=True):
    """How a run fares."""

    phase: str = ""
    """Pending, Running, Successful, Failed, Error or Inconclusive."""
    message: str = ""
    """Why."""
    metric_results: tuple[MetricResult, ...] = ()
    """Each metric."""
    started_at: str = ""
    """When it began."""
    completed_at: str = ""
    """When it was over."""
    run_summary: RunSummary | None = None
    """How many metrics fared how."""
    dry_run_summary: RunSummary | None = None
    """The same for metrics that decide nothing."""


class AnalysisRun(Message, frozen=True):
    """A running analysis."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AnalysisRun."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AnalysisRunSpec = AnalysisRunSpec()
    """What is measured."""
    status: AnalysisRunStatus = AnalysisRunStatus()
    """How it fares."""


__all__ = [
    "FINISHED", "AnalysisRun", "AnalysisRunSpec", "AnalysisRunStatus", "AnalysisTemplate",
    "AnalysisTemplateSpec", "Argument", "ClusterAnalysisTemplate", "JobMetric", "Measurement",
    "Metric", "MetricProvider", "MetricResult", "PrometheusMetric",
    "RunSummary", "SecretKeyRef", "ValueFrom", "WebMetric", "WeftMetric",
]  # fmt: skip
