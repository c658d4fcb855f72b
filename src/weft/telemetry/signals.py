"""The golden signals of services, workloads, versions and edges: rate, errors, durations, bytes."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from weft.telemetry.traffic import BOUNDS_MS, Counts, EdgeKey

PERCENT = 100.0


class EdgeTraffic(Struct, frozen=True, rename="camel"):
    """An edge and what passed over it."""

    edge: EdgeKey
    counts: Counts
    series: tuple[float, ...] = ()
    """Requests (TCP: connections) per second, step by step, oldest first."""
    errors: tuple[float, ...] = ()
    """Failed requests per second."""


class TrafficDocument(Struct, frozen=True, rename="camel"):
    """The edges of the last `seconds`, as `weft top` and the like get them."""

    seconds: float
    step_seconds: int
    edges: tuple[EdgeTraffic, ...]


class Signals(Struct, frozen=True, rename="camel"):
    """How something is called, and how it answers."""

    name: tuple[str, ...]
    """What it is, as the grouping says: namespace and service, for example."""
    protocol: str
    rate: float
    """Requests per second; TCP: connections opened."""
    error_percent: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    """None without measured durations."""
    in_flight: float
    """Requests under way at a time, on average (Little's law: rate times mean duration)."""
    sent_rate: float
    """Bytes per second to the callers; known for TCP."""
    received_rate: float
    series: tuple[float, ...]
    requests: float
    errors: float


Grouping = Callable[[EdgeKey], tuple[str, ...]]

GROUPINGS: dict[str, tuple[tuple[str, ...], Grouping]] = {
    "service": (("Namespace", "Service"), lambda e: (e.service_namespace, e.service)),
    "workload": (
        ("Namespace", "Workload", "Version"),
        lambda e: (*e.callee, e.destination_version),
    ),
    "edge": (
        ("From", "To", "Version"),
        lambda e: ("/".join(e.caller), "/".join(e.callee), e.destination_version),
    ),
}
"""By word: the headings, and what edges are taken together."""


def signals(document: TrafficDocument, grouping: Grouping) -> tuple[Signals, ...]:
    """The busiest first."""
    groups: dict[tuple[tuple[str, ...], str], list[EdgeTraffic]] = defaultdict(list)
    for traffic in document.edges:
        groups[grouping(traffic.edge), traffic.edge.protocol].append(traffic)
    found = [_signals(*key, group, document.seconds) for key, group in groups.items()]
    return tuple(sorted(found, key=lambda s: (-s.rate, s.name, s.protocol)))


def _signals(
    name: tuple[str, ...], protocol: str, group: Sequence[EdgeTraffic], seconds: float
) -> Signals:
    total = Counts()
    for traffic in group:
        total += traffic.counts
    return Signals(
        name=name,
        protocol=protocol,
        rate=(total.requests + total.opened) / seconds,
        error_percent=PERCENT * total.errors / total.requests if total.requests else 0.0,
        p50_ms=quantile_ms(total.buckets, 0.5),
        p95_ms=quantile_ms(total.buckets, 0.95),
        p99_ms=quantile_ms(total.buckets, 0.99),
        in_flight=total.duration_sum_ms / 1000 / seconds,
        sent_rate=total.sent_bytes / seconds,
        received_rate=total.received_bytes / seconds,
        series=summed(traffic.series for traffic in group),
        requests=total.requests,
        errors=total.errors,
    )


def summed(series: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Step by step; all have the same steps."""
    return tuple(sum(step) for step in zip(*series, strict=True))


def quantile_ms(buckets: Sequence[float], quantile: float) -> float | None:
    """The duration below which this share stayed, interpolated within its bucket as Prometheus'
    histogram_quantile does. None without measurements."""
    count = sum(buckets)
    if not count:
        return None
    rank, below, low = quantile * count, 0.0, 0.0
    for bound, inside in zip((*BOUNDS_MS, math.inf), buckets, strict=True):
        if inside and below + inside >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / inside
        below, low = below + inside, bound
    return low
