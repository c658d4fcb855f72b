"""What is unusual for a service; the wide measurement is `python -m benchmarks incidents`."""

import pytest
from benchmarks.incidents import simulate

from weft.telemetry.alerting import anomalies
from weft.telemetry.alerting.history import ServiceHistory
from weft.telemetry.traffic import BUCKETS, Counts

NAME = ("shop", "api")


def minute(requests: float = 600, errors: float = 0, bucket: int = 4) -> Counts:
    """All requests took what bucket `bucket` holds."""
    return Counts(
        requests=requests,
        errors=errors,
        buckets=tuple(requests if n == bucket else 0.0 for n in range(BUCKETS)),
    )


def names(now: Counts, usual: Counts, minutes: int = 20) -> dict[str, str]:
    history = ServiceHistory(NAME, now, (usual,) * minutes)
    return {f.key.name: f.summary for f in anomalies.findings(history, {}, 0.0)}


def test_what_is_as_usual_is_no_news() -> None:
    assert names(minute(), minute()) == {}
    assert names(minute(errors=5), minute(errors=5)) == {}


def test_many_errors_are_told_without_any_history() -> None:
    assert names(minute(errors=60), minute(), minutes=0) == {
        "HighErrorRate": "10% of the requests to shop/api fail"
    }
    (critical,) = anomalies.findings(ServiceHistory(NAME, minute(errors=300)), {}, 0.0)
    assert critical.severity == "critical"


def test_a_rise_of_errors_is_told_where_few_are_usual() -> None:
    assert set(names(minute(errors=18), minute(errors=1))) == {"ErrorRateRose"}
    assert names(minute(errors=18), minute(errors=18)) == {}
    assert names(minute(errors=4), minute()) == {}, "too few to matter"


def test_slowness_is_told_against_what_is_usual() -> None:
    found = names(minute(bucket=7), minute(bucket=4))
    assert set(found) == {"LatencyRose"}
    assert "times slower than usual" in found["LatencyRose"]
    assert names(minute(bucket=7), minute(bucket=7)) == {}
    assert names(minute(bucket=7), minute(bucket=4), minutes=5) == {}, "nothing is usual yet"


def test_calls_that_stop_are_told_where_they_are_steady() -> None:
    assert set(names(minute(0), minute(600))) == {"CallsStopped"}
    assert names(minute(0), minute(10)) == {}, "so few calls may pause"


def test_what_is_usual_does_not_move_while_something_is_wrong() -> None:
    usual, slow = minute(bucket=4), minute(bucket=7)
    history = ServiceHistory(NAME, slow, (usual,) * 20 + (slow,) * 15)
    key = anomalies.key(anomalies.SLOWED, history)
    now = 1000 * 60.0
    assert anomalies.findings(history, {key: now - 15 * 60}, now)
    forever = {key: now - 61 * 60}
    learned = ServiceHistory(NAME, slow, (slow,) * 60)
    assert not anomalies.findings(learned, forever, now), "what lasts an hour is usual"


@pytest.mark.slow
def test_alerts_are_right_on_made_up_incidents() -> None:
    report = simulate(24, seed=3)
    assert report.precision >= 0.8, report
    assert report.recall >= 0.8, report
