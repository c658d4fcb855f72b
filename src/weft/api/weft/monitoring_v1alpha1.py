"""monitoring.weft.dev/v1alpha1: what shall be warned of, what is promised, and who is told."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from weft.api.istio.common import Count, Duration, Message, Percent, Port
from weft.api.k8s.meta_v1 import ObjectMeta

Severity = Literal["", "critical", "warning", "info"]
Positive = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0})]


class MonitoredService(Message, frozen=True):
    """A Service of the object's own namespace."""

    name: str = ""
    """Its name; every service of the namespace when absent, where that is permitted."""


# ------------------------------------------------------------------ rules


class AlertRuleSpec(Message, frozen=True):
    """A bound on one signal of a service."""

    service: MonitoredService | None = None
    """The Service; each service of the namespace by itself when absent."""
    signal: Literal[
        "", "errorPercent", "clientErrorPercent", "p50Ms", "p95Ms", "p99Ms", "requestsPerSecond",
        "bytesPerSecond", "connectionsPerSecond",
    ] = ""  # fmt: skip
    """errorPercent (answers of 5xx, none at all, gRPC failures of servers), clientErrorPercent
    (4xx), p50Ms, p95Ms, p99Ms, requestsPerSecond, bytesPerSecond, connectionsPerSecond (TCP)."""
    above: float | None = None
    """Warn when the signal is greater. One of above, below."""
    below: float | None = None
    """Warn when the signal is less."""
    over: Duration = ""
    """The time over which the signal is taken; 1m when absent, 3h at most."""
    hold: Duration = field(default="", name="for")
    """How long it must last before somebody is told; 30s when absent."""
    minimum_requests: Count | None = None
    """With fewer requests in that time nothing is said; 10 when absent (rates: 0)."""
    predict: Duration = ""
    """Warn ahead when the trend of the last minutes reaches the bound within this time; never when
    absent."""
    severity: Severity = ""
    """critical, warning (when absent) or info."""
    labels: Mapping[str, str] = {}
    """Labels of the alert besides its own."""
    summary: str = ""
    """What it means, for people."""
    runbook_url: str = ""
    """Where it stands what to do."""


class AlertState(Message, frozen=True):
    """What became of a rule."""

    state: Literal["", "inactive", "pending", "firing"] = ""
    """The worst of its services."""
    services: tuple[str, ...] = ()
    """The services for which it is pending or firing."""
    observed_generation: int | None = None
    """The generation that was read."""


class AlertRule(Message, frozen=True):
    """Warns when a signal of a service passes a bound."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AlertRule."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AlertRuleSpec = AlertRuleSpec()
    """The rule."""
    status: AlertState = AlertState()
    """What became of it."""


# ------------------------------------------------------------------ objectives


class LatencyIndicator(Message, frozen=True):
    """Requests count as good when they are answered in time, and without a server's error."""

    threshold_ms: Positive | None = None
    """In time is this many milliseconds or less. Exact at 1, 2.5, 5, 10, 25, 50, 100, 250, 500,
    1000, 2500, 5000, 10000, 30000; else between two of these in proportion."""


class ServiceLevelObjectiveSpec(Message, frozen=True):
    """What share of a service's requests shall be good."""

    service: MonitoredService | None = None
    """The Service."""
    objective: Percent | None = None
    """Percentage of requests that shall be good, such as 99.9; less than 100."""
    window: Duration = ""
    """The time over which it is promised; 720h (30 days) when absent and at most, 1h at least."""
    latency: LatencyIndicator | None = None
    """Judge by the duration, too; by errors only when absent."""
    severity: Severity = ""
    """Of fast burns; critical when absent. Slow burns are warnings."""
    labels: Mapping[str, str] = {}
    """Labels of the alerts besides their own."""


class BurnRate(Message, frozen=True):
    """How fast the error budget is used up; 1 uses it up exactly at the window's end."""

    over: str = ""
    """The time over which it is measured."""
    rate: float = 0.0
    """The rate."""


class ObjectiveState(Message, frozen=True):
    """How an objective stands."""

    requests: float | None = None
    """Requests within the window, as far back as they are known."""
    good_percent: float | None = None
    """How many of them were good."""
    budget_remaining_percent: float | None = None
    """How much of the error budget is left; less than 0 when the objective is missed."""
    burn_rates: tuple[BurnRate, ...] = ()
    """How fast it is used up."""
    state: Literal["", "met", "burning", "missed"] = ""
    """met; burning: it would be missed if this went on; missed."""
    observed_generation: int | None = None
    """The generation that was read."""


class ServiceLevelObjective(Message, frozen=True):
    """A promise about a service; weft counts, and warns when the error budget burns too fast."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ServiceLevelObjective."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: ServiceLevelObjectiveSpec = ServiceLevelObjectiveSpec()
    """The promise."""
    status: ObjectiveState = ObjectiveState()
    """How it stands."""


# ------------------------------------------------------------------ receivers


class ReceiverService(Message, frozen=True):
    """A Service of the receiver's namespace, called over HTTP at one of its ready endpoints."""

    name: str = ""
    """The Service."""
    port: Port | None = None
    """Its port; 80 when absent."""
    path: str = ""
    """The path; `/` when absent."""


class AlertReceiverSpec(Message, frozen=True):
    """Whom to tell, and of what. One of service, url."""

    service: ReceiverService | None = None
    """A Service."""
    url: str = ""
    """A URL; only in the namespace kube-system, where administrators alone may write: the request
    leaves from weft itself."""
    severities: tuple[Literal["critical", "warning", "info"], ...] = ()
    """Only alerts of these severities; all when empty."""
    send_resolved: bool | None = None
    """Tell also when it is over; true when absent."""
    repeat_interval: Duration = ""
    """How often alerts that go on are told again; 4h when absent, 1m at least."""


class ReceiverState(Message, frozen=True):
    """What became of the last message."""

    delivered: int | None = None
    """Messages that were taken."""
    failed: int | None = None
    """Messages that were given up."""
    last_error: str = ""
    """Why the last message was not taken; empty when it was."""
    observed_generation: int | None = None
    """The generation that was read."""


class AlertReceiver(Message, frozen=True):
    """A webhook that is told of alerts in the form of Alertmanager's webhooks. It gets the alerts
    of its namespace; in kube-system those of all."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AlertReceiver."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AlertReceiverSpec = AlertReceiverSpec()
    """Whom to tell."""
    status: ReceiverState = ReceiverState()
    """What became of it."""
