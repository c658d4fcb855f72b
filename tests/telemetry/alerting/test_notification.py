"""What receivers are told, and when."""

from typing import Any

import msgspec

from weft.api.weft.monitoring_v1alpha1 import AlertReceiver
from weft.telemetry.alerting.alerts import Alert, AlertKey, Finding
from weft.telemetry.alerting.notification import Told, due, message

KEY = AlertKey("HighErrorRate", "shop", "Service", "api")


def alert(state: Any = "firing", severity: Any = "critical", namespace: str = "shop") -> Alert:
    finding = Finding(KEY._replace(namespace=namespace), severity, "50% fail", "5 of 10", 50.0)
    ended = 500.0 if state == "resolved" else None
    return Alert(finding, state, 100.0, 100.0, fired_at=110.0, ended_at=ended)


def receiver(namespace: str = "shop", **spec: Any) -> AlertReceiver:
    body = {"metadata": {"name": "hook", "namespace": namespace}, "spec": spec}
    return msgspec.convert(body, AlertReceiver)


def test_a_receiver_hears_of_its_namespace_an_administrators_of_all() -> None:
    other = alert(namespace="other")
    assert due(receiver(), [alert(), other], {}, 200.0) == (alert(),)
    assert due(receiver("kube-system"), [alert(), other], {}, 200.0) == (alert(), other)
    assert due(receiver(severities=["info"]), [alert()], {}, 200.0) == ()


def test_an_alert_is_told_once_again_after_the_interval_and_when_it_is_over() -> None:
    told = {KEY: Told("firing", 200.0)}
    assert due(receiver(repeatInterval="1h"), [alert()], told, 3799.0) == ()
    assert due(receiver(repeatInterval="1h"), [alert()], told, 3800.0) == (alert(),)
    assert due(receiver(), [alert("resolved")], told, 600.0) == (alert("resolved"),)
    assert due(receiver(), [alert("resolved")], {}, 600.0) == (), "it never heard of it"
    assert due(receiver(sendResolved=False), [alert("resolved")], told, 600.0) == ()
    assert due(receiver(), [alert("pending")], {}, 600.0) == ()


def test_the_message_has_alertmanagers_form() -> None:
    body = message(receiver(), [alert(), alert("resolved")], "https://here")
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "shop/hook")
    first, second = body["alerts"]
    assert first["labels"] == {
        "alertname": "HighErrorRate", "severity": "critical", "namespace": "shop", "service": "api",
    }  # fmt: skip
    assert first["annotations"] == {"summary": "50% fail", "description": "5 of 10"}
    assert (first["startsAt"], first["endsAt"]) == ("1970-01-01T00:01:40Z", "0001-01-01T00:00:00Z")
    assert (second["status"], second["endsAt"]) == ("resolved", "1970-01-01T00:08:20Z")
    assert first["fingerprint"] == second["fingerprint"]
    assert body["commonLabels"] == first["labels"]
