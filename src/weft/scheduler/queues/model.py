"""What queues decide about."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Policy = Literal["FirstComeFirstServed", "ShortestJobFirst", "Priority", "FairShare"]
Amounts = Mapping[str, int]
"""Millicores of cpu, base units of the rest, and the number of pods."""


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
    weight: float = 1.0
    """Its share, in comparison to other queues."""
    backfill: bool = True
    """What delays nobody may pass the head."""
    preemption: bool = False
    """The head may end what has a lower priority, and what others borrowed of its quota."""
    suspended: bool = False
    """Nothing is admitted."""


class Workload(Struct, frozen=True):
    """A Job, a group of pods, or a pod: it starts whole or not at all."""

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
    problem: str = ""
    """Why it cannot be admitted whatever is free."""

    @property
    def namespace(self) -> str:
        return self.key.split("/")[1]

    @property
    def name(self) -> str:
        """`default/train`."""
        return self.key.partition("/")[2]


class Reservation(Struct, frozen=True):
    """The head of a queue waits for room."""

    workload: str
    at: float | None
    """When it starts if everything ends as expected; None when that is not known."""
    lacking: Amounts
    spare: Amounts
    """What is left of that once it has started."""


class Decision(Struct, frozen=True):
    admitted: tuple[str, ...] = ()
    """Keys, in order."""
    evicted: tuple[tuple[str, str], ...] = ()
    """(key, for whom)."""
    waits: Mapping[str, str] = {}
    """Key -> why, and what would let it run."""
    reserved: Mapping[str, Reservation] = {}
    """By queue."""
    order: Mapping[str, tuple[str, ...]] = {}
    """Queue -> who waits, the head first."""
