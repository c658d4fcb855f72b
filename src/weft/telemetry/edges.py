"""The service graph: who called whom, from Istio's standard metrics as Envoy reports them.

Metric and label names are Istio's (istio.io, "Istio Standard Metrics").
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

REQUESTS = "istio_requests_total"
DURATION = "istio_request_duration_milliseconds_bucket"
TCP_OPENED = "istio_tcp_connections_opened_total"
UNKNOWN = "unknown"


class EdgeKey(Struct, frozen=True, order=True):
    """One caller, one callee workload, one of its versions."""

    source: str
    source_namespace: str
    destination: str
    destination_namespace: str
    version: str
    protocol: str


class Edge(Struct, frozen=True):
    """Counts since the proxies started, or of an interval after `since`."""

    key: EdgeKey
    requests: int = 0
    """Of HTTP and gRPC; for TCP the connections opened."""
    errors: int = 0
    """Answers of 500 and above, and those that never came (code 0)."""
    buckets: tuple[tuple[float, int], ...] = ()
    """(upper bound in milliseconds, cumulative count), ascending, last bound is infinity."""


def parse_edges(texts: Iterable[str]) -> tuple[Edge, ...]:
    """Edges from the metrics pages of any number of proxies, summed."""
    requests: dict[EdgeKey, int] = defaultdict(int)
    errors: dict[EdgeKey, int] = defaultdict(int)
    buckets: dict[EdgeKey, dict[float, int]] = defaultdict(lambda: defaultdict(int))
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key, count = _key(sample.labels), int(sample.value)
                if sample.name in (REQUESTS, TCP_OPENED):
                    requests[key] += count
                    if sample.name == REQUESTS and _is_error(sample.labels):
                        errors[key] += count
                elif sample.name == DURATION:
                    buckets[key][float(sample.labels["le"])] += count
    return tuple(
        Edge(key, requests[key], errors[key], tuple(sorted(buckets[key].items())))
        for key in sorted(requests)
    )


def _key(labels: Mapping[str, str]) -> EdgeKey:
    return EdgeKey(
        source=labels.get("source_workload") or UNKNOWN,
        source_namespace=labels.get("source_workload_namespace") or UNKNOWN,
        destination=labels.get("destination_workload") or UNKNOWN,
        destination_namespace=labels.get("destination_workload_namespace") or UNKNOWN,
        version=labels.get("destination_version") or "",
        protocol=labels.get("request_protocol") or "tcp",
    )


def _is_error(labels: Mapping[str, str]) -> bool:
    code = labels.get("response_code", "")
    return not code.isdigit() or int(code) >= 500 or int(code) == 0


def since(before: Sequence[Edge], after: Sequence[Edge]) -> tuple[Edge, ...]:
    """What happened between two readings; a proxy that restarted counts from zero."""
    old = {edge.key: edge for edge in before}
    changes = (_minus(edge, old.get(edge.key)) for edge in after)
    return tuple(edge for edge in changes if edge.requests > 0)


def _minus(edge: Edge, old: Edge | None) -> Edge:
    if old is None or old.requests > edge.requests:
        return edge
    counts = dict(old.buckets)
    return Edge(
        edge.key,
        edge.requests - old.requests,
        max(0, edge.errors - old.errors),
        tuple((bound, count - counts.get(bound, 0)) for bound, count in edge.buckets),
    )


def quantile_ms(edge: Edge, quantile: float) -> float | None:
    """The latency below which this share of requests stayed, interpolated within its bucket as
    Prometheus' histogram_quantile does. None without measurements."""
    if not edge.buckets or edge.buckets[-1][1] == 0:
        return None
    rank = quantile * edge.buckets[-1][1]
    low_bound, low_count = 0.0, 0
    for bound, count in edge.buckets:
        if count >= rank:
            if math.isinf(bound) or count == low_count:
                return low_bound
            return low_bound + (bound - low_bound) * (rank - low_count) / (count - low_count)
        low_bound, low_count = bound, count
    return low_bound
