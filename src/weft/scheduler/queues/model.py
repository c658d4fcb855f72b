"""What queues decide about."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Policy = Literal["FirstComeFirstServed", "ShortestJobFirst", "Priority", "FairShare"]
Passing = Literal["Nobody", "Harmless", "Anybody"]
"""Who may pass the head that finds no room: what delays it by nothing, or all who find room."""
Amounts = Mapping[str, int]
"""Millicores of cpu, base units of the rest, and the number of pods; of flavors by `charge`."""


def charge(resource: str, flavor: str) -> str:
    """The name of a resource of a flavor, in quotas and what is used of them."""
    return f"{resource}@{flavor}" if flavor else resource


class Preemption(Struct, frozen=True):
    """What the head may end."""

    within: Literal["Never", "LowerPriority", "LowerOrNewerEqualPriority"] = "Never"
    """In its own queue."""
    reclaim: Literal["Never", "LowerPriority", "Any"] = "Never"
    """Of other queues of the cohort, what they borrow, for what is its queue's own."""
    borrowing: bool = False
    """The same when its queue borrows itself, of lower priority only."""
    borrowing_priority_max: int | None = None
    """And of this priority at most."""


NO_PREEMPTION = Preemption()
TAKES_BACK = Preemption("LowerPriority", "Any")


class Group(Struct, frozen=True):
    """Resources that are taken of one flavor together."""

    resources: tuple[str, ...]
    flavors: tuple[str, ...]
    """In order of preference."""


class Fungibility(Struct, frozen=True):
    """When the next flavor is tried before this one is taken."""

    before_borrowing: bool = False
    before_preempting: bool = True
    borrowing_is_better: bool = True
    """Than preemption, if every flavor asks for one of the two."""


class Cohort(Struct, frozen=True):
    """Queues, and cohorts, that lend to one another."""

    name: str
    parent: str = ""
    quota: Amounts = {}
    """What it has beside its members' own."""
    borrowing: Amounts = {}
    lending: Amounts = {}


class Queue(Struct, frozen=True):
    """One queue as it is configured."""

    name: str
    policy: Policy = "FirstComeFirstServed"
    quota: Amounts = {}
    """Of its own; what is not named is limited by the nodes alone."""
    cohort: str = ""
    """Queues of one cohort lend each other what they do not use."""
    borrowing: Amounts = {}
    """The most that it borrows of the cohort; what is not named has no such limit."""
    lending: Amounts = {}
    """The most that it lends; what is not named is lent whole."""
    weight: float = 1.0
    """Its share, in comparison to other queues."""
    passing: Passing = "Harmless"
    preemption: Preemption = NO_PREEMPTION
    suspended: bool = False
    """Nothing is admitted."""
    groups: tuple[Group, ...] = ()
    """Where resources are of flavors."""
    only_groups: bool = False
    """What no group names it has not, also where it has no groups."""
    fungibility: Fungibility = Fungibility()
    kind: str = "queue"
    """What people call it."""

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"


LAST = "~"
"""Sorts after every time."""


class Workload(Struct, frozen=True):
    """A Job, a group of pods, or a pod: it starts whole or not at all, unless less is enough."""

    key: str
    """`job/default/train`, `group/default/g`, `pod/default/p`."""
    queue: str
    needs: Amounts
    created: str = ""
    priority: int = 0
    seconds: float | None = None
    """How long it is expected to run."""
    started: float | None = None
    """When it was admitted; None: it waits."""
    leaving: bool = False
    """It was told to end, and has not ended yet."""
    problem: str = ""
    """Why it cannot be admitted whatever is free."""
    flavors: Mapping[str, str] = {}
    """Of its resources, once they are chosen."""
    barred: Mapping[str, str] = {}
    """Flavor -> why it is none for this one."""
    count: int = 1
    """How many pods `needs` is for."""
    count_min: int | None = None
    """How few pods are enough; None: all of them are needed."""
    queued: str = LAST
    """When it was first seen waiting: creation times are whole seconds."""

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts who came first."""
        return self.created, self.queued, self.key

    @property
    def namespace(self) -> str:
        return self.key.split("/")[1]

    @property
    def name(self) -> str:
        """`default/train`."""
        return self.key.partition("/")[2]

    @property
    def charges(self) -> Amounts:
        """What it needs, of the flavors that were chosen."""
        if not self.flavors:
            return self.needs
        return {charge(name, self.flavors.get(name, "")): n for name, n in self.needs.items()}


class Reservation(Struct, frozen=True):
    """The head of a queue waits for room."""

    workload: str
    at: float | None
    """When it starts if everything ends as expected; None when that is not known."""
    lacking: Amounts
    spare: Amounts
    """What is left of that once it has started."""


Why = Literal["InClusterQueue", "InCohortReclamation", "InCohortReclaimWhileBorrowing"]
"""Of a preemption, in Kueue's words."""


class Eviction(Struct, frozen=True):
    """What has to end, and for whom."""

    key: str
    by: str
    why: Why


class Decision(Struct, frozen=True):
    admitted: tuple[str, ...] = ()
    """Keys, in order."""
    evicted: tuple[Eviction, ...] = ()
    waits: Mapping[str, str] = {}
    """Key -> why, and what would let it run."""
    reserved: Mapping[str, Reservation] = {}
    """By queue."""
    order: Mapping[str, tuple[str, ...]] = {}
    """Queue -> who waits, the head first."""
    chosen: Mapping[str, Workload] = {}
    """What was admitted, with its flavors, and the number of pods that may run."""
