"""Who calls whom, how often, how well: counts of every edge of the mesh over the last hours.

Proxies report totals since they started. `Traffic` turns them into what was added, keeps that in
windows of fixed size per edge, and keeps the totals of the whole mesh for Prometheus.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import Struct

from weft.telemetry import edge_labels
from weft.telemetry.otlp import Sample
from weft.telemetry.windows import Window

REQUESTS = "istio_requests_total"
DURATION = "istio_request_duration_milliseconds"
OPENED = "istio_tcp_connections_opened_total"
CLOSED = "istio_tcp_connections_closed_total"
SENT = "istio_tcp_sent_bytes_total"
RECEIVED = "istio_tcp_received_bytes_total"

EDGES_MAX = 1000
"""Edges whose windows are kept; those that have been silent longest go first."""
SERIES_MAX = 20_000
"""Series of the totals; further ones are counted as dropped."""
IDLE_SECONDS = 1800.0
"""A series on which nobody has counted for so long ends, as in Envoy."""
SERVER_ERRORS_GRPC = frozenset(("2", "4", "12", "13", "14", "15"))
"""UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's fault
(OpenTelemetry, "Semantic conventions for gRPC")."""


class EdgeKey(Struct, frozen=True, order=True, rename="camel"):
    """One calling workload, one answering workload of one service."""

    source: str
    source_namespace: str
    source_version: str
    destination: str
    destination_namespace: str
    destination_version: str
    service: str
    """The service's name; `service_host` is what was called."""
    service_namespace: str
    service_host: str
    protocol: str
    security: str

    @property
    def caller(self) -> tuple[str, str]:
        """Namespace and name of the calling workload."""
        return self.source_namespace, self.source

    @property
    def callee(self) -> tuple[str, str]:
        """Namespace and name of the workload that answered; of the service when none did, or when
        it is outside the mesh."""
        if self.destination == edge_labels.UNKNOWN:
            return self.service_namespace, self.service
        return self.destination_namespace, self.destination


class Counts(Struct, frozen=True, rename="camel"):
    """What passed over an edge within some time."""

    requests: float = 0
    errors: float = 0
    """Answers of 500 and above, none at all, and gRPC statuses that mean the server's fault."""
    client_errors: float = 0
    """Answers of 400 to 499."""
    opened: float = 0
    """TCP connections."""
    closed: float = 0
    sent_bytes: float = 0
    """To the caller."""
    received_bytes: float = 0
    duration_sum_ms: float = 0
    buckets: tuple[float, ...] = ()
    """Requests by duration, one per bound and one above all; not cumulative."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts.of([a + b for a, b in zip(self.row(), other.row(), strict=True)])

    def row(self) -> list[float]:
        return [
            *(self.requests, self.errors, self.client_errors, self.opened, self.closed),
            *(self.sent_bytes, self.received_bytes, self.duration_sum_ms),
            *(self.buckets or [0.0] * BUCKETS),
        ]

    @classmethod
    def of(cls, row: list[float]) -> "Counts":
        requests, errors, client_errors, opened, closed, sent, received, total_ms = row[:COLUMNS]
        return cls(
            *(requests, errors, client_errors),
            *(opened, closed, sent, received),
            duration_sum_ms=total_ms,
            buckets=tuple(row[COLUMNS:]),
        )


COLUMNS = 8
BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000)
"""Of the durations' histogram, as proxies are told."""
BOUNDS_BYTES = (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
"""Of the bodies' histograms."""
BUCKETS = len(BOUNDS_MS) + 1
WIDTH = COLUMNS + BUCKETS
_COLUMN = {OPENED: 3, CLOSED: 4, SENT: 5, RECEIVED: 6}


class Total(Struct):
    """A series of the whole mesh since it is known."""

    value: float = 0
    buckets: list[float] = []
    bounds: tuple[float, ...] = ()
    changed_at: float = 0


class _Seen(Struct):
    """A series as a proxy last reported it."""

    value: float
    buckets: tuple[int, ...]
    report: int


class _Node(Struct):
    reports: int = 0
    seen: dict[tuple[str, str], _Seen] = {}


class Traffic:
    """Takes what proxies report; answers questions about the last hours."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._nodes: dict[str, _Node] = {}
        self._edges: dict[EdgeKey, tuple[Window, list[float]]] = {}
        """With the time of the last change. Insertion order is by last change."""
        self.totals: dict[tuple[str, str], Total] = {}
        """By name and folded labels."""
        self.dropped = 0
        """Series that found no room."""

    def report(self, node: str, samples: Iterable[Sample], now: float) -> None:
        """Take in all that a proxy counted since it started."""
        known = self._nodes.setdefault(node, _Node())
        known.reports += 1
        for sample in samples:
            tag = next((text for key, text in sample.labels if key == edge_labels.TAG), "")
            if tag:
                self._take(known, tag, sample, now)
        gone = [key for key, seen in known.seen.items() if seen.report < known.reports]
        for key in gone:  # evicted by the proxy: if it comes back, it counts from zero
            del known.seen[key]
        self._forget_idle(now)

    def _take(self, node: _Node, tag: str, sample: Sample, now: float) -> None:
        seen = node.seen.get((sample.name, tag))
        if seen is not None and seen.value == sample.value and seen.buckets == sample.buckets:
            seen.report = node.reports
            return
        node.seen[(sample.name, tag)] = _Seen(sample.value, sample.buckets, node.reports)
        value, buckets = _added(seen, sample)
        self._count_total(sample, tag, value, buckets, now)
        # What a proxy counted before anyone looked has no place in time.
        if seen is not None or node.reports > 1 or sample.since >= self._started_at:
            self._count_edge(sample.name, tag, value, buckets, now)

    def _count_total(
        self, sample: Sample, tag: str, value: float, buckets: list[float], now: float
    ) -> None:
        total = self.totals.get((sample.name, tag))
        if total is None:
            if len(self.totals) >= SERIES_MAX:
                self.dropped += 1
                return
            total = Total(buckets=[0.0] * len(buckets), bounds=sample.bounds)
            self.totals[sample.name, tag] = total
        total.value += value
        total.changed_at = now
        if len(buckets) == len(total.buckets):
            total.buckets = [a + b for a, b in zip(total.buckets, buckets, strict=True)]

    def _count_edge(
        self, name: str, tag: str, value: float, buckets: list[float], now: float
    ) -> None:
        key = edge_key(tag)
        if key is None:
            return
        window, changed = self._edges.pop(key) if key in self._edges else (Window(WIDTH), [0.0])
        self._edges[key] = window, changed
        changed[0] = now
        if len(self._edges) > EDGES_MAX:
            del self._edges[next(iter(self._edges))]
        row = [0.0] * WIDTH
        if name == REQUESTS:
            row[:3] = [value, value * is_error(tag), value * is_client_error(tag)]
        elif name == DURATION:
            row[COLUMNS - 1] = value
            row[COLUMNS : COLUMNS + len(buckets)] = buckets[:BUCKETS]
        elif name in _COLUMN:
            row[_COLUMN[name]] = value
        window.add(now, row[:WIDTH])

    def _forget_idle(self, now: float) -> None:
        idle = [k for k, total in self.totals.items() if now - total.changed_at > IDLE_SECONDS]
        for key in idle:
            del self.totals[key]

    def edges(self, now: float, seconds: float) -> Mapping[EdgeKey, Counts]:
        """What passed over each edge in the last `seconds`; edges without anything are left out."""
        found = {}
        for key, (window, changed) in self._edges.items():
            if now - changed[0] <= seconds + 60:
                row = window.last(now, seconds)
                if any(row):
                    found[key] = Counts.of(row)
        return dict(sorted(found.items()))

    def known_edges(self) -> Mapping[EdgeKey, float]:
        """Every edge that is kept, with the time at which something last passed."""
        return {key: changed[0] for key, (_, changed) in self._edges.items()}

    def series(self, key: EdgeKey, now: float, seconds: float) -> tuple[int, list[Counts]]:
        """Seconds of a step, and an edge's counts step by step, oldest first."""
        window, _ = self._edges.get(key) or (Window(WIDTH), [0.0])
        step, rows = window.series(now, seconds)
        return step, [Counts.of(row) for row in rows]


def _added(seen: _Seen | None, sample: Sample) -> tuple[float, list[float]]:
    """What came since the last report; a proxy that started anew counts from zero."""
    if seen is None or seen.value > sample.value or len(seen.buckets) != len(sample.buckets):
        return sample.value, [float(count) for count in sample.buckets]
    buckets = [float(b - a) for a, b in zip(seen.buckets, sample.buckets, strict=True)]
    if any(count < 0 for count in buckets):
        return sample.value, [float(count) for count in sample.buckets]
    return sample.value - seen.value, buckets


@lru_cache(maxsize=edge_labels.FOLDED_KEPT_MAX)
def edge_key(tag: str) -> EdgeKey | None:
    """The edge that a folded tag belongs to. None when another proxy reports the same call: with
    the caller known, the caller's proxy does."""
    edge = edge_labels.edge(tag)
    if edge.reporter != "source" and edge.source.workload != edge_labels.UNKNOWN:
        return None
    return EdgeKey(
        *(edge.source.workload, edge.source.namespace, edge.source.version),
        *(edge.destination.workload, edge.destination.namespace, edge.destination.version),
        *(edge.callee.name, edge.callee.namespace, edge.callee.host),
        protocol=edge.protocol,
        security=edge.security,
    )


@lru_cache(maxsize=edge_labels.FOLDED_KEPT_MAX)
def is_error(tag: str) -> bool:
    """Whether a request that is counted under this tag failed, by the server's fault."""
    answer = edge_labels.edge(tag).answer
    if not answer.code.isdigit() or int(answer.code) == 0:
        return True
    return int(answer.code) >= 500 or answer.grpc_status in SERVER_ERRORS_GRPC


@lru_cache(maxsize=edge_labels.FOLDED_KEPT_MAX)
def is_client_error(tag: str) -> bool:
    code = edge_labels.edge(tag).answer.code
    return code.isdigit() and 400 <= int(code) < 500
