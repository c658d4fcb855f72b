"""Signals of services from the counts of edges."""

import msgspec
import pytest

from weft.telemetry.signals import GROUPINGS, EdgeTraffic, TrafficDocument, quantile_ms, signals
from weft.telemetry.traffic import BUCKETS, Counts, EdgeKey

WEB = EdgeKey(
    *("web", "shop", "v1", "api-v1", "shop", "v1", "api", "shop", "api.shop.svc.cluster.local"),
    protocol="http",
    security="none",
)
EMPTY = (0.0,) * BUCKETS


def buckets(**counts: float) -> tuple[float, ...]:
    """By number: `b3=2` are two requests in the fourth bucket."""
    return tuple(counts.get(f"b{n}", 0.0) for n in range(BUCKETS))


def test_a_services_signals_are_of_all_that_call_it() -> None:
    v2 = msgspec.structs.replace(WEB, destination="api-v2", destination_version="v2")
    document = TrafficDocument(
        10,
        5,
        (
            EdgeTraffic(
                WEB,
                Counts(90, errors=9, duration_sum_ms=40_000, buckets=buckets(b3=90)),
                (4, 14),
                (0, 1.8),
            ),
            EdgeTraffic(
                v2, Counts(10, duration_sum_ms=20_000, buckets=buckets(b6=10)), (1, 1), (0, 0)
            ),
        ),
    )
    (service,) = signals(document, GROUPINGS["service"][1])
    assert (service.name, service.rate, service.error_percent) == (("shop", "api"), 10, 9)
    assert service.series == (5, 15)
    assert service.in_flight == 6, "60 s of requests within 10 s"
    assert service.p50_ms == pytest.approx(5 + 5 * 50 / 90)
    assert service.p99_ms == pytest.approx(50 + 50 * 9 / 10)
    workloads = signals(document, GROUPINGS["workload"][1])
    assert [one.name for one in workloads] == [("shop", "api-v1", "v1"), ("shop", "api-v2", "v2")]
    assert [one.in_flight for one in workloads] == [4, 2]


def test_connections_have_a_rate_and_no_errors() -> None:
    redis = msgspec.structs.replace(WEB, protocol="tcp")
    counts = Counts(opened=5, sent_bytes=1000, buckets=EMPTY)
    (found,) = signals(TrafficDocument(10, 5, (EdgeTraffic(redis, counts, (1,)),)),
                       GROUPINGS["edge"][1])  # fmt: skip
    assert (found.rate, found.error_percent, found.p50_ms) == (0.5, 0, None)
    assert (found.sent_rate, found.name) == (100, ("shop/web", "shop/api-v1", "v1"))


def test_a_call_that_nobody_answered_is_the_services() -> None:
    lost = msgspec.structs.replace(WEB, destination="unknown", destination_namespace="unknown")
    assert lost.callee == ("shop", "api")


def test_quantiles() -> None:
    assert quantile_ms(EMPTY, 0.5) is None
    assert quantile_ms(buckets(b0=4), 0.5) == 0.5
    assert quantile_ms(buckets(b14=1), 0.99) == 30000, "above the last bound nothing is known"
