"""Plans: what a controller decided, so exact that carrying it out needs no further choice."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct


class RecordEvent(Struct, frozen=True):
    """Record a Kubernetes Event about `regarding` (a typed value); repeats are counted."""

    regarding: Struct
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class Create(Struct, frozen=True):
    """Create the object (a typed value). `AlreadyExists` is not an error: the next plan sees it."""

    object: Struct
    owner: Struct | None = None
    """Whose Events tell users of it: `SuccessfulCreate`, or `FailedCreate` with the reason."""
    success: str = "Created {kind}: {name}"
    failure: str = "Error creating: {error}"

    def told(self, name: str, error: str = "") -> RecordEvent | None:
        """The Event about the object being made under this name, or not, because of `error`."""
        if self.owner is None:
            return None
        kind = type(self.object).__name__.lower()
        if error:
            text = self.failure.format(name=name, error=error)
            return RecordEvent(self.owner, "Warning", "FailedCreate", text)
        text = self.success.format(kind=kind, name=name)
        return RecordEvent(self.owner, "Normal", "SuccessfulCreate", text)


class Patch(Struct, frozen=True):
    """Merge-patch an object. `resource_version` in `body.metadata` makes it conditional."""

    cls: type[Struct]
    namespace: str
    name: str
    body: Mapping[str, Any]
    subresource: str = ""


class Delete(Struct, frozen=True):
    """Delete an object if it still has this uid; `NotFound` is not an error."""

    cls: type[Struct]
    namespace: str
    name: str
    uid: str
    grace_period_seconds: int | None = None
    propagation: Literal["Background", "Foreground", "Orphan"] | None = None


class Bind(Struct, frozen=True):
    """Bind a pod to a node."""

    namespace: str
    name: str
    node: str


Action = Create | Patch | Delete | Bind | RecordEvent


class Plan(Struct, frozen=True):
    """Actions in order. The first that fails ends the plan; the key is planned again later."""

    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None
    """Seconds after which to plan again even if nothing changed."""
    independent: bool = False
    """No action builds on another: those after a failed one are carried out all the same."""


NOTHING = Plan()


class Key(Struct, frozen=True, order=True):
    """What is planned: an object of the controller's primary kind."""

    namespace: str
    name: str
