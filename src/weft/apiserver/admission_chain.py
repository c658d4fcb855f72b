"""Who is asked about a write, and in which order: weft's own hooks, those that may change the
object, and after validation those that see what is going to be stored."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from weft.api.kinds import Kind
from weft.apiserver import failures
from weft.apiserver.access import APISERVER, Admission, Review

Json = dict[str, Any]
_KEPT = ("name", "generateName", "namespace", "uid")


class AdmissionChain:
    """The lists may be added to at any time."""

    def __init__(self, built_in: Sequence[Admission] = ()) -> None:
        self.built_in = list(built_in)
        """Fill in and refuse; asked before validation."""
        self.mutating: list[Admission] = []
        """Others that may change the object."""
        self.validating: list[Admission] = []
        """Asked last, about what is going to be stored; change nothing."""

    async def admit(
        self, asked: Review, settle: Callable[[Json], Json]
    ) -> tuple[Any, tuple[str, ...]]:
        """The object to go on with, and warnings. `settle` gives a changed object its shape and
        defaults. What others changed is put to weft's own hooks again, so that nobody gets past
        them. Raises ApiError."""
        first, warnings = await self._own(asked)
        changed, said = await self.mutate(replace(asked, new=first), settle)
        if changed is not first:
            changed, again = await self._own(replace(asked, new=changed))
            said += tuple(text for text in again if text not in warnings)
        return changed, (*warnings, *said)

    async def _own(self, asked: Review) -> tuple[Any, tuple[str, ...]]:
        warnings: tuple[str, ...] = ()
        for hook in self.built_in:
            verdict = await hook.review(asked)
            if verdict.errors:
                raise failures.invalid(asked.kind, asked.name, verdict.errors)
            if verdict.obj is not None:
                asked = replace(asked, new=verdict.obj)
            warnings += verdict.warnings
        return asked.new, warnings

    async def mutate(
        self, asked: Review, settle: Callable[[Json], Json]
    ) -> tuple[Any, tuple[str, ...]]:
        """Only those that are not weft's own; of subresources too. Raises ApiError."""
        warnings: tuple[str, ...] = ()
        if asked.user is APISERVER:
            return asked.new, warnings
        for hook in self.mutating:
            verdict = await hook.review(asked)
            warnings += verdict.warnings
            if verdict.obj is not None and asked.new is not None:
                _check_identity(asked.kind, asked.new, verdict.obj)
                asked = replace(asked, new=settle(verdict.obj))
        return asked.new, warnings

    async def validate(self, asked: Review) -> tuple[str, ...]:
        """Warnings. Raises ApiError."""
        warnings: tuple[str, ...] = ()
        if asked.user is APISERVER:
            return warnings
        for hook in self.validating:
            warnings += (await hook.review(asked)).warnings
        return warnings


def _check_identity(kind: Kind, before: Json, after: Json) -> None:
    was, now = before.get("metadata") or {}, after.get("metadata") or {}
    for key in _KEPT:
        if was.get(key) != now.get(key):
            raise failures.internal(
                f"admission webhook changed metadata.{key} of {failures.qualified(kind)} "
                f'"{was.get("name") or ""}", which it may not'
            )
