"""The life of alerts."""

from weft.telemetry.alerting.alerts import (
    ALERTS_MAX,
    KEEP_FIRING_SECONDS,
    RESOLVED_KEPT_SECONDS,
    AlertKey,
    Finding,
    step,
)

KEY = AlertKey("HighErrorRate", "shop", "Service", "api")
FINDING = Finding(KEY, "warning", "many errors", hold_seconds=10)


def test_a_finding_must_last_before_it_fires() -> None:
    first = step({}, [FINDING], 100.0)
    assert first.alerts[KEY].state == "pending"
    assert not first.fired
    assert not step(first.alerts, [FINDING], 109.0).fired
    (fired,) = step(first.alerts, [FINDING], 110.0).fired
    assert (fired.state, fired.active_at, fired.fired_at) == ("firing", 100.0, 110.0)


def test_what_is_gone_before_it_fired_was_nothing() -> None:
    first = step({}, [FINDING], 100.0)
    assert step(first.alerts, [], 105.0).alerts == {}


def test_an_alert_that_flaps_is_told_once_and_ends_once() -> None:
    alerts = step(step({}, [FINDING], 0.0).alerts, [FINDING], 10.0).alerts
    gone = step(alerts, [], 10.0 + KEEP_FIRING_SECONDS - 1)
    assert gone.alerts[KEY].state == "firing"
    assert not gone.resolved
    back = step(gone.alerts, [FINDING], 40.0)
    assert not back.fired
    over = step(back.alerts, [], 40.0 + KEEP_FIRING_SECONDS)
    (ended,) = over.resolved
    assert (ended.state, ended.ended_at) == ("resolved", 40.0 + KEEP_FIRING_SECONDS)
    assert not step(over.alerts, [], 80.0).resolved
    assert step(over.alerts, [], 71.0 + RESOLVED_KEPT_SECONDS).alerts == {}


def test_an_alert_that_comes_again_after_its_end_is_a_new_one() -> None:
    alerts = step(step({}, [FINDING], 0.0).alerts, [FINDING], 10.0).alerts
    over = step(alerts, [], 100.0).alerts
    again = step(over, [FINDING], 200.0)
    assert again.alerts[KEY].state == "pending"
    assert again.alerts[KEY].active_at == 200.0


def test_the_severity_and_the_numbers_are_those_of_now() -> None:
    alerts = step(step({}, [FINDING], 0.0).alerts, [FINDING], 10.0).alerts
    worse = Finding(KEY, "critical", "most fail", value=60.0)
    assert step(alerts, [worse], 15.0).alerts[KEY].finding.severity == "critical"


def test_alerts_are_bounded_and_those_that_are_over_go_first() -> None:
    many = [Finding(AlertKey("A", "n", "Pod", f"p{i}"), "warning", "x") for i in range(ALERTS_MAX)]
    first = step({}, [FINDING], 0.0)
    over = step(step(first.alerts, [FINDING], 10.0).alerts, [], 100.0)
    assert over.alerts[KEY].state == "resolved"
    full = step(over.alerts, many, 101.0)
    assert len(full.alerts) == ALERTS_MAX
    assert KEY not in full.alerts
