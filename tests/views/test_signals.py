"""Traffic as a person sees it."""

import msgspec

from weft.telemetry.signals import EdgeTraffic, TrafficDocument
from weft.telemetry.traffic import BUCKETS, Counts, EdgeKey
from weft.views.signals import dot_lines, graph_lines, sparkline, top_lines
from weft.views.tables import COLOUR

KEY = EdgeKey(
    *("web", "shop", "v1", "api-v1", "shop", "v1", "api", "shop", "api.shop.svc.cluster.local"),
    protocol="http",
    security="none",
)


def edge(source: str, to: str, requests: float, errors: float = 0, **more: str) -> EdgeTraffic:
    key = msgspec.structs.replace(KEY, source=source, destination=to, service=to, **more)
    buckets = (0.0, 0.0, 0.0, requests, *(0.0,) * (BUCKETS - 4))
    counts = Counts(requests, errors, duration_sum_ms=7.5 * requests, buckets=buckets)
    return EdgeTraffic(key, counts, (requests, 0.0))


DOCUMENT = TrafficDocument(
    10,
    5,
    (
        edge("gateway", "web", 1234.0, source_namespace="weft-system"),
        edge("web", "api", 100.0, 5.0, destination_version="v2", security="mutual_tls"),
        edge("api", "web", 10.0),
        EdgeTraffic(
            msgspec.structs.replace(KEY, source="api", destination="db", protocol="tcp"),
            Counts(opened=1, sent_bytes=20480, buckets=(0.0,) * BUCKETS),
            (1.0, 0.0),
        ),
    ),
)


def test_top() -> None:
    assert top_lines(DOCUMENT, "service") == [
        "NAMESPACE   SERVICE   PROTOCOL   RATE/S   ERRORS   P50      P95      P99      "
        "ACTIVE   LAST",
        "shop        web       http       124      0.0%     7.5 ms   9.8 ms   9.9 ms   0.9      █▁",
        "shop        api       http       10.0     5.0%     7.5 ms   9.8 ms   9.9 ms   0.1      █▁",
        "shop        api       tcp        0.1      -        -        -        -        -        █▁",
    ]


def test_failing_ones_stand_out() -> None:
    lines = top_lines(DOCUMENT, "service", COLOUR)
    assert lines[2].startswith(COLOUR.bad)
    assert not lines[1].startswith(COLOUR.bad)


def test_the_graph_is_a_tree_that_ends_where_it_comes_round() -> None:
    assert graph_lines(DOCUMENT) == [
        "weft-system/gateway",
        "└─ shop/web v1  http  123/s  p99 9.9 ms  0.0% errors",
        "   └─ shop/api v2  http  mTLS  10.0/s  p99 9.9 ms  5.0% errors",
        "      ├─ shop/web v1  http  1.0/s  p99 9.9 ms  0.0% errors",
        "      └─ shop/db v1  tcp  0.1/s  2.0 KiB/s",
    ]


def test_a_circle_that_nobody_calls_is_shown() -> None:
    circle = TrafficDocument(10, 5, (edge("a", "b", 10.0), edge("b", "a", 10.0)))
    assert graph_lines(circle)[0] == "shop/a"
    assert len(graph_lines(circle)) == 3


def test_dot() -> None:
    assert '  "shop/web" -> "shop/api" [label="http 10.0/s" color="red"];' in dot_lines(DOCUMENT)


def test_sparklines() -> None:
    assert sparkline((0, 1, 2, 4)) == "▁▃▅█"
    assert sparkline((0, 0)) == "▁▁"
    assert len(sparkline(tuple(range(50)))) == 12
