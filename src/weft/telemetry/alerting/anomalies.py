"""What is unusual for a service, without anybody's rule: errors, slowness, calls that stop.

Each test compares the last minute with the same service's own minutes before, and asks for two
things: that chance does not explain the difference, and that the difference is large enough to
matter. `benchmarks/alerts.py` says how often these are right, on made-up incidents.
"""

import math
from collections.abc import Mapping, Sequence

from weft.telemetry.alerting.alerts import AlertKey, Finding
from weft.telemetry.alerting.history import MINUTE, PERCENT, ServiceHistory, median
from weft.telemetry.signals import quantile_ms
from weft.telemetry.traffic import Counts

MANY_ERRORS, ERRORS_ROSE = "HighErrorRate", "ErrorRateRose"
SLOWED, CALLS_STOPPED = "LatencyRose", "CallsStopped"

HOLD_SECONDS = 10.0
"""A finding must stand in several looks."""
MANY_ERRORS_PERCENT, CRITICAL_ERRORS_PERCENT = 5.0, 25.0
ERRORS_MIN, REQUESTS_MIN = 5, 20
"""Fewer in a minute say nothing."""
RECENT_MINUTES = 3
"""Just before now: the incident may have begun there, so they do not say what is usual."""
USUAL_MINUTES_MIN = 5
"""With fewer minutes of traffic nothing is known to be usual."""
SIGMA = 6.0
"""Standard deviations that chance does not explain, with many services looked at every few
seconds."""
ERRORS_ROSE_PERCENT = 1.0
"""Smaller rises of the error rate do not matter."""
SLOWED_FACTOR, SLOWED_MS = 2.0, 20.0
SPREAD_MIN = 0.12
"""Of the logarithm of durations from minute to minute: less is luck."""
STOPPED_SHARE, EXPECTED_MIN = 0.1, 30.0
"""A tenth of the usual calls, where at least so many a minute are usual."""
STEADY_SHARE = 0.4
"""Traffic whose quietest minute has this share of the usual is steady enough to miss."""
MEMORY_MINUTES = 60
"""So long something counts as unusual; from then on it is what is usual."""


def findings(
    history: ServiceHistory, active: Mapping[AlertKey, float], now: float
) -> list[Finding]:
    """What is unusual. `active` says since when what was found before is there: minutes from then
    on do not say what is usual."""
    usual = _usual(history, active, now)
    found = [
        _many_errors(history),
        _errors_rose(history, usual),
        _slowed(history, usual),
        _calls_stopped(history, usual),
    ]
    kept = [finding for finding in found if finding is not None]
    if any(f.key.name == MANY_ERRORS for f in kept):  # says the same with more force
        kept = [f for f in kept if f.key.name != ERRORS_ROSE]
    return kept


def key(name: str, history: ServiceHistory) -> AlertKey:
    namespace, service = history.service
    return AlertKey(name, namespace, "Service", service)


def _usual(
    history: ServiceHistory, active: Mapping[AlertKey, float], now: float
) -> Sequence[Counts]:
    """The minutes that say what is usual."""
    names = (MANY_ERRORS, ERRORS_ROSE, SLOWED, CALLS_STOPPED)
    since = [active[key(name, history)] for name in names if key(name, history) in active]
    skipped = RECENT_MINUTES
    if since:
        minutes = math.ceil((now - min(since)) / MINUTE) + RECENT_MINUTES
        skipped = minutes if minutes < MEMORY_MINUTES else RECENT_MINUTES
    return history.minutes[: max(0, len(history.minutes) - skipped)]


def _many_errors(history: ServiceHistory) -> Finding | None:
    counts = history.now
    if counts.requests < REQUESTS_MIN or counts.errors < ERRORS_MIN:
        return None
    percent = PERCENT * counts.errors / counts.requests
    if percent < MANY_ERRORS_PERCENT:
        return None
    return Finding(
        key(MANY_ERRORS, history),
        "critical" if percent >= CRITICAL_ERRORS_PERCENT else "warning",
        f"{percent:.0f}% of the requests to {_name(history)} fail",
        f"{counts.errors:.0f} of {counts.requests:.0f} requests of the last minute failed",
        value=percent,
        hold_seconds=HOLD_SECONDS,
        hint=_tap(history, " --status error"),
    )


def _errors_rose(history: ServiceHistory, usual: Sequence[Counts]) -> Finding | None:
    counts = history.now
    requests = sum(minute.requests for minute in usual)
    if counts.requests < REQUESTS_MIN or counts.errors < ERRORS_MIN or requests < REQUESTS_MIN:
        return None
    if len([m for m in usual if m.requests]) < USUAL_MINUTES_MIN:
        return None
    before = sum(minute.errors for minute in usual) / requests
    rate = counts.errors / counts.requests
    # One error more than was seen: none in few requests is no promise.
    expected = (before * requests + 1) / (requests + 1) * counts.requests
    z = (counts.errors - expected) / math.sqrt(max(expected, 1.0))
    if z < SIGMA or PERCENT * (rate - before) < ERRORS_ROSE_PERCENT:
        return None
    return Finding(
        key(ERRORS_ROSE, history),
        "warning",
        f"errors of {_name(history)} rose to {PERCENT * rate:.1f}%",
        f"{counts.errors:.0f} of {counts.requests:.0f} requests of the last minute failed; usual "
        f"are {PERCENT * before:.2f}% ({len(usual)} min)",
        value=PERCENT * rate,
        hold_seconds=HOLD_SECONDS,
        hint=_tap(history, " --status error"),
    )


def _slowed(history: ServiceHistory, usual: Sequence[Counts]) -> Finding | None:
    if sum(history.now.buckets) < REQUESTS_MIN:
        return None
    now = quantile_ms(history.now.buckets, 0.95)
    before = [
        found
        for minute in usual
        if sum(minute.buckets) >= REQUESTS_MIN and (found := quantile_ms(minute.buckets, 0.95))
    ]
    if now is None or len(before) < USUAL_MINUTES_MIN:
        return None
    logs = [math.log(each) for each in before]
    middle = median(logs)
    spread = max(SPREAD_MIN, 1.4826 * median([abs(each - middle) for each in logs]))
    typical = math.exp(middle)
    if now < SLOWED_FACTOR * typical or now - typical < SLOWED_MS:
        return None
    if (math.log(now) - middle) / spread < SIGMA - 1:
        return None
    return Finding(
        key(SLOWED, history),
        "warning",
        f"{_name(history)} answers {now / typical:.1f} times slower than usual",
        f"95% of the last minute's requests took up to {now:.0f} ms; usual are {typical:.0f} ms "
        f"({len(before)} min, from {min(before):.0f} to {max(before):.0f} ms)",
        value=now,
        hold_seconds=HOLD_SECONDS,
        hint=_tap(history, f" --slower {typical * SLOWED_FACTOR:.0f}"),
    )


def _calls_stopped(history: ServiceHistory, usual: Sequence[Counts]) -> Finding | None:
    rates = [minute.requests + minute.opened for minute in usual[-USUAL_MINUTES_MIN * 3 :]]
    expected = median(rates)
    if len(rates) < 2 * USUAL_MINUTES_MIN or expected < EXPECTED_MIN:
        return None
    now = history.now.requests + history.now.opened
    if min(rates) < STEADY_SHARE * expected or now > STOPPED_SHARE * expected:
        return None
    return Finding(
        key(CALLS_STOPPED, history),
        "warning",
        f"calls of {_name(history)} have stopped" if not now else f"few call {_name(history)}",
        f"{now:.0f} calls in the last minute; usual are {expected:.0f} "
        f"({len(rates)} min, at least {min(rates):.0f})",
        value=now,
        hold_seconds=HOLD_SECONDS * 2,
        hint="weft graph",
    )


def _name(history: ServiceHistory) -> str:
    return "/".join(history.service)


def _tap(history: ServiceHistory, rest: str) -> str:
    namespace, name = history.service
    return f"weft tap --to {namespace}/{name}{rest}"
