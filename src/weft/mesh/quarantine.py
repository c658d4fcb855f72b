"""Objects that a proxy refused, kept out of the way of all others.

Many objects share one resource (a route table), and a proxy takes it whole or not at all. So what
one object made unacceptable would hold back the changes of all the others. Until it is changed,
such an object is replaced by the version of it that was in force, or left out when there was none.
Pure.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from weft.api.objects import key_of
from weft.api.snapshot import Observed, Snapshot, meta
from weft.mesh.object_status import Rejection

T = TypeVar("T", bound=Struct)
Key = tuple[type[Struct], str, str]
"""(class, namespace, name)"""


class Held(Struct, frozen=True):
    """An object in the version that a proxy refused."""

    refused: Struct
    instead: Struct | None
    rejection: Rejection

    def holds(self, obj: Struct) -> bool:
        """Whether this is the version that was refused."""
        mine, its = meta(self.refused), meta(obj)
        return (mine.uid, mine.generation) == (its.uid, its.generation)


def key(obj: Struct) -> Key:
    return type(obj), *key_of(obj)


class Quarantined:
    """A snapshot without what is held."""

    def __init__(self, snapshot: Snapshot, held: Mapping[Key, Held]) -> None:
        self._snapshot = snapshot
        self._held = held
        self._classes = {cls for cls, _, _ in held}

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        found = self._snapshot.get(cls, name, namespace)
        return None if found is None else self._instead(found)

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        found = self._snapshot.list(cls, namespace)
        if cls not in self._classes:
            return found
        replaced = (self._instead(obj) for obj in found)
        return tuple(obj for obj in replaced if obj is not None)

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        return self._snapshot.owned(cls, uid)

    def observed(self, cls: type[Struct], name: str, namespace: str = "") -> Observed:
        return self._snapshot.observed(cls, name, namespace)

    def _instead(self, obj: T) -> T | None:
        held = self._held.get(key(obj)) if type(obj) in self._classes else None
        if held is None or not held.holds(obj):
            return obj
        return held.instead  # type: ignore[return-value]
