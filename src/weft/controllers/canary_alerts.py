"""What a Canary's alerts and event webhooks look like. Pure; whoever runs this sends them."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from weft.api.flagger.canary import DEADLINE_SECONDS_DEFAULT, Canary, CanaryAlert
from weft.api.flagger.templates import AlertProvider
from weft.api.snapshot import Snapshot
from weft.controllers.canary_checks import checksum, secret
from weft.controllers.canary_view import Notice
from weft.runtime.plan import RecordEvent

SLACK_API = "https://slack.com/api/chat.postMessage"
USERNAME_DEFAULT, CHANNEL_DEFAULT = "flagger", "general"


class Message(Struct, frozen=True):
    """Something to send."""

    to: str
    """Who gets it, for the log: addresses of hooks are secrets."""
    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = {}
    problem: str = ""
    """Why it cannot be sent."""


def alerts(snapshot: Snapshot, canary: Canary, notice: Notice) -> Iterator[Message]:
    """A notice, for everybody who wants to know."""
    for alert in canary.analysis.alerts:
        if not _wanted(alert, notice):
            continue
        space = alert.provider_ref.namespace or canary.metadata.namespace
        name = f"{alert.provider_ref.name}.{space}"
        found = snapshot.get(AlertProvider, alert.provider_ref.name, space)
        if found is None:
            yield Message(name, "", {}, problem="the AlertProvider does not exist")
            continue
        yield _message(snapshot, found, canary, notice)


def _wanted(alert: CanaryAlert, notice: Notice) -> bool:
    severity = alert.severity or "info"
    return severity in ("info", notice.severity) or (severity, notice.severity) == ("error", "warn")


def _message(snapshot: Snapshot, found: AlertProvider, canary: Canary, notice: Notice) -> Message:
    spec = found.spec
    name = f"{found.metadata.name}.{found.metadata.namespace}"
    url, headers = spec.address, {}
    if spec.secret_ref is not None:
        values = secret(snapshot, spec.secret_ref.name, found.metadata.namespace)
        if values is None:
            return Message(name, "", {}, problem=f"no Secret {spec.secret_ref.name}")
        token = values.get("token") or values.get("apiToken")
        url = values.get("address") or (SLACK_API if token and spec.type == "slack" else "")
        if token and url == SLACK_API:
            headers = {"Authorization": f"Bearer {token}"}
        if not url:
            problem = f"the Secret {spec.secret_ref.name} has no `address`"
            return Message(name, "", {}, problem=problem)
    author = f"{canary.metadata.name}.{canary.metadata.namespace}"
    fields = _details(canary) if notice.details else []
    if spec.type == "gchat":
        lines = [f"*{author}*", notice.text, *(f"{k}: {v}" for k, v in fields)]
        return Message(name, url, {"text": "\n".join(lines)})
    if spec.type == "discord" and not url.endswith("/slack"):
        url += "/slack"  # Discord takes Slack's messages there
    attachment = {
        "color": "danger" if notice.severity == "error" else "good",
        "author_name": author,
        "text": notice.text,
        "mrkdwn_in": ["text"],
        "fields": [{"title": k, "value": v, "short": False} for k, v in fields],
    }
    body = {
        "channel": spec.channel or CHANNEL_DEFAULT,
        "username": spec.username or USERNAME_DEFAULT,
        "icon_emoji": ":rocket:",
        "attachments": [attachment],
    }
    return Message(name, url, body, headers)


def _details(canary: Canary) -> list[tuple[str, str]]:
    spec, analysis = canary.spec, canary.analysis
    deadline = spec.progress_deadline_seconds
    deadline = DEADLINE_SECONDS_DEFAULT if deadline is None else deadline
    target = f"{spec.target_ref.kind}/{spec.target_ref.name}.{canary.metadata.namespace}"
    found = [
        ("Target", target), ("Failed checks threshold", str(max(1, analysis.threshold))),
        ("Progress deadline", f"{deadline}s"),
    ]  # fmt: skip
    how = ""
    if analysis.step_weight:
        how = f"Weight step: {analysis.step_weight} max: {analysis.max_weight or 0}"
    elif analysis.step_weights:
        steps = ",".join(map(str, analysis.step_weights))
        how = f"Weight steps: {steps} max: {analysis.max_weight or 0}"
    elif analysis.match:
        how = "A/B Testing"
    elif analysis.iterations:
        how = "Blue/Green"
    return [*found, ("Traffic routing", how)] if how else found


def events(canary: Canary, event: RecordEvent, now: float) -> Iterator[Message]:
    """An Event, for the webhooks of type event."""
    for hook in canary.analysis.webhooks:
        if hook.type != "event":
            continue
        notes = {
            "eventMessage": event.message, "eventType": event.type,
            "timestamp": str(int(now * 1000)),
        }  # fmt: skip
        body = {
            "name": canary.metadata.name, "namespace": canary.metadata.namespace,
            "phase": canary.status.phase, "checksum": checksum(canary.status),
            "metadata": notes | dict(hook.metadata),
        }  # fmt: skip
        yield Message(hook.name, hook.url, body)
