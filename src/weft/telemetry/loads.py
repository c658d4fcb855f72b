"""How much is asked of workloads: calls per second, calls under way, latencies.

Calls under way on average are calls per second times their mean duration (Little's law): a number
of the whole interval, not of a moment.
"""

from collections.abc import Mapping, Sequence

from weft.telemetry.readings import LATENCIES, Load
from weft.telemetry.traffic import Counts, EdgeKey


def loads(
    edges: Mapping[EdgeKey, Counts], seconds: float, bounds: Sequence[float]
) -> Mapping[tuple[str, str], Load]:
    """By namespace and workload, of what happened in so many seconds. `bounds` are the upper
    bounds of the durations' buckets in milliseconds."""
    sums: dict[tuple[str, str], Counts] = {}
    for key, counts in edges.items():
        workload = (key.destination_namespace, key.destination)
        sums[workload] = sums[workload] + counts if workload in sums else counts
    return {workload: _load(counts, seconds, bounds) for workload, counts in sums.items()}


def _load(counts: Counts, seconds: float, bounds: Sequence[float]) -> Load:
    latencies = {q: quantile(counts.buckets, bounds, q) for q in LATENCIES.values()}
    return Load(
        requests_per_second=counts.requests / seconds,
        in_flight=counts.duration_sum_ms / 1000 / seconds,
        milliseconds={q: ms for q, ms in latencies.items() if ms is not None},
    )


def quantile(buckets: Sequence[float], bounds: Sequence[float], share: float) -> float | None:
    """The duration below which that share stayed, interpolated within its bucket; above the last
    bound it is that bound. None without measurements."""
    rank, low, below = share * sum(buckets), 0.0, 0.0
    if not rank:
        return None
    for bound, count in zip(bounds, buckets, strict=False):
        if count and below + count >= rank:
            return low + (bound - low) * (rank - below) / count
        low, below = bound, below + count
    return low
