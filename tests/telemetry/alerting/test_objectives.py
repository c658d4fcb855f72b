"""Objectives: what is counted, and how fast the budget burns."""

from typing import Any

import msgspec
import pytest

from weft.api.weft.monitoring_v1alpha1 import ServiceLevelObjective
from weft.telemetry.alerting import objectives
from weft.telemetry.traffic import BUCKETS, Counts
from weft.telemetry.windows import Window

DAY = 86400.0
NOW = 400 * DAY


def slo(**spec: Any) -> ServiceLevelObjective:
    body = {
        "metadata": {"name": "api", "namespace": "shop", "uid": "u", "generation": 3},
        "spec": {"service": {"name": "api"}, "objective": 99.9, **spec},
    }
    return msgspec.convert(body, ServiceLevelObjective)


def filled(*parts: tuple[float, float, float]) -> Window:
    """From `since` seconds before now on: good and bad requests a minute."""
    window = objectives.empty()
    for since, good, bad in parts:
        for minute in range(int(since // 60)):
            window.add(NOW - since + 60 * minute, (good, bad))
    return window


def test_a_steady_service_meets_its_objective() -> None:
    window = filled((10 * DAY, 1000, 0.5))
    state = objectives.state(slo(), window, NOW)
    assert state.state == "met"
    assert state.good_percent == pytest.approx(99.95, abs=0.001)
    assert state.budget_remaining_percent == pytest.approx(50, abs=0.1)
    assert state.observed_generation == 3
    assert not objectives.findings(slo(), window, NOW)


def test_a_fast_burn_is_critical_and_says_how_long_the_budget_lasts() -> None:
    window = filled((10 * DAY, 1000, 0), (3600, 0, 20))
    (finding,) = objectives.findings(slo(), window, NOW)
    assert (finding.key.name, finding.severity) == ("ErrorBudgetBurnsFast", "critical")
    assert "19.6 times as fast as planned; it lasts" in finding.summary
    assert objectives.state(slo(), window, NOW).state == "burning"


def test_a_burn_that_is_over_is_no_alert_although_the_long_window_shows_it() -> None:
    window = filled((10 * DAY, 1000, 0))
    for minute in range(10, 50):
        window.add(NOW - minute * 60, (0, 40))
    assert not objectives.findings(slo(), window, NOW)


def test_a_slow_burn_is_a_warning() -> None:
    window = filled((10 * DAY, 1000, 0), (3 * DAY, 0, 2))
    (finding,) = objectives.findings(slo(), window, NOW)
    assert (finding.key.name, finding.severity) == ("ErrorBudgetBurns", "warning")


def test_a_missed_objective_is_told() -> None:
    window = filled((10 * DAY, 1000, 2))
    names = {f.key.name for f in objectives.findings(slo(), window, NOW)}
    assert "ObjectiveMissed" in names
    state = objectives.state(slo(), window, NOW)
    assert state.state == "missed"
    assert (state.budget_remaining_percent or 0) < 0


def test_requests_that_are_too_slow_are_bad() -> None:
    buckets = [0.0] * BUCKETS
    buckets[3], buckets[7] = 90.0, 10.0  # up to 10 ms, up to 250 ms
    counts = Counts(100, errors=2, buckets=tuple(buckets))
    assert objectives.judged(slo(), counts) == (98, 2)
    assert objectives.judged(slo(latency={"thresholdMs": 100}), counts) == (90, 10)
    assert objectives.judged(slo(latency={"thresholdMs": 175}), counts) == (95, 5)


def test_counts_survive_a_restart() -> None:
    window = filled((DAY, 100, 1))
    again = objectives.empty()
    again.restore(window.dump())
    assert again.last(NOW, DAY) == window.last(NOW, DAY) != [0, 0]
    again.restore([(0, b"short")])
    assert again.last(NOW, DAY) == window.last(NOW, DAY)
