"""A service's traffic as alerting reads it: the last moments, and what was usual before."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from weft.telemetry.signals import quantile_ms
from weft.telemetry.traffic import Counts, EdgeKey, Traffic

PERCENT = 100.0
USUAL_MINUTES = 60
"""So many minutes before now say what is usual."""
MINUTE = 60.0

ServiceName = tuple[str, str]
"""Namespace and name."""


class ServiceHistory(Struct, frozen=True):
    """Of one service."""

    service: ServiceName
    now: Counts
    """The last minute."""
    minutes: tuple[Counts, ...] = ()
    """The minutes before it, oldest first, each whole."""


def service_of(edge: EdgeKey) -> ServiceName:
    return edge.service_namespace, edge.service


def counts_of(traffic: Traffic, now: float, seconds: float) -> dict[ServiceName, Counts]:
    """What came to each service in the last `seconds`."""
    found: dict[ServiceName, list[float]] = {}
    for edge, counts in traffic.edges(now, seconds).items():
        name, row = service_of(edge), counts.row()
        found[name] = [a + b for a, b in zip(found[name], row)] if name in found else row  # noqa: B905 - same width
    return {name: Counts.of(row) for name, row in found.items()}


def minutes_of(traffic: Traffic, now: float, minutes: int) -> dict[ServiceName, tuple[Counts, ...]]:
    """The last whole minutes of each service, oldest first."""
    found: dict[ServiceName, list[list[float]]] = {}
    for edge in traffic.known_edges():
        _, steps = traffic.series(edge, now, minutes * MINUTE)
        rows = [counts.row() for counts in steps]
        name = service_of(edge)
        if name in found:
            rows = [[a + b for a, b in zip(x, y)] for x, y in zip(found[name], rows)]  # noqa: B905 - same width
        found[name] = rows
    return {name: tuple(Counts.of(row) for row in rows) for name, rows in found.items()}


def error_percent(counts: Counts) -> float | None:
    return PERCENT * counts.errors / counts.requests if counts.requests else None


Signal = Callable[[Counts, float], float | None]
"""Of the counts of some seconds; None when nothing can be said."""

SIGNALS: Mapping[str, Signal] = {
    "errorPercent": lambda c, s: error_percent(c),
    "clientErrorPercent": lambda c, s: (
        PERCENT * c.client_errors / c.requests if c.requests else None
    ),
    "p50Ms": lambda c, s: quantile_ms(c.buckets, 0.5),
    "p95Ms": lambda c, s: quantile_ms(c.buckets, 0.95),
    "p99Ms": lambda c, s: quantile_ms(c.buckets, 0.99),
    "requestsPerSecond": lambda c, s: c.requests / s,
    "bytesPerSecond": lambda c, s: (c.sent_bytes + c.received_bytes) / s,
    "connectionsPerSecond": lambda c, s: c.opened / s,
}
"""By the names that AlertRules use."""


def median(values: Sequence[float]) -> float:
    """0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
