"""What receivers are told: messages in the form of Alertmanager's webhooks, and when.

Source: prometheus.io, Alertmanager configuration, "webhook_config" (version 4 of the message).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.snapshot import meta
from weft.api.validate.monitoring import ADMINISTRATORS_NAMESPACE
from weft.api.weft.monitoring_v1alpha1 import AlertReceiver
from weft.lib.durations import parse_duration
from weft.lib.timefmt import rfc3339
from weft.telemetry.alerting.alerts import Alert, AlertKey

REPEAT_SECONDS = 4 * 3600.0
ALERTS_IN_MESSAGE_MAX = 100
NEVER = "0001-01-01T00:00:00Z"
"""The end of an alert that goes on, as Go writes no time."""


class Told(Struct, frozen=True):
    """What a receiver knows of an alert."""

    state: str
    at: float


def labels_of(alert: Alert) -> dict[str, str]:
    """The labels of an alert, as Prometheus' `ALERTS` series has them."""
    key, finding = alert.key, alert.finding
    labels = {"alertname": key.name, "severity": finding.severity}
    if key.namespace:
        labels["namespace"] = key.namespace
    labels[key.kind.lower()] = key.object_name
    if key.rule:
        labels["rule"] = key.rule
    return dict(finding.labels) | labels


def annotations_of(alert: Alert) -> dict[str, str]:
    finding = alert.finding
    found = {
        "summary": finding.summary,
        "description": finding.evidence,
        "hint": finding.hint,
        "runbook_url": finding.runbook_url,
    }
    return {name: text for name, text in found.items() if text}


def wants(receiver: AlertReceiver, alert: Alert) -> bool:
    """Whether a receiver is told of an alert at all."""
    namespace, spec = meta(receiver).namespace, receiver.spec
    if namespace not in (ADMINISTRATORS_NAMESPACE, alert.key.namespace):
        return False
    return not spec.severities or alert.finding.severity in spec.severities


def due(
    receiver: AlertReceiver,
    alerts: Iterable[Alert],
    told: Mapping[AlertKey, Told],
    now: float,
) -> tuple[Alert, ...]:
    """The alerts that the receiver shall be told of now."""
    spec = receiver.spec
    repeat = parse_duration(spec.repeat_interval) if spec.repeat_interval else REPEAT_SECONDS
    found = []
    for alert in alerts:
        if not wants(receiver, alert):
            continue
        before = told.get(alert.key)
        if alert.state == "firing":
            is_news = before is None or before.state != "firing" or now - before.at >= repeat
        else:
            is_over = before is not None and before.state == "firing"
            is_news = alert.state == "resolved" and is_over and spec.send_resolved is not False
        if is_news:
            found.append(alert)
    return tuple(found[:ALERTS_IN_MESSAGE_MAX])


def message(receiver: AlertReceiver, alerts: Sequence[Alert], url: str) -> dict[str, Any]:
    """The body of a webhook's request. `url` is where people can look."""
    name = f"{meta(receiver).namespace}/{meta(receiver).name}"
    listed = [_alert(alert, url) for alert in alerts]
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing" if any(a.state == "firing" for a in alerts) else "resolved",
        "receiver": name,
        "groupLabels": {},
        "commonLabels": _common([one["labels"] for one in listed]),
        "commonAnnotations": _common([one["annotations"] for one in listed]),
        "externalURL": url,
        "alerts": listed,
    }


def _alert(alert: Alert, url: str) -> dict[str, Any]:
    labels = labels_of(alert)
    text = "\xff".join(f"{k}\xff{v}" for k, v in sorted(labels.items()))
    ended = alert.ended_at
    return {
        "status": "firing" if alert.state == "firing" else "resolved",
        "labels": labels,
        "annotations": annotations_of(alert),
        "startsAt": rfc3339(alert.active_at),
        "endsAt": NEVER if ended is None else rfc3339(ended),
        "generatorURL": url,
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def _common(dicts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not dicts:
        return {}
    first, *others = dicts
    return {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}
