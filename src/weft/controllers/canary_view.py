"""A Canary with all that belongs to it, as one look sees it; and what the look makes of it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.analysis import Metric
from weft.api.flagger.canary import (
    INTERVAL_SECONDS_DEFAULT,
    Canary,
    CanaryAnalysis,
    CanaryCondition,
    CanaryStatus,
    CanaryWebhook,
)
from weft.api.k8s.apps_v1 import Deployment
from weft.api.snapshot import Snapshot, controller_of
from weft.controllers.analysis_runs import Answer
from weft.controllers.deployment_revisions import template_hash
from weft.lib.durations import parse_duration
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Action, RecordEvent

SELECTOR_LABELS = ("app", "name", "app.kubernetes.io/name")
FULL = 100
Severity = Literal["info", "warn", "error"]
ANALYSED = frozenset(("Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising"))
"""Phases in which a new version is under way."""
KUBERNETES = "kubernetes"
_NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"
_TOLD: Mapping[str, tuple[str, str]] = {
    "Initializing": ("Unknown", "New Deployment detected, starting initialization."),
    "Initialized": ("True", "Deployment initialization completed."),
    "Waiting": ("Unknown", "Waiting for approval."),
    "WaitingPromotion": ("Unknown", "Waiting for approval."),
    "Progressing": ("Unknown", "New revision detected, progressing canary analysis."),
    "Promoting": (
        "Unknown", "Canary analysis completed, starting primary rolling update.",
    ),
    "Finalising": ("Unknown", "Canary analysis completed, routing all traffic to primary."),
    "Succeeded": ("True", "Canary analysis completed successfully, promotion finished."),
    "Failed": ("False", "Canary analysis failed, Deployment scaled to zero."),
    "Terminating": ("Unknown", "The Canary is deleted; the Deployment gets its pods back."),
}  # fmt: skip
"""Phase -> status and message of the condition Promoted."""


class Question(Struct, frozen=True):
    """What only the network knows: a webhook's answer, or a measurement."""

    key: str
    """The same question has the same key."""
    webhook: CanaryWebhook | None = None
    body: Mapping[str, Any] = {}
    metric: Metric | None = None
    namespace: str = ""


class Unasked(Exception):
    """A question without an answer: whoever runs this asks it and looks again."""

    def __init__(self, question: Question) -> None:
        self.question = question


class Halt(Exception):
    """It cannot go on now; the text is the Event that says why."""


class Early(Exception):
    """It goes on by itself in a moment: no Event."""


class Notice(Struct, frozen=True):
    """An alert."""

    text: str
    severity: Severity
    details: bool = False
    """Say how the version is tried, too."""


class View(Struct, frozen=True):
    """What is there."""

    snapshot: Snapshot
    canary: Canary
    target: Deployment
    label: str
    """Of the target's selector: the label that tells the pods apart."""
    now: float
    due: bool
    """The interval is over."""
    answers: Mapping[str, Answer]
    in_force: Callable[[Struct], bool]
    """Whether the proxies of all nodes have acknowledged an object as it is here."""

    @property
    def value(self) -> str:
        """The label's value for the target's pods."""
        selector = self.target.spec.selector
        return selector.match_labels[self.label] if selector is not None else ""

    @property
    def primary(self) -> Deployment | None:
        return self.snapshot.get(Deployment, primary_name(self.target.metadata.name), self.space)

    @property
    def space(self) -> str:
        return self.canary.metadata.namespace

    @property
    def hash(self) -> str:
        return template_hash(self.target.spec.template, 0)

    @property
    def analysis(self) -> CanaryAnalysis:
        return self.canary.analysis

    @property
    def where(self) -> str:
        """As Events name the Canary."""
        return f"{self.canary.metadata.name}.{self.space}"

    @property
    def of(self) -> str:
        """As Events name the target."""
        return f"{self.target.metadata.name}.{self.space}"


class Draft:
    """What a look changes; local to it."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.status: CanaryStatus = view.canary.status
        self.actions: list[Action] = []
        self.notices: list[Notice] = []
        self.later: list[Question] = []
        self.ticked = False
        """The next step is an interval away."""
        self.wait: float | None = None

    def set(self, **fields: Any) -> None:
        self.status = replace(self.status, **fields)

    def event(self, text: str, *, warning: bool = False) -> None:
        kind: Literal["Normal", "Warning"] = "Warning" if warning else "Normal"
        self.actions.append(RecordEvent(self.view.canary, kind, "Synced", text))

    def alert(self, text: str, severity: Severity, *, details: bool = False) -> None:
        self.notices.append(Notice(text, severity, details))

    def ask(self, question: Question) -> Answer:
        """The answer. Raises Unasked."""
        found = self.view.answers.get(question.key)
        if found is None:
            raise Unasked(question)
        return found

    def enter(self, phase: str, **fields: Any) -> None:
        """A phase, with its condition."""
        self.status = in_phase(replace(self.status, **fields), phase, self.view.now)

    def dated(self) -> CanaryStatus:
        """The status as it is written."""
        if self.status == self.view.canary.status:
            return self.status
        return replace(self.status, last_transition_time=rfc3339(self.view.now))


def in_phase(status: CanaryStatus, phase: str, now: float) -> CanaryStatus:
    value, text = _TOLD[phase]
    before = status.conditions[0] if status.conditions else CanaryCondition()
    if (before.status, before.reason) == (value, phase):
        return replace(status, phase=phase)
    stamp = rfc3339(now)
    since = before.last_transition_time if before.status == value else stamp
    made = CanaryCondition("Promoted", value, stamp, since, phase, text)
    return replace(status, phase=phase, conditions=(made,))


def interval_of(canary: Canary) -> float:
    """Seconds between two steps."""
    return seconds_of(canary.analysis.interval, INTERVAL_SECONDS_DEFAULT)


def seconds_of(text: str, default: float) -> float:
    try:
        return parse_duration(text) if text else default
    except ValueError:
        return default


def primary_name(name: str) -> str:
    return f"{name}-primary"


def canary_name(name: str) -> str:
    return f"{name}-canary"


def copied(notes: Mapping[str, str]) -> dict[str, str]:
    """Annotations that a copy gets, too."""
    return {k: v for k, v in notes.items() if k != _NOT_COPIED}


def owned(canary: Canary, obj: Struct) -> bool:
    owner = controller_of(obj)
    return owner is not None and owner.uid == canary.metadata.uid
