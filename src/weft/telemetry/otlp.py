"""What proxies and applications send over OTLP, as plain values.

The messages come from xds-protos, whose copy is of an older release: what OpenTelemetry now calls a
scope is an "instrumentation library" there. Field numbers, and so the bytes, are the same.
Source: OpenTelemetry Protocol Specification 1.x, `opentelemetry/proto/metrics/v1/metrics.proto`.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

Labels = tuple[tuple[str, str], ...]
_NANOSECONDS_MIN = 10**17


class Sample(Struct, frozen=True):
    """One series at one moment: everything since `since`."""

    name: str
    """As in Prometheus: `istio_requests_total`."""
    labels: Labels
    value: float
    """Of a counter or gauge; of a histogram the sum of what was observed."""
    since: float
    """Seconds since the epoch."""
    buckets: tuple[int, ...] = ()
    """How many observations fell between two bounds; one more than `bounds`. Not cumulative."""
    bounds: tuple[float, ...] = ()


def samples(request: Any) -> Iterator[Sample]:
    """Of an ExportMetricsServiceRequest: counters, gauges and histograms."""
    for resource in request.resource_metrics:
        for scope in resource.instrumentation_library_metrics:
            for metric in scope.metrics:
                yield from _samples(metric)


def log_texts(request: Any) -> Iterator[tuple[str, float]]:
    """Of an ExportLogsServiceRequest: each record's text and time."""
    for resource in request.resource_logs:
        for scope in resource.instrumentation_library_logs:
            for record in scope.logs:
                yield record.body.string_value, record.time_unix_nano / 1e9


def node_name(resource_attributes: Iterable[Any]) -> str:
    """The proxy's node, as its resource says; empty when it does not."""
    found = (a.value.string_value for a in resource_attributes if a.key == "weft.node")
    return next(found, "")


def _samples(metric: Any) -> Iterator[Sample]:
    name = metric.name.replace(".", "_")
    kind = metric.WhichOneof("data")
    if kind == "histogram":
        for point in metric.histogram.data_points:
            if not _is_sound(point):
                continue
            yield Sample(
                *(name, _labels(point.attributes), point.sum),
                since=_seconds(point.start_time_unix_nano),
                buckets=tuple(point.bucket_counts),
                bounds=tuple(point.explicit_bounds),
            )
    elif kind in ("sum", "gauge"):
        for point in getattr(metric, kind).data_points:
            value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
            if math.isfinite(value):
                since = _seconds(point.start_time_unix_nano)
                yield Sample(name, _labels(point.attributes), value, since)


def _is_sound(point: Any) -> bool:
    """Whether a histogram has a count for each bound and one above all, and only numbers. One
    without buckets, which the protocol permits as well, says nothing that is kept."""
    bounds = point.explicit_bounds
    return (
        len(point.bucket_counts) == len(bounds) + 1
        and math.isfinite(point.sum)
        and all(map(math.isfinite, bounds))
    )


def _labels(attributes: Iterable[Any]) -> Labels:
    return tuple([(a.key, a.value.string_value) for a in attributes])


def _seconds(nanoseconds: int) -> float:
    """Envoy 1.40 gives the start of its counting in microseconds, though the field is of
    nanoseconds; what would be before 1973 is meant so."""
    return nanoseconds / (1e6 if nanoseconds < _NANOSECONDS_MIN else 1e9)
