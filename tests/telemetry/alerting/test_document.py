"""Alerts as programs and Prometheus get them."""

from weft.telemetry.alerting.alerts import Alert, AlertKey, Finding
from weft.telemetry.alerting.document import alert_lines, document


def alert(name: str, state: str, severity: str, namespace: str = "shop") -> Alert:
    finding = Finding(AlertKey(name, namespace, "Service", 'a"b'), severity, "text", "numbers")  # type: ignore[arg-type]
    ended = 5.0 if state == "resolved" else None
    return Alert(finding, state, 1.0, 2.0, fired_at=3.0, ended_at=ended)  # type: ignore[arg-type]


ALERTS = [
    alert("Over", "resolved", "critical"),
    alert("Soon", "pending", "critical"),
    alert("Small", "firing", "warning"),
    alert("Big", "firing", "critical", "other"),
]


def test_the_most_urgent_comes_first() -> None:
    found = document(ALERTS, [], 10.0)
    assert [a.name for a in found.alerts] == ["Big", "Small", "Soon", "Over"]
    assert [a.name for a in document(ALERTS, [], 10.0, "other").alerts] == ["Big"]


def test_prometheus_sees_what_is_not_over() -> None:
    lines = alert_lines(ALERTS).splitlines()
    assert lines[0] == "# TYPE ALERTS gauge"
    assert len(lines) == 4
    assert lines[1] == (
        'ALERTS{alertname="Soon",alertstate="pending",namespace="shop",service="a\\"b",'
        'severity="critical"} 1'
    )
