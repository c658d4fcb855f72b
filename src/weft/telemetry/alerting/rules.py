"""AlertRules, judged: a bound on a signal now, or where its trend will pass it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from msgspec import Struct

from weft.api.snapshot import meta
from weft.api.weft.monitoring_v1alpha1 import AlertRule
from weft.lib.durations import parse_duration
from weft.telemetry.alerting.alerts import AlertKey, Finding
from weft.telemetry.alerting.history import MINUTE, SIGNALS, ServiceName
from weft.telemetry.alerting.trends import fitted
from weft.telemetry.traffic import Counts

OVER_SECONDS, HOLD_SECONDS = 60.0, 30.0
REQUESTS_MIN = 10
TREND_MINUTES = 15
AHEAD = "Ahead"
"""Of the names of warnings by trend."""
UNITS = {"errorPercent": "%", "clientErrorPercent": "%", "p50Ms": " ms", "p95Ms": " ms",
         "p99Ms": " ms", "requestsPerSecond": "/s", "bytesPerSecond": " B/s",
         "connectionsPerSecond": "/s"}  # fmt: skip


class Window(Struct, frozen=True):
    """What came to each service, for every time that some rule asks for."""

    counts: Mapping[float, Mapping[ServiceName, Counts]]
    """By seconds."""
    minutes: Mapping[ServiceName, Sequence[Counts]]
    """The last minutes of each service, oldest first."""


def over_seconds(rule: AlertRule) -> float:
    return parse_duration(rule.spec.over) if rule.spec.over else OVER_SECONDS


def findings(rule: AlertRule, window: Window, services: Iterable[ServiceName]) -> list[Finding]:
    """Of every service that the rule is for. `services` are all that exist; one that a rule names
    is looked at even without a single call."""
    namespace = meta(rule).namespace
    chosen = rule.spec.service
    names = [name for name in services if name[0] == namespace]
    if chosen is not None:
        names = [(namespace, chosen.name)]
    found = []
    for name in names:
        finding = _finding(rule, name, window) or _ahead(rule, name, window)
        if finding is not None:
            found.append(finding)
    return found


def _finding(rule: AlertRule, name: ServiceName, window: Window) -> Finding | None:
    spec, seconds = rule.spec, over_seconds(rule)
    counts = window.counts.get(seconds, {}).get(name, Counts())
    is_rate = spec.signal.endswith("PerSecond")
    if counts.requests < _minimum(rule) and not (is_rate and spec.minimum_requests is None):
        return None
    value = SIGNALS[spec.signal](counts, seconds)
    if value is None or not _passed(rule, value):
        return None
    return Finding(
        _key(rule, name, ""),
        spec.severity or "warning",
        spec.summary or f"{spec.signal} of {'/'.join(name)} is {_text(rule, value)}",
        f"{spec.signal} over {seconds:g} s is {_text(rule, value)}, which is {_bound_text(rule)}; "
        f"{counts.requests:.0f} requests",
        value=value,
        hold_seconds=parse_duration(spec.hold) if spec.hold else HOLD_SECONDS,
        labels=tuple(sorted(spec.labels.items())),
        runbook_url=spec.runbook_url,
        hint=f"weft tap --to {'/'.join(name)}",
    )


def _ahead(rule: AlertRule, name: ServiceName, window: Window) -> Finding | None:
    spec = rule.spec
    if not spec.predict:
        return None
    minutes = window.minutes.get(name, ())[-TREND_MINUTES:]
    signal = SIGNALS[spec.signal]
    values = [v for m in minutes if m.requests and (v := signal(m, MINUTE)) is not None]
    line = fitted(values)
    if line is None or not line.sure:
        return None
    bound = cast("float", spec.above if spec.above is not None else spec.below)
    steps = line.steps_until(bound)
    if steps is None or steps * MINUTE > parse_duration(spec.predict):
        return None
    rising = spec.above is not None
    if (line.slope > 0) != rising:
        return None
    minutes_left = max(1, round(steps))
    return Finding(
        _key(rule, name, AHEAD),
        "warning",
        f"{spec.signal} of {'/'.join(name)} will pass {_text(rule, bound)} in about "
        f"{minutes_left} min",
        f"now {_text(rule, line.last)}, changing by {line.slope:+.3g} a minute over the last "
        f"{len(values)} min",
        value=line.last,
        hold_seconds=HOLD_SECONDS,
        labels=tuple(sorted(spec.labels.items())),
        runbook_url=spec.runbook_url,
        hint=f"weft top services -n {name[0]} --since 15m",
    )


def _minimum(rule: AlertRule) -> int:
    given = rule.spec.minimum_requests
    return REQUESTS_MIN if given is None else given


def _passed(rule: AlertRule, value: float) -> bool:
    if rule.spec.above is not None:
        return value > rule.spec.above
    return value < cast("float", rule.spec.below)


def _key(rule: AlertRule, name: ServiceName, suffix: str) -> AlertKey:
    return AlertKey(meta(rule).name + suffix, name[0], "Service", name[1], meta(rule).name)


def _text(rule: AlertRule, value: float) -> str:
    return f"{value:.4g}{UNITS[rule.spec.signal]}"


def _bound_text(rule: AlertRule) -> str:
    above = rule.spec.above
    if above is not None:
        return f"above {_text(rule, above)}"
    return f"below {_text(rule, cast('float', rule.spec.below))}"
