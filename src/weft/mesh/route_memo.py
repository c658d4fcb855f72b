"""What single VirtualServices came to in the last build, for as long as nothing around changed."""

from collections.abc import Hashable, Mapping
from typing import Any

from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.mesh.model import Destination


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

    def begin(self, *surroundings: Any) -> None:
        """Starts a build. `surroundings` is all that results depend on besides the object and the
        place: when it differs from that of the last build, nothing is remembered."""
        self._last = self._next if surroundings == self._surroundings else {}
        self._surroundings, self._next = surroundings, {}

    def find(self, obj: Any, place: Hashable) -> Remembered | None:
        key = (id(obj), place)
        found = self._next.get(key) or self._last.get(key)
        if found is not None:
            self._next[key] = found
        return found

    def keep(self, place: Hashable, made: Remembered) -> None:
        self._next[id(made.obj), place] = made
