"""ServiceLevelObjectives: good and bad requests over weeks in fixed memory, and how fast the error
budget burns.

Source: Google, "The Site Reliability Workbook", chapter 5, "Alerting on SLOs" (several windows,
several burn rates).
"""

import math
from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from weft.api.snapshot import meta
from weft.api.weft.monitoring_v1alpha1 import BurnRate, ObjectiveState, ServiceLevelObjective
from weft.lib.durations import parse_duration
from weft.telemetry.alerting.alerts import AlertKey, Finding, Severity
from weft.telemetry.alerting.history import PERCENT
from weft.telemetry.traffic import BOUNDS_MS, Counts
from weft.telemetry.windows import Tier, Window

WINDOW_SECONDS = 720 * 3600.0
TIERS = (Tier(5, 120), Tier(60, 400), Tier(3600, 722))
"""Ten minutes, six hours and forty, thirty days: 20 kB for an objective."""
GOOD, BAD = 0, 1
WIDTH = 2
REQUESTS_MIN = 20
BUDGET_BURNT, BUDGET_BURNS, MISSED = "ErrorBudgetBurnsFast", "ErrorBudgetBurns", "ObjectiveMissed"


class Pace(Struct, frozen=True):
    """A burn that somebody is told of: this share of the budget within the long window, and it
    still burns in the short one."""

    budget_share: float
    long: float
    """Share of the objective's window."""
    short: float
    fast: bool


PACES = (
    Pace(0.02, 1 / 720, 1 / 8640, fast=True),
    Pace(0.05, 6 / 720, 1 / 1440, fast=True),
    Pace(0.10, 72 / 720, 6 / 720, fast=False),
)
"""Of 30 days: 1 h and 5 min (14.4 times as fast as planned), 6 h and 30 min (6 times), 3 d and 6 h
(once)."""
LONG_SECONDS_MIN, SHORT_SECONDS_MIN = 60.0, 15.0


def window_seconds(slo: ServiceLevelObjective) -> float:
    return parse_duration(slo.spec.window) if slo.spec.window else WINDOW_SECONDS


def empty() -> Window:
    return Window(WIDTH, TIERS)


def judged(slo: ServiceLevelObjective, counts: Counts) -> tuple[float, float]:
    """How many requests were good, and how many bad."""
    bad = counts.errors
    if slo.spec.latency is not None and slo.spec.latency.threshold_ms is not None:
        bad += max(0.0, _slower(counts, slo.spec.latency.threshold_ms) - counts.errors)
    return max(0.0, counts.requests - bad), min(bad, counts.requests)


def _slower(counts: Counts, threshold_ms: float) -> float:
    """Requests that took longer; those in the threshold's own bucket in proportion."""
    slower, low = 0.0, 0.0
    for bound, inside in zip((*BOUNDS_MS, math.inf), counts.buckets, strict=False):
        if low >= threshold_ms:
            slower += inside
        elif bound > threshold_ms:
            share = 0.5 if math.isinf(bound) else (bound - threshold_ms) / (bound - low)
            slower += inside * share
        low = bound
    return slower


def state(slo: ServiceLevelObjective, window: Window, now: float) -> ObjectiveState:
    """How the objective stands."""
    good, bad = window.last(now, window_seconds(slo))
    total, budget = good + bad, _budget(slo)
    if not total:
        return ObjectiveState(state="met", observed_generation=meta(slo).generation)
    burnt = bad / total / budget
    rates = tuple(
        BurnRate(_duration_text(seconds), round(_rate(slo, window, now, seconds), 2))
        for seconds in dict.fromkeys(_seconds(slo, pace)[0] for pace in PACES)
    )
    word = "met"
    if burnt > 1:
        word = "missed"
    elif any(_is_burning(slo, window, now, pace) for pace in PACES):
        word = "burning"
    return ObjectiveState(
        requests=total,
        good_percent=round(PERCENT * good / total, 4),
        budget_remaining_percent=round(PERCENT * (1 - burnt), 2),
        burn_rates=rates,
        state=cast("Any", word),
        observed_generation=meta(slo).generation,
    )


def findings(slo: ServiceLevelObjective, window: Window, now: float) -> list[Finding]:
    """What burns too fast, and whether all is burnt."""
    found = []
    fast = next((p for p in PACES if p.fast and _is_burning(slo, window, now, p)), None)
    slow = next((p for p in PACES if not p.fast and _is_burning(slo, window, now, p)), None)
    if fast is not None:
        found.append(_burning(slo, window, now, fast))
    elif slow is not None:
        found.append(_burning(slo, window, now, slow))
    good, bad = window.last(now, window_seconds(slo))
    if good + bad >= REQUESTS_MIN and bad / (good + bad) > _budget(slo):
        summary = f"{_name(slo)} missed its objective of {slo.spec.objective:g}%"
        evidence = f"{PERCENT * good / (good + bad):.3f}% of {good + bad:.0f} requests were good"
        found.append(_finding(slo, MISSED, "warning", (summary, evidence), bad / (good + bad)))
    return found


def _burning(slo: ServiceLevelObjective, window: Window, now: float, pace: Pace) -> Finding:
    long, short = _seconds(slo, pace)
    rate = _rate(slo, window, now, long)
    left = 1 - _rate(slo, window, now, window_seconds(slo))
    hours = max(0.0, left) * window_seconds(slo) / rate / 3600
    until = f"; it lasts {hours:.1f} h at this rate" if left > 0 else "; nothing is left"
    told = (
        f"{_name(slo)} uses its error budget {rate:.1f} times as fast as planned{until}",
        f"burn rate {rate:.2f} over {_duration_text(long)} and "
        f"{_rate(slo, window, now, short):.2f} over {_duration_text(short)}; objective "
        f"{slo.spec.objective:g}%",
    )
    name = BUDGET_BURNT if pace.fast else BUDGET_BURNS
    return _finding(
        slo, name, (slo.spec.severity or "critical") if pace.fast else "warning", told, rate
    )


def _is_burning(slo: ServiceLevelObjective, window: Window, now: float, pace: Pace) -> bool:
    long, short = _seconds(slo, pace)
    if sum(window.last(now, long)) < REQUESTS_MIN:
        return False
    threshold = pace.budget_share * window_seconds(slo) / long
    return all(_rate(slo, window, now, seconds) > threshold for seconds in (long, short))


def _rate(slo: ServiceLevelObjective, window: Window, now: float, seconds: float) -> float:
    good, bad = window.last(now, seconds)
    return bad / (good + bad) / _budget(slo) if good + bad else 0.0


def _seconds(slo: ServiceLevelObjective, pace: Pace) -> tuple[float, float]:
    """The long and the short window of a pace."""
    whole = window_seconds(slo)
    return max(LONG_SECONDS_MIN, pace.long * whole), max(SHORT_SECONDS_MIN, pace.short * whole)


def _budget(slo: ServiceLevelObjective) -> float:
    """The share of requests that may be bad."""
    return max(1e-9, 1 - (slo.spec.objective or 0.0) / PERCENT)


def _finding(
    slo: ServiceLevelObjective,
    name: str,
    severity: Severity,
    told: tuple[str, str],
    value: float,
) -> Finding:
    service = slo.spec.service.name if slo.spec.service else ""
    key = AlertKey(name, meta(slo).namespace, "Service", service, meta(slo).name)
    labels: Mapping[str, str] = {**slo.spec.labels, "slo": meta(slo).name}
    hint = f"weft tap --to {_name(slo)} --status error"
    return Finding(
        key, severity, *told, value=value, labels=tuple(sorted(labels.items())), hint=hint
    )


def _name(slo: ServiceLevelObjective) -> str:
    return f"{meta(slo).namespace}/{slo.spec.service.name if slo.spec.service else ''}"


def _duration_text(seconds: float) -> str:
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.0f}s"
