"""Who calls whom, who called before, and which calls were refused."""

from collections import defaultdict

from msgspec import Struct

from weft.telemetry import edge_labels
from weft.telemetry.signals import TrafficDocument, quantile_ms
from weft.telemetry.traffic import REQUESTS, Counts, EdgeKey, Traffic, edge_key

DENIED_CODES = frozenset(("401", "403"))
"""With which proxies answer what a policy does not allow."""
RBAC_FLAGS = frozenset(("UAEX",))
"""Envoy's response flag of an external authorizer's refusal."""


class SilentEdge(Struct, frozen=True, rename="camel"):
    """An edge over which nothing passed in the time that is looked at."""

    edge: EdgeKey
    last_at: float
    """When something last did, in seconds since the epoch."""


class RefusedEdge(Struct, frozen=True, rename="camel"):
    """Calls that were answered 401 or 403."""

    edge: EdgeKey
    code: str
    calls: float
    """Since the mesh knows of the edge; ends half an hour after the last call."""
    last_at: float


class Topology(Struct, frozen=True, rename="camel"):
    """What a graph of the mesh is drawn from."""

    traffic: TrafficDocument
    silent: tuple[SilentEdge, ...]
    refused: tuple[RefusedEdge, ...]
    now: float


def topology(traffic: Traffic, document: TrafficDocument, now: float) -> Topology:
    """`document` with what it does not hold."""
    busy = {each.edge for each in document.edges}
    silent = [
        SilentEdge(key, last) for key, last in traffic.known_edges().items() if key not in busy
    ]
    return Topology(document, tuple(silent), refused_edges(traffic), now)


def refused_edges(traffic: Traffic) -> tuple[RefusedEdge, ...]:
    """Edges with refused calls, the most refused first."""
    calls: dict[tuple[EdgeKey, str], float] = defaultdict(float)
    last: dict[tuple[EdgeKey, str], float] = defaultdict(float)
    for (name, tag), total in traffic.totals.items():
        answer = edge_labels.edge(tag).answer
        if name != REQUESTS or not (answer.code in DENIED_CODES or answer.flags in RBAC_FLAGS):
            continue
        key = edge_key(tag)
        if key is not None:
            calls[key, answer.code] += total.value
            last[key, answer.code] = max(last[key, answer.code], total.changed_at)
    found = [RefusedEdge(*key, count, last[key]) for key, count in calls.items()]
    return tuple(sorted(found, key=lambda each: (-each.calls, each.edge, each.code)))


class WorkloadSeries(Struct, frozen=True, rename="camel"):
    """What one workload of a service (all of them: `workload` is empty) did, step by step, oldest
    first."""

    workload: str
    version: str
    rate: tuple[float, ...]
    """Requests (TCP: connections) per second."""
    errors: tuple[float, ...]
    """Failed requests per second."""
    p50_ms: tuple[float | None, ...]
    p99_ms: tuple[float | None, ...]


class ServiceSeries(Struct, frozen=True, rename="camel"):
    """The signals of a service over time."""

    step_seconds: int
    now: float
    workloads: tuple[WorkloadSeries, ...]


def service_series(
    traffic: Traffic, namespace: str, name: str, now: float, seconds: float
) -> ServiceSeries:
    """Of the service as a whole, then of each workload that answered for it. `name` is a service
    or, without a namespace, a host outside the mesh."""
    groups: dict[tuple[str, str], list[Counts]] = {}
    step = 0
    for key in traffic.known_edges():
        ours = (key.service_namespace, key.service) == (namespace, name)
        if not ours and (namespace or key.service_host != name):
            continue
        step, rows = traffic.series(key, now, seconds)
        for group in (("", ""), (key.destination, key.destination_version)):
            if group[0] != edge_labels.UNKNOWN:
                known = groups.get(group) or [Counts()] * len(rows)
                groups[group] = [a + b for a, b in zip(known, rows, strict=True)]
    found = tuple(_series(group, rows, step) for group, rows in sorted(groups.items()))
    return ServiceSeries(step, now, found)


def _series(group: tuple[str, str], rows: list[Counts], step: int) -> WorkloadSeries:
    return WorkloadSeries(
        *group,
        rate=tuple((row.requests + row.opened) / step for row in rows),
        errors=tuple(row.errors / step for row in rows),
        p50_ms=tuple(quantile_ms(row.buckets, 0.5) for row in rows),
        p99_ms=tuple(quantile_ms(row.buckets, 0.99) for row in rows),
    )
