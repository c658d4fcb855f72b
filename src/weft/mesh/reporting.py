"""Telemetry objects: which signals are taken of which workloads.

The object of the root namespace is for the mesh, one without a selector for its namespace, one with
a selector for some of its workloads; what the narrower says comes first, part by part. A node's
proxy reports a call once, for its caller, so what is said of CLIENT holds for the workload's own
calls, what is said of SERVER for calls by those whom the mesh does not know and from other nodes.
Source: Istio reference, "Telemetry", "Scope, Inheritance, and Overrides".
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.cel import attributes
from weft.api.cel.syntax import CelError
from weft.api.diagnostics import Diagnostic
from weft.api.istio import telemetry as api
from weft.mesh import findings as f
from weft.mesh.authorization import ROOT_NAMESPACE, labels_of
from weft.mesh.findings import Findings
from weft.mesh.label_changes import changed
from weft.mesh.model import AS_THE_MESH, Reporting, Sides, SpanTag, Workload

CLIENT, SERVER = "CLIENT", "SERVER"
GATEWAY_LABELS = (("istio", "ingressgateway"),)
"""Gateways have no pods; a selector with just this means them."""
PROVIDERS = ("envoy", "prometheus", "opentelemetry", "otel", "zipkin", "weft")
"""Names that mean what weft does anyway."""
METRICS: Mapping[str, str] = {
    "REQUEST_COUNT": "requests_total",
    "REQUEST_DURATION": "request_duration_milliseconds",
    "REQUEST_SIZE": "request_bytes",
    "RESPONSE_SIZE": "response_bytes",
    "TCP_OPENED_CONNECTIONS": "tcp_connections_opened_total",
    "TCP_CLOSED_CONNECTIONS": "tcp_connections_closed_total",
    "TCP_SENT_BYTES": "tcp_sent_bytes_total",
    "TCP_RECEIVED_BYTES": "tcp_received_bytes_total",
    "GRPC_REQUEST_MESSAGES": "request_messages_total",
    "GRPC_RESPONSE_MESSAGES": "response_messages_total",
}

ON_DEMAND = frozenset(("request_bytes", "response_bytes"))
"""They cost each request, and few look at them: counted where an override has `disabled: false`."""


class Selected(Struct, frozen=True):
    """An object, and for which workloads it is."""

    namespace: str
    """Empty is every."""
    labels: tuple[tuple[str, str], ...]
    telemetry: api.Telemetry

    @property
    def breadth(self) -> int:
        """The widest first."""
        return 2 if self.labels else 1 if self.namespace else 0


class ReportingRules(Struct, frozen=True):
    """All objects, the widest first."""

    selected: tuple[Selected, ...] = ()
    findings: tuple[Diagnostic, ...] = ()

    def of_pod(self, namespace: str, labels: Mapping[str, str]) -> Sides:
        """What is reported of a workload's calls."""
        own = [
            each.telemetry
            for each in self.selected
            if each.namespace in ("", namespace)
            and all(labels.get(key) == value for key, value in each.labels)
        ]
        if not own:
            return AS_THE_MESH
        return Sides(_merged(own, CLIENT), _merged(own, SERVER))

    def of_gateways(self) -> Reporting:
        """What is reported of calls through gateways."""
        own = [
            each.telemetry
            for each in self.selected
            if (not each.namespace and not each.labels) or each.labels == GATEWAY_LABELS
        ]
        return _merged(own, CLIENT) if own else Reporting()


def read_telemetry(objects: Iterable[api.Telemetry]) -> ReportingRules:
    """The rules of all objects. Of several for the same workloads the oldest comes last, so that it
    holds."""
    report = Findings()
    found = []
    ordered = sorted(objects, key=lambda o: (o.metadata.creation_timestamp, o.metadata.name))
    for each in reversed(ordered):
        spec, namespace = each.spec, each.metadata.namespace
        if spec.target_ref is not None or spec.target_refs:
            report.add(f.TELEMETRY_TARGETS, each, "spec.targetRefs")
            continue
        if not _is_sound(each, report):
            continue
        where = "" if namespace == ROOT_NAMESPACE else namespace
        found.append(Selected(where, labels_of(spec.selector), each))
    found.sort(key=lambda s: s.breadth)
    return ReportingRules(tuple(found), report.all())


def with_reporting(workload: Workload, rules: ReportingRules) -> Workload:
    sides = rules.of_pod(workload.namespace, dict(workload.labels))
    return workload if sides == workload.reporting else replace(workload, reporting=sides)


def _merged(objects: Sequence[api.Telemetry], side: str) -> Reporting:
    found = Reporting()
    for each in objects:
        for tracing in each.spec.tracing:
            if _is_for(tracing.match, side):
                found = _traced(found, tracing)
        for logging in each.spec.access_logging:
            if _is_for(logging.match, side):
                text = logging.filter.expression if logging.filter else found.log_filter
                found = replace(found, logged=not logging.disabled, log_filter=text)
        for metrics in each.spec.metrics:
            for override in metrics.overrides:
                found = _counted(found, override, side)
    return found


def _is_for(match: api.TracingSelector | api.LogSelector | None, side: str) -> bool:
    return match is None or match.mode in ("", "CLIENT_AND_SERVER", side)


def _traced(found: Reporting, tracing: api.Tracing) -> Reporting:
    percent = tracing.random_sampling_percentage
    if tracing.disable_span_reporting:
        percent = 0.0
    tags = {tag.name: tag for tag in found.span_tags}
    tags |= {name: _span_tag(name, tag) for name, tag in tracing.custom_tags.items()}
    return replace(
        found,
        trace_percent=found.trace_percent if percent is None else percent,
        span_tags=tuple(tags[name] for name in sorted(tags)),
    )


def _span_tag(name: str, tag: api.CustomTag) -> SpanTag:
    if tag.header is not None:
        return SpanTag(name, header=tag.header.name, default=tag.header.default_value)
    if tag.formatter is not None:
        return SpanTag(name, formatter=tag.formatter.value)
    if tag.environment is not None:
        return SpanTag(name, literal=tag.environment.default_value or "-")
    return SpanTag(name, literal=tag.literal.value if tag.literal else "-")


def _counted(found: Reporting, override: api.MetricsOverrides, side: str) -> Reporting:
    match = override.match
    if match is not None and match.mode not in ("", "CLIENT_AND_SERVER", side):
        return found
    if match is not None and match.custom_metric:
        return found
    named = match.metric if match is not None else ""
    names = [METRICS[named]] if named in METRICS else list(METRICS.values())
    found = _labelled(found, override, names)
    if override.disabled is None:
        return found
    off, on = set(found.uncounted) - set(names), set(found.counted) - set(names)
    if override.disabled:
        off |= set(names)
    else:
        on |= set(names) & ON_DEMAND
    return replace(found, uncounted=tuple(sorted(off)), counted=tuple(sorted(on)))


def _labelled(found: Reporting, override: api.MetricsOverrides, names: Sequence[str]) -> Reporting:
    if not override.tag_overrides:
        return found
    changes = {(each.metric, each.label): each for each in found.labels}
    for name in names:
        for label, given in override.tag_overrides.items():
            change = changed(name, label, given.operation, given.value)
            if change is not None:
                changes[name, label] = change
    return replace(found, labels=tuple(changes[key] for key in sorted(changes)))


def _is_sound(obj: api.Telemetry, report: Findings) -> bool:
    """Whether the object can be in force; what it says without effect is reported besides."""
    sound = True
    for number, logging in enumerate(obj.spec.access_logging):
        at = f"spec.accessLogging[{number}]"
        _providers(obj, at, logging.providers, report)
        if logging.filter is not None and logging.filter.expression:
            try:
                attributes.check(logging.filter.expression)
            except CelError as error:
                report.add(f.TELEMETRY_FILTER, obj, f"{at}.filter.expression", problem=str(error))
                sound = False
    for number, tracing in enumerate(obj.spec.tracing):
        at = f"spec.tracing[{number}]"
        _providers(obj, at, tracing.providers, report)
        for name, tag in tracing.custom_tags.items():
            if tag.environment is not None:
                report.add(f.TELEMETRY_ENVIRONMENT, obj, f"{at}.customTags[{name}].environment")
        for field in ("use_request_id_for_trace_sampling", "enable_istio_tags"):
            if getattr(tracing, field) is not None:
                report.add(f.TELEMETRY_UNUSED, obj, at, field=_CAMEL[field])
    for number, metrics in enumerate(obj.spec.metrics):
        at = f"spec.metrics[{number}]"
        _providers(obj, at, metrics.providers, report)
        if metrics.reporting_interval:
            report.add(f.TELEMETRY_UNUSED, obj, at, field="reportingInterval")
        for index, override in enumerate(metrics.overrides):
            here = f"{at}.overrides[{index}]"
            for label, given in override.tag_overrides.items():
                if changed("", label, given.operation, given.value) is None:
                    at_label = f"{here}.tagOverrides[{label}]"
                    report.add(f.TELEMETRY_LABEL, obj, at_label, label=label, value=given.value)
            if override.match is not None and override.match.custom_metric:
                report.add(f.TELEMETRY_UNUSED, obj, f"{here}.match", field="customMetric")
    return sound


_CAMEL = {
    "use_request_id_for_trace_sampling": "useRequestIdForTraceSampling",
    "enable_istio_tags": "enableIstioTags",
}


def _providers(
    obj: api.Telemetry, at: str, providers: Sequence[api.ProviderRef], report: Findings
) -> None:
    for number, provider in enumerate(providers):
        if provider.name not in PROVIDERS:
            where = f"{at}.providers[{number}].name"
            report.add(f.TELEMETRY_PROVIDER, obj, where, provider=provider.name)
