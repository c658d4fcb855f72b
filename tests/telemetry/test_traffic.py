"""Edges and totals from what proxies report: each call is counted once, whatever restarts."""

import pytest

from weft.telemetry.edge_labels import Answer, Callee, Party, folded, tag_value
from weft.telemetry.otlp import Sample
from weft.telemetry.traffic import (
    DURATION,
    EDGES_MAX,
    IDLE_SECONDS,
    OPENED,
    REQUESTS,
    SENT,
    SERIES_MAX,
    Traffic,
)

START = 1_000_000.0
BOUNDS = (10.0, 100.0)


def tag(
    code: str = "200",
    *,
    source: str = "web",
    to: str = "api",
    reporter: str = "source",
    grpc: str = "-",
    protocol: str = "HTTP/1.1",
) -> str:
    party = Party("x", "shop", "unknown", "x", "v1")
    return tag_value(
        reporter,
        "none",
        source=folded(party._replace(workload=source)),
        destination=folded(party._replace(workload=to)),
        callee=folded(Callee("api.shop.svc.cluster.local", "api", "shop")),
        answer=folded(Answer(protocol, code if protocol else "", grpc, "-")),
    )


def counted(value: float, what: str, name: str = REQUESTS, since: float = START) -> Sample:
    return Sample(name, (("edge", what),), value, since)


def took(total: float, *buckets: int) -> Sample:
    return Sample(DURATION, (("edge", tag()),), total, START, buckets, BOUNDS)


def requests(traffic: Traffic, now: float = START + 20) -> dict[str, tuple[float, float]]:
    return {
        key.destination: (counts.requests, counts.errors)
        for key, counts in traffic.edges(now, 60).items()
    }


def test_what_was_added_since_the_last_report_is_counted() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(5, tag()), took(30, 4, 1, 0)], START + 1)
    traffic.report("n1", [counted(8, tag()), took(300, 4, 3, 1)], START + 6)
    (counts,) = traffic.edges(START + 20, 60).values()
    assert (counts.requests, counts.errors, counts.duration_sum_ms) == (8, 0, 300)
    assert counts.buckets[:4] == (4, 3, 1, 0)
    (key,) = traffic.edges(START + 20, 60)
    step, rows = traffic.series(key, START + 20, 20)
    assert (step, [row.requests for row in rows]) == (5, [5, 3, 0, 0])
    assert traffic.totals[REQUESTS, tag()].value == 8
    assert traffic.totals[DURATION, tag()].buckets == [4, 3, 1]


def test_whose_fault_a_failure_is() -> None:
    traffic = Traffic(START)
    answers = [("200", "-", 10), ("404", "-", 1), ("503", "-", 2), ("0", "-", 4), ("200", "14", 8),
               ("200", "5", 16)]  # fmt: skip
    report = [counted(n, tag(code, grpc=grpc)) for code, grpc, n in answers]
    traffic.report("n1", report, START + 1)
    found = {key.protocol: counts for key, counts in traffic.edges(START + 20, 60).items()}
    http, grpc = found["http"], found["grpc"]
    assert (http.requests, http.errors, http.client_errors) == (17, 6, 1)
    assert (grpc.requests, grpc.errors) == (24, 8)


def test_a_proxy_that_starts_anew_counts_from_zero() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(5, tag())], START + 1)
    traffic.report("n1", [counted(2, tag(), since=START + 3)], START + 6)
    assert requests(traffic) == {"api": (7, 0)}


def test_a_series_that_was_away_counts_from_zero() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(5, tag())], START + 1)
    traffic.report("n1", [], START + 6)
    traffic.report("n1", [counted(6, tag())], START + 11)
    assert requests(traffic) == {"api": (11, 0)}


def test_what_was_counted_before_weft_started_has_no_place_in_time() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(500, tag(), since=START - 100)], START + 1)
    assert requests(traffic) == {}
    assert traffic.totals[REQUESTS, tag()].value == 500
    late = counted(4, tag(to="late"), since=START - 100)
    traffic.report("n1", [counted(503, tag(), since=START - 100), late], START + 6)
    assert requests(traffic) == {"api": (3, 0), "late": (4, 0)}


def test_a_call_that_two_proxies_report_is_one_call() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(5, tag())], START + 1)
    traffic.report("n2", [counted(5, tag(reporter="destination"))], START + 1)
    around = counted(3, tag(reporter="destination", source="unknown", to="direct"))
    traffic.report("n2", [counted(5, tag(reporter="destination")), around], START + 6)
    assert requests(traffic) == {"api": (5, 0), "direct": (3, 0)}
    assert len(traffic.totals) == 3


def test_bytes() -> None:
    traffic = Traffic(START)
    what = tag(protocol="")
    traffic.report("n1", [counted(2, what, OPENED), counted(900, what, SENT)], START + 1)
    ((key, counts),) = traffic.edges(START + 20, 60).items()
    assert (key.protocol, counts.opened, counts.sent_bytes) == ("tcp", 2, 900)


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    traffic = Traffic(START)
    many = [counted(1, tag(to=f"w{n}")) for n in range(EDGES_MAX + 5)]
    traffic.report("n1", many, START + 1)
    assert len(traffic.known_edges()) == EDGES_MAX
    assert "w0" not in {key.destination for key in traffic.known_edges()}
    traffic.report("n1", [], START + 2 + IDLE_SECONDS)
    assert traffic.totals == {}
    series = [counted(1, tag(str(code), to=f"w{n}")) for n in range(200) for code in range(101)]
    traffic.report("n1", series, START + 3 + IDLE_SECONDS)
    assert (len(traffic.totals), traffic.dropped) == (SERIES_MAX, 200)
