"""Alerts and objectives as programs and pages get them."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.snapshot import meta
from weft.api.weft.monitoring_v1alpha1 import ObjectiveState, ServiceLevelObjective
from weft.telemetry.alerting import objectives
from weft.telemetry.alerting.alerts import Alert
from weft.telemetry.alerting.history import PERCENT
from weft.telemetry.alerting.notification import annotations_of, labels_of
from weft.telemetry.exposition import escaped
from weft.telemetry.windows import Window

ORDER = {"critical": 0, "warning": 1, "info": 2}
STATES = {"firing": 0, "pending": 1, "resolved": 2}
SERIES_SECONDS = 3600.0


class AlertRow(Struct, frozen=True, rename="camel"):
    """An alert."""

    name: str
    namespace: str
    kind: str
    object: str
    """Name of the object that it is about."""
    rule: str
    """The AlertRule or ServiceLevelObjective; empty for what weft warns of by itself."""
    state: str
    severity: str
    summary: str
    evidence: str
    hint: str
    value: float
    active_at: float
    fired_at: float | None
    ended_at: float | None
    labels: dict[str, str]
    annotations: dict[str, str]


class ObjectiveRow(Struct, frozen=True, rename="camel"):
    """An objective and how it stands."""

    name: str
    namespace: str
    service: str
    objective: float
    window_seconds: float
    status: ObjectiveState
    good_series: tuple[float | None, ...] = ()
    """Percentage of good requests of the last hour, minute by minute; None without requests."""


class AlertsDocument(Struct, frozen=True, rename="camel"):
    """All there is to know."""

    alerts: tuple[AlertRow, ...]
    """The most urgent first."""
    objectives: tuple[ObjectiveRow, ...]


def document(
    alerts: Iterable[Alert],
    slos: Iterable[tuple[ServiceLevelObjective, ObjectiveState, Window]],
    now: float,
    namespace: str = "",
) -> AlertsDocument:
    """Of one namespace, or (empty) of all."""
    rows = [_row(a) for a in alerts if namespace in ("", a.key.namespace)]
    rows.sort(key=lambda r: (STATES[r.state], ORDER[r.severity], -r.active_at, r.namespace, r.name))
    kept = [_objective(*slo, now) for slo in slos if namespace in ("", meta(slo[0]).namespace)]
    return AlertsDocument(tuple(rows), tuple(kept))


def _row(alert: Alert) -> AlertRow:
    key, finding = alert.key, alert.finding
    return AlertRow(
        *(key.name, key.namespace, key.kind, key.object_name, key.rule),
        *(alert.state, finding.severity, finding.summary, finding.evidence, finding.hint),
        *(finding.value, alert.active_at, alert.fired_at, alert.ended_at),
        labels_of(alert),
        annotations_of(alert),
    )


def _objective(
    slo: ServiceLevelObjective, state: ObjectiveState, window: Window, now: float
) -> ObjectiveRow:
    _, rows = window.series(now, SERIES_SECONDS)
    return ObjectiveRow(
        *(meta(slo).name, meta(slo).namespace),
        slo.spec.service.name if slo.spec.service else "",
        slo.spec.objective or 0.0,
        objectives.window_seconds(slo),
        state,
        tuple(PERCENT * good / (good + bad) if good + bad else None for good, bad in rows),
    )


def alert_lines(alerts: Iterable[Alert]) -> str:
    """`ALERTS` for Prometheus. Source: prometheus.io, "Alerting rules", "Inspecting alerts"."""
    lines = ["# TYPE ALERTS gauge"]
    for alert in alerts:
        if alert.state == "resolved":
            continue
        labels = labels_of(alert) | {"alertstate": alert.state}
        text = ",".join(f'{k}="{escaped(v)}"' for k, v in sorted(labels.items()))
        lines.append(f"ALERTS{{{text}}} 1")
    return "".join(f"{line}\n" for line in lines)
