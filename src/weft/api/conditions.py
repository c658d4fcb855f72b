"""Conditions of objects, of any kind that has `type` and `status` in each."""

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Condition(Protocol):
    """What the conditions of all kinds have."""

    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...


C = TypeVar("C", bound=Condition)


def condition(conditions: Iterable[C], kind: str) -> C | None:
    """The condition of that type."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether there is a condition of that type and its status is True."""
    return any(c.type == kind and c.status == "True" for c in conditions)
