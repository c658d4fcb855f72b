"""The life of an alert: a finding must last before anybody is told, and be gone before it is over.

Source: prometheus.io, "Alerting rules" (`for`, `keep_firing_for`).
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

Severity = Literal["critical", "warning", "info"]
State = Literal["pending", "firing", "resolved"]

KEEP_FIRING_SECONDS = 30.0
"""A finding that comes back sooner is the same alert: one that flaps is told once."""
RESOLVED_KEPT_SECONDS = 3600.0
"""How long alerts that are over are shown."""
ALERTS_MAX = 2000
"""Alerts that are kept; those over for longest go first."""


class AlertKey(NamedTuple):
    """What an alert is about: equal keys are one alert."""

    name: str
    namespace: str
    kind: str
    """Of the object that it concerns: Service, Pod, Node, ..."""
    object_name: str
    rule: str = ""
    """The object that asked for it; empty for what weft warns of by itself."""


class Finding(Struct, frozen=True):
    """Something that is wrong now."""

    key: AlertKey
    severity: Severity
    summary: str
    """One sentence for people."""
    evidence: str = ""
    """The numbers behind it."""
    value: float = 0.0
    hold_seconds: float = 0.0
    """How long it must last before it is told."""
    labels: tuple[tuple[str, str], ...] = ()
    """Besides those that follow from the key."""
    runbook_url: str = ""
    hint: str = ""
    """What to look at."""


class Alert(Struct, frozen=True, rename="camel"):
    """A finding over time."""

    finding: Finding
    state: State
    active_at: float
    """Since when it is there."""
    seen_at: float
    """When it was last there."""
    fired_at: float | None = None
    ended_at: float | None = None

    @property
    def key(self) -> AlertKey:
        return self.finding.key


class Step(Struct, frozen=True):
    """All alerts, and which of them began to fire or ended in this step."""

    alerts: Mapping[AlertKey, Alert]
    fired: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()


def step(before: Mapping[AlertKey, Alert], findings: Iterable[Finding], now: float) -> Step:
    """What becomes of the alerts with what is found now."""
    found = {finding.key: finding for finding in findings}
    after: dict[AlertKey, Alert] = {}
    fired: list[Alert] = []
    resolved: list[Alert] = []
    for key, finding in found.items():
        old = before.get(key)
        alert = _continued(old, finding, now)
        if alert.state == "firing" and (old is None or old.state != "firing"):
            fired.append(alert)
        after[key] = alert
    for key, old in before.items():
        if key in found:
            continue
        ended = _without_finding(old, now)
        if ended is None:
            continue
        if ended.state == "resolved" and old.state == "firing":
            resolved.append(ended)
        after[key] = ended
    return Step(_bounded(after), tuple(fired), tuple(resolved))


def _continued(old: Alert | None, finding: Finding, now: float) -> Alert:
    if old is None or old.state == "resolved":
        old = Alert(finding, "pending", active_at=now, seen_at=now)
    if old.state == "pending" and now - old.active_at >= finding.hold_seconds:
        return replace(old, finding=finding, state="firing", seen_at=now, fired_at=now)
    return replace(old, finding=finding, seen_at=now)


def _without_finding(old: Alert, now: float) -> Alert | None:
    if old.state == "pending":
        return None
    if old.state == "firing":
        if now - old.seen_at < KEEP_FIRING_SECONDS:
            return old
        return replace(old, state="resolved", ended_at=now)
    assert old.ended_at is not None
    return old if now - old.ended_at < RESOLVED_KEPT_SECONDS else None


def _bounded(alerts: dict[AlertKey, Alert]) -> Mapping[AlertKey, Alert]:
    if len(alerts) <= ALERTS_MAX:
        return alerts
    by_need = sorted(alerts.values(), key=lambda a: (a.state == "resolved", -a.seen_at))
    return {alert.key: alert for alert in by_need[:ALERTS_MAX]}
