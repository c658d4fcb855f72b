"""What single VirtualServices came to in the last build, for as long as nothing around changed."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.mesh.model import Destination

T = TypeVar("T")


class Remembered(Struct, frozen=True):
    """The result for one object at one place, and what was said on the way."""

    obj: Any
    """Held, so that its identity cannot pass to another object."""
    result: Any
    findings: tuple[Diagnostic, ...]
    missing: Mapping[str, Destination]


class RouteMemo:
    """Thousands of routes mostly stay as they are while one changes. Results are found by the
    identity of the object, because snapshots hand out unchanged objects again."""

    def __init__(self) -> None:
        self._surroundings: tuple[Any, ...] = ()
        self._last: dict[Hashable, Remembered] = {}
        self._next: dict[Hashable, Remembered] = {}
        self._rows_last: dict[Hashable, tuple[Sequence[Any], list[Any]]] = {}
        self._rows_next: dict[Hashable, tuple[Sequence[Any], list[Any]]] = {}
        self._values_last: dict[Hashable, Any] = {}
        self._values_next: dict[Hashable, Any] = {}

    def begin(self, *surroundings: Any) -> None:
        """Starts a build. `surroundings` is all that results depend on besides the object and the
        place: when it differs from that of the last build, nothing is remembered."""
        same = surroundings == self._surroundings
        self._last = self._next if same else {}
        self._rows_last = self._rows_next if same else {}
        self._values_last = self._values_next
        self._surroundings, self._next = surroundings, {}
        self._rows_next, self._values_next = {}, {}

    def find(self, obj: Any, place: Hashable) -> Remembered | None:
        key = (id(obj), place)
        found = self._next.get(key) or self._last.get(key)
        if found is not None:
            self._next[key] = found
        return found

    def keep(self, place: Hashable, made: Remembered) -> None:
        self._next[id(made.obj), place] = made

    def each(self, key: Hashable, function: Callable[[Any], T], objects: Sequence[Any]) -> list[T]:
        """`function` of each object, in order. It depends on nothing but the object, `key` and the
        surroundings; computed for objects that the list of the last build under this key does not
        have at about the same place."""
        before, known = self._rows_last.get(key, ((), []))
        if len(before) == len(objects):
            made = [
                old if obj is was else function(obj)
                for obj, was, old in zip(objects, before, known, strict=True)
            ]
        else:
            find = {id(obj): old for obj, old in zip(before, known, strict=True)}
            made = [find[id(o)] if id(o) in find else function(o) for o in objects]
        self._rows_next[key] = (objects, made)
        return made

    def last(self, key: Hashable, default: T) -> T:
        """What was `noted` under the key in the last build, whatever its surroundings."""
        found: T = self._values_last.get(key, default)
        return found

    def note(self, key: Hashable, value: T) -> T:
        self._values_next[key] = value
        return value
