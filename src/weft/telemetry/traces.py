"""Traces: the spans of requests on their way through services, kept with limits and searched.

Source: OpenTelemetry Protocol Specification 1.x, `opentelemetry/proto/trace/v1/trace.proto`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

TRACES_MAX = 4000
"""Traces kept; the oldest go first, and failed ones last."""
FAILED_MAX = 1000
"""Failed traces kept besides."""
SPANS_MAX = 500
"""Of one trace; further ones are counted."""
ATTRIBUTES_MAX = 64
"""Of one span."""
TEXT_MAX = 1024
"""Characters of a name, or of an attribute's value."""
ERROR_CODE = 2
"""STATUS_CODE_ERROR"""
SERVICE, SDK = "service.name", "telemetry.sdk."
KINDS = ("", "internal", "server", "client", "producer", "consumer")
UNKNOWN = "unknown"
VERSION_UNKNOWN = "latest"
"""What Istio calls the version of workloads without one."""
POD, NAMESPACE, WORKLOAD, VERSION = (
    "k8s.pod.name", "k8s.namespace.name", "weft.workload", "service.version",
)  # fmt: skip
"""Attributes of who made a span. Source: OpenTelemetry, "Resource semantic conventions"."""

Attributes = tuple[tuple[str, str], ...]


def service_name(app: str, namespace: str) -> str:
    """How spans name a service: as Istio does, so that Kiali finds them by an app's name."""
    return f"{app}.{namespace}"


def resource(workload: str, namespace: str, version: str, pod: str) -> dict[str, str]:
    """What spans tell of the workload behind a service's name."""
    known = {WORKLOAD: workload, NAMESPACE: namespace, POD: pod}
    if version != VERSION_UNKNOWN:
        known[VERSION] = version
    return {name: value for name, value in known.items() if value and value != UNKNOWN}


class Note(Struct, frozen=True, rename="camel"):
    """Something that happened within a span."""

    at: float
    name: str
    attributes: Attributes = ()


class Span(Struct, frozen=True, rename="camel"):
    """A part of a request's way: what one service, or the proxy for it, did."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    service: str
    name: str
    kind: str
    start: float
    """Seconds since the epoch."""
    duration_ms: float
    error: bool
    message: str = ""
    """Of the error."""
    attributes: Attributes = ()
    notes: tuple[Note, ...] = ()
    resource: Attributes = ()
    """Of who made it."""

    @property
    def who(self) -> str:
        """The service, and which version of it where that is known."""
        return f"{self.service} {dict(self.resource).get(VERSION, '')}".rstrip()

    def attribute(self, name: str) -> str:
        return next((value for key, value in self.attributes if key == name), "")


class Trace(Struct):
    """All spans of a request that have arrived."""

    trace_id: str
    spans: dict[str, Span] = {}
    dropped: int = 0

    @property
    def start(self) -> float:
        return min(span.start for span in self.spans.values())

    @property
    def duration_ms(self) -> float:
        end = max(span.start + span.duration_ms / 1000 for span in self.spans.values())
        return (end - self.start) * 1000

    @property
    def failed(self) -> bool:
        return any(span.error for span in self.spans.values())

    @property
    def root(self) -> Span:
        """The first span; of a trace whose first one is missing, the earliest."""
        return min(
            self.spans.values(),
            key=lambda s: (s.parent_id in self.spans, bool(s.parent_id), s.start),
        )


class Search(Struct, frozen=True):
    """What traces are wanted; empty fields want all."""

    service: str = ""
    """With its namespace, or without: then of all namespaces."""
    operation: str = ""
    failed: bool = False
    slower_ms: float = 0
    faster_ms: float = 0
    """0: no bound."""
    tags: Mapping[str, str] = {}
    """Attributes that one span, or who made it, must have, all of them."""
    after: float = 0
    before: float = float("inf")

    def wants(self, trace: Trace) -> bool:
        if self.failed and not trace.failed:
            return False
        if trace.duration_ms < self.slower_ms or 0 < self.faster_ms < trace.duration_ms:
            return False
        if not self.after <= trace.start <= self.before:
            return False
        return any(self._wants_span(span) for span in trace.spans.values())

    def _wants_span(self, span: Span) -> bool:
        if self.service and self.service not in (span.service, span.service.partition(".")[0]):
            return False
        if self.operation and span.name != self.operation:
            return False
        has = dict((*span.resource, *span.attributes)) if self.tags else {}
        return all(has.get(key) == value for key, value in self.tags.items())


class TraceStore:
    """The newest traces, in bounded memory."""

    def __init__(self) -> None:
        self._traces: dict[str, Trace] = {}
        self._failed: dict[str, Trace] = {}
        """Those that went out of `_traces` for their age."""
        self.dropped_spans = 0

    def add(self, spans: Iterable[Span]) -> None:
        for span in spans:
            trace = self.get(span.trace_id)
            if trace is None:
                trace = self._traces[span.trace_id] = Trace(span.trace_id)
                self._make_room()
            if len(trace.spans) >= SPANS_MAX and span.span_id not in trace.spans:
                trace.dropped += 1
                self.dropped_spans += 1
            else:
                trace.spans[span.span_id] = span

    def _make_room(self) -> None:
        if len(self._traces) <= TRACES_MAX:
            return
        oldest = self._traces.pop(next(iter(self._traces)))
        if oldest.spans and oldest.failed:
            self._failed[oldest.trace_id] = oldest
            if len(self._failed) > FAILED_MAX:
                del self._failed[next(iter(self._failed))]

    def get(self, trace_id: str) -> Trace | None:
        return self._traces.get(trace_id) or self._failed.get(trace_id)

    def _all(self) -> Iterator[Trace]:
        """The newest first."""
        yield from reversed(self._traces.values())
        yield from reversed(self._failed.values())

    def search(self, search: Search, limit: int) -> tuple[Trace, ...]:
        """The newest that are wanted."""
        found: list[Trace] = []
        for trace in self._all():
            if len(found) >= limit:
                break
            if search.wants(trace):
                found.append(trace)
        return tuple(found)

    def services(self) -> tuple[str, ...]:
        return tuple(sorted({s.service for t in self._all() for s in t.spans.values()}))

    def operations(self, service: str) -> tuple[tuple[str, str], ...]:
        """Names and kinds of a service's spans."""
        spans = (s for t in self._all() for s in t.spans.values() if s.service == service)
        return tuple(sorted({(span.name, span.kind) for span in spans}))

    def calls(self, after: float, before: float) -> Mapping[tuple[str, str], int]:
        """How often a service called another, by their spans."""
        counts: Counter[tuple[str, str]] = Counter()
        for trace in self._all():
            if after <= trace.start <= before:
                for span in trace.spans.values():
                    parent = trace.spans.get(span.parent_id)
                    if parent is not None and parent.service != span.service:
                        counts[parent.service, span.service] += 1
        return counts


def spans(request: Any) -> Iterator[Span]:
    """Of an ExportTraceServiceRequest. Spans without an id or a time are left out."""
    for part in request.resource_spans:
        about = dict(_attributes(part.resource.attributes))
        service = about.pop(SERVICE, "") or UNKNOWN
        rest = tuple((key, value) for key, value in about.items() if not key.startswith(SDK))
        for scope in part.instrumentation_library_spans:
            for span in scope.spans:
                if span.trace_id and span.span_id and span.start_time_unix_nano:
                    yield _span(service, rest, span)


def _span(service: str, about: Attributes, span: Any) -> Span:
    length = max(0, span.end_time_unix_nano - span.start_time_unix_nano)
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service[:TEXT_MAX],
        name=span.name[:TEXT_MAX],
        kind=KINDS[span.kind] if 0 <= span.kind < len(KINDS) else "",
        start=span.start_time_unix_nano / 1e9,
        duration_ms=length / 1e6,
        error=span.status.code == ERROR_CODE,
        message=span.status.message[:TEXT_MAX],
        attributes=_attributes(span.attributes),
        resource=about,
        notes=tuple(
            Note(event.time_unix_nano / 1e9, event.name[:TEXT_MAX], _attributes(event.attributes))
            for event in span.events[:ATTRIBUTES_MAX]
        ),
    )


def _attributes(attributes: Any) -> Attributes:
    return tuple((a.key[:TEXT_MAX], _text(a.value)) for a in attributes[:ATTRIBUTES_MAX])


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    found = getattr(value, kind)
    if kind == "bool_value":
        return "true" if found else "false"
    if kind in ("array_value", "kvlist_value"):
        return " ".join(str(found).split())[:TEXT_MAX]
    return (found.hex() if isinstance(found, bytes) else str(found))[:TEXT_MAX]
