"""How calls split over versions, as text."""

from weft.telemetry.signals import EdgeTraffic, TrafficDocument
from weft.telemetry.traffic import Counts, EdgeKey
from weft.views.traffic import shares, split_lines, version_counts


def edge(caller: str, version: str, requests: int, service: str = "api") -> EdgeTraffic:
    key = EdgeKey(
        *(caller, "d", "v1", f"api-{version}", "d", version, service, "d", f"{service}.d"),
        *("http", "none"),
    )
    return EdgeTraffic(key, Counts(requests=requests))


def test_shares_sum_over_callers() -> None:
    edges = (edge("web", "v1", 20), edge("cli", "v1", 10), edge("web", "v2", 10),
             edge("web", "v2", 99, "api-of-another"))  # fmt: skip
    counts = version_counts(TrafficDocument(60, 5, edges), "api")
    assert counts == {"v1": 30, "v2": 10}
    assert shares(counts) == {"v1": 0.75, "v2": 0.25}
    assert shares({}) == {}


def test_split_says_what_was_wanted() -> None:
    (line,) = split_lines({"v1": 0.8}, {"v1": 0.8})
    assert "80.0%" in line
    assert "(wanted 80%)" in line
