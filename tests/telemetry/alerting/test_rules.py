"""AlertRules over counts."""

from typing import Any

import msgspec
import pytest

from weft.api.weft.monitoring_v1alpha1 import AlertRule
from weft.telemetry.alerting import rules
from weft.telemetry.alerting.rules import Window
from weft.telemetry.traffic import BUCKETS, Counts

API, WEB = ("shop", "api"), ("shop", "web")


def rule(**spec: Any) -> AlertRule:
    body = {"metadata": {"name": "r", "namespace": "shop"}, "spec": spec}
    return msgspec.convert(body, AlertRule)


def found(one: AlertRule, counts: dict[Any, Counts], minutes: Any = None) -> list[Any]:
    seconds = rules.over_seconds(one)
    window = Window({seconds: counts}, minutes or {})
    return rules.findings(one, window, [API, WEB, ("other", "api")])


def test_a_bound_on_errors_holds_for_each_service_by_itself() -> None:
    one = rule(signal="errorPercent", above=2)
    counts = {API: Counts(100, errors=3), WEB: Counts(100, errors=1)}
    (finding,) = found(one, counts)
    assert finding.key == ("r", "shop", "Service", "api", "r")
    assert finding.summary == "errorPercent of shop/api is 3%"
    assert finding.evidence == "errorPercent over 60 s is 3%, which is above 2%; 100 requests"
    assert (finding.severity, finding.hold_seconds) == ("warning", 30.0)


def test_few_requests_say_nothing_unless_the_rule_says_so() -> None:
    counts = {API: Counts(5, errors=5)}
    assert not found(rule(signal="errorPercent", above=2), counts)
    assert found(rule(signal="errorPercent", above=2, minimumRequests=5), counts)


def test_a_rate_below_its_bound_is_told_even_without_a_call() -> None:
    one = rule(signal="requestsPerSecond", below=1, service={"name": "api"}, severity="critical",
               **{"for": "1m"})  # fmt: skip
    (finding,) = found(one, {})
    assert (finding.severity, finding.hold_seconds) == ("critical", 60.0)


def test_durations_are_quantiles_of_the_time_asked_for() -> None:
    slow = Counts(100, buckets=tuple(100.0 if n == 7 else 0.0 for n in range(BUCKETS)))
    one = rule(signal="p99Ms", above=200, over="5m", summary="the api is slow")
    (finding,) = found(one, {API: slow})
    assert finding.summary == "the api is slow"
    assert finding.value == pytest.approx(100 + 150 * 0.99)


def test_a_trend_is_told_before_the_bound_is_passed() -> None:
    minutes = {API: [Counts(100, errors=n) for n in range(1, 13)]}
    one = rule(signal="errorPercent", above=20, predict="15m")
    (finding,) = found(one, {API: Counts(100, errors=12)}, minutes)
    assert finding.key.name == "rAhead"
    assert finding.summary == "errorPercent of shop/api will pass 20% in about 8 min"
    late = rule(signal="errorPercent", above=60, predict="15m")
    assert not found(late, {API: Counts(100, errors=12)}, minutes)
    restless = {API: [Counts(100, errors=e) for e in (1, 9, 0, 8, 2, 9, 1, 7, 3, 9, 2, 8)]}
    assert not found(one, {API: Counts(100, errors=12)}, restless)
