"""Traffic as text."""

from weft.telemetry.edges import Edge, EdgeKey
from weft.views.traffic import edge_lines, split_lines, version_shares


def edge(version: str, requests: int) -> Edge:
    key = EdgeKey("web", "d", f"api-{version}", "d", version, "http")
    return Edge(key, requests, 0, ((1.0, requests), (float("inf"), requests)))


def test_shares_sum_over_workloads() -> None:
    shares = version_shares([edge("v1", 30), edge("v2", 10)], "api")
    assert shares == {"v1": 0.75, "v2": 0.25}
    assert version_shares([], "api") == {}


def test_lines_show_rate_and_latency() -> None:
    header, row = edge_lines([edge("v1", 30)], 3.0)
    assert header.split() == ["FROM", "TO", "VERSION", "PROTOCOL", "RATE/S", "ERRORS", "P50", "P99"]
    assert row.split()[:6] == ["web", "api-v1", "v1", "http", "10", "0"]


def test_split_says_what_was_wanted() -> None:
    (line,) = split_lines({"v1": 0.8}, {"v1": 0.8})
    assert "80.0%" in line
    assert "(wanted 80%)" in line
