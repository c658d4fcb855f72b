"""What the benchmarks print: medians, ratios to their own run, goals met or missed."""

import os

import pytest
from benchmarks.harness import (
    Benchmark,
    Process,
    Row,
    Skipped,
    memory_together,
    milliseconds,
    report,
    table,
)
from benchmarks.one_hop import parse

WRK = """Running 2s test @ http://10.96.0.7/
  1 threads and 16 connections
  Latency Distribution
     50%  250.00us
     75%    1.10ms
     90%    1.57ms
     99%    3.98ms
  24240 requests in 2.00s, 3.12MB read
Requests/sec:  12120.50
Transfer/sec:      1.56MB
"""


def test_rows_show_median_spread_and_ratio() -> None:
    lines = table(
        [Row("direct", "ms", (1.0, 3.0, 2.0)), Row("meshed", "ms", (4.0, 5.0, 60.0), "direct", 6.0)]
    ).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[2] == ["direct, ms", "2.00", "1.00", "3.00", "3", "", ""]
    assert cells[3] == [
        "meshed, ms", "5.00", "4.00", "60.0", "3", "2.50 × direct", "met (≤ 6.00)",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1


def test_a_missed_goal_and_a_baseline_of_zero() -> None:
    found = table([Row("none", "1", (0.0,)), Row("some", "1", (2.0,), "none", goal=1.0)])
    assert "MISSED (≤ 1.00)" in found
    assert "×" not in found


def test_a_benchmark_that_cannot_run_says_why() -> None:
    def run() -> list[Row]:
        raise Skipped("needs wrk")

    text = report(Benchmark("hop", "What a hop costs.", run))
    assert "## hop\n\nWhat a hop costs." in text
    assert "Skipped: needs wrk" in text


def test_processes_are_seen() -> None:
    own = Process(os.getpid())
    assert 0 < own.memory()[0] < own.rss()
    assert memory_together([own, own]) == pytest.approx(
        2 * own.memory()[0] + sum(own.memory()[1].values()), rel=0.05
    )
    before = own.cpu_seconds()
    assert sum(milliseconds(lambda: sum(range(3_000_000)), 3)) > 30
    assert own.cpu_seconds() > before


def test_the_output_of_wrk() -> None:
    found = parse(WRK, cpu_seconds=1.2)
    assert (found.rate, found.p50, found.p99) == (12120.5, 0.25, 3.98)
    assert found.envoy == pytest.approx(49.5, rel=0.01)
    with pytest.raises(ValueError, match="Non-2xx"):
        parse(WRK + "  Non-2xx or 3xx responses: 12\n", 1.0)
