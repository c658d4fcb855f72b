"""Who is told of what, and what the messages look like."""

import base64
from typing import Any

import pytest

from tests.controllers.simulate import make
from weft.api.flagger.canary import Canary
from weft.api.flagger.templates import AlertProvider
from weft.api.k8s.core_v1 import Secret
from weft.api.snapshot import ObjectSnapshot
from weft.controllers.canary_alerts import alerts, events
from weft.controllers.canary_checks import rendered
from weft.controllers.canary_view import Notice, Severity
from weft.runtime.plan import RecordEvent

URL = "https://hooks.example.com/secret"


def canary(severity: str = "", **more: Any) -> Canary:
    alert = {"name": "a", "severity": severity, "providerRef": {"name": "chat"}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    analysis = {"alerts": [alert], "stepWeight": 10, "maxWeight": 50, **more}
    return make(Canary, {"spec": {"targetRef": target, "analysis": analysis}}, name="web")


def told(canary_: Canary, notice: Notice, **provider: Any) -> list[Any]:
    spec = {"type": "slack", "address": URL} | provider
    data = {"address": base64.b64encode(URL.encode()).decode()}
    objects = (
        make(AlertProvider, {"spec": spec}, name="chat"),
        make(Secret, {"data": data}, name="hook"),
    )
    return list(alerts(ObjectSnapshot(objects), canary_, notice))


@pytest.mark.parametrize(
    ("wants", "severity", "sent"),
    [
        ("", "info", 1), ("info", "error", 1), ("warn", "info", 0), ("warn", "warn", 1),
        ("error", "warn", 1), ("error", "error", 1), ("error", "info", 0), ("warn", "error", 0),
    ],
)  # fmt: skip
def test_severities(wants: str, severity: Severity, sent: int) -> None:
    assert len(told(canary(wants), Notice("text", severity))) == sent


def test_slack_gets_what_it_knows() -> None:
    (message,) = told(canary(), Notice("Failed", "error", details=True), channel="ops")
    assert (message.url, message.body["channel"], message.body["username"]) == (
        URL, "ops", "flagger",
    )  # fmt: skip
    (attachment,) = message.body["attachments"]
    assert (attachment["color"], attachment["author_name"], attachment["text"]) == (
        "danger", "web.default", "Failed",
    )  # fmt: skip
    fields = {f["title"]: f["value"] for f in attachment["fields"]}
    assert fields["Target"] == "Deployment/web.default"
    assert fields["Traffic routing"] == "Weight step: 10 max: 50"
    assert URL not in message.to


def test_addresses_may_be_in_secrets_and_others_are_spoken_to() -> None:
    notice = Notice("text", "info")
    (message,) = told(canary(), notice, address="", secretRef={"name": "hook"}, type="discord")
    assert message.url == f"{URL}/slack"
    (message,) = told(canary(), notice, address="", secretRef={"name": "none"})
    assert message.problem == "no Secret none"
    (message,) = told(canary(), notice, type="gchat")
    assert message.body == {"text": "*web.default*\ntext"}
    (message,) = alerts(ObjectSnapshot(()), canary(), notice)
    assert message.problem == "the AlertProvider does not exist"


def test_webhooks_of_type_event_hear_of_events() -> None:
    hook = {"name": "bus", "type": "event", "url": "http://bus/", "metadata": {"env": "prod"}}
    found = canary(webhooks=[hook, hook | {"type": "rollout"}])
    (message,) = events(found, RecordEvent(found, "Warning", "Synced", "Halt"), 12.0)
    assert message.body["metadata"] == {
        "eventMessage": "Halt", "eventType": "Warning", "timestamp": "12000", "env": "prod",
    }  # fmt: skip


def test_queries_are_filled_in() -> None:
    query = 'x{ns="{{ namespace }}",v="{{variables.a}}{{ variables.b }}"}'
    assert rendered(query, {"namespace": "shop"}, {"a": "1"}) == 'x{ns="shop",v="1"}'
