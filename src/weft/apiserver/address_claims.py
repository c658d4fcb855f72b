"""The addresses of Services: claimed and released in the transaction that writes the Service.

Pure but for reading the store.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.kinds import Kind
from weft.apiserver import addresses, failures, keys
from weft.apiserver.addresses import Ranges
from weft.store.interface import Conflict, Delete, Expect, Put, Store


class Claims(Struct, frozen=True):
    """Address keys that go with a Service's transaction."""

    ops: tuple[Put | Delete, ...] = ()
    expect: tuple[Expect, ...] = ()
    wished: frozenset[str] = frozenset()
    """Those that the user asked for by value."""

    def refuse_taken(self, kind: Kind, obj: Mapping[str, Any], error: Conflict) -> None:
        """After a conflict. Raises ApiError 422 when somebody else has what was asked for."""
        if error.key in self.wished:
            _refuse(kind, obj["metadata"]["name"], [addresses.taken(obj, error.key)])


class AddressClaims:
    """`random` gives a number below its argument."""

    def __init__(self, store: Store, ranges: Ranges, random: Callable[[int], int]) -> None:
        self._store = store
        self.ranges = ranges
        self._random = random

    async def of(self, kind: Kind, old: dict[str, Any] | None, new: dict[str, Any]) -> Claims:
        """Settle a Service's addresses and say which keys claim and release them."""
        if kind.plural != "services":
            return Claims()
        addresses.settle(new)
        name = new["metadata"]["name"]
        _refuse(kind, name, addresses.problems(new, self.ranges))
        had = addresses.held(old) if old else frozenset()
        wished = addresses.held(new) - had
        if addresses.lacking(new):
            used = frozenset(e.key for e in (await self._store.range(keys.RANGES)).entries)
            if not addresses.assign(new, self.ranges, used, self._random):
                raise failures.internal("failed to allocate an address: range is full")
        wanted = addresses.held(new)
        owner = f"{new['metadata']['namespace']}/{name}".encode()
        taken = sorted(wanted - had)
        claimed = [Put(key, owner) for key in taken]
        released = [Delete(key) for key in sorted(had - wanted)]
        return Claims((*claimed, *released), tuple(Expect(key, 0) for key in taken), wished)


def removal(kind: Kind, key: str, old: Mapping[str, Any]) -> tuple[Put | Delete, ...]:
    """What removes an object and releases what it held."""
    held = addresses.held(old) if kind.plural == "services" else frozenset()
    return (Delete(key), *(Delete(k) for k in sorted(held)))


def _refuse(kind: Kind, name: str, problems: Sequence[addresses.Problem]) -> None:
    if problems:
        causes = [
            {"reason": "FieldValueInvalid", "message": p.message, "field": p.field}
            for p in problems
        ]
        raise failures.invalid(kind, name, causes)
