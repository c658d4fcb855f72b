"""Calls per second, calls under way and latencies of workloads."""

import pytest

from weft.telemetry.loads import loads, quantile
from weft.telemetry.traffic import Counts, EdgeKey

BOUNDS = (10.0, 100.0, 1000.0)


def edge(source: str, destination: str = "web") -> EdgeKey:
    return EdgeKey(source, "ns", "", destination, "ns", "", "web", "ns", "web.ns", "http", "none")


def counts(requests: float, total_ms: float, *buckets: float) -> Counts:
    return Counts(
        requests=requests,
        duration_sum_ms=total_ms,
        buckets=(*buckets, *[0.0] * (15 - len(buckets))),
    )


def test_all_callers_of_a_workload_count() -> None:
    found = loads(
        {
            edge("a"): counts(20, 1000, 20),
            edge("b"): counts(10, 9000, 0, 10),
            edge("a", "db"): counts(5, 5, 5),
        },
        10.0,
        BOUNDS,
    )
    web = found["ns", "web"]
    assert (web.requests_per_second, web.in_flight) == (3.0, 1.0)
    assert web.milliseconds[0.5] == pytest.approx(7.5)
    assert web.milliseconds[0.9] == pytest.approx(73.0)
    assert found["ns", "db"].requests_per_second == 0.5


def test_quantiles() -> None:
    assert quantile((0, 0, 0, 0), BOUNDS, 0.5) is None
    assert quantile((0, 0, 0, 4), BOUNDS, 0.5) == 1000.0
    assert quantile((1, 1, 2, 0), BOUNDS, 0.5) == 100.0
