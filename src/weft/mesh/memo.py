"""Reuse of earlier results: a part of the mesh whose inputs are the same values is not rebuilt."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Results of pure functions of the last build, found by a key and valid for equal inputs.

    The function receives exactly the inputs that are compared, so a result can never depend on
    something that was not. Snapshots hand out unchanged values again, and comparing tuples tries
    identity first, so this is quick where nothing changed. A new result that equals the last one
    is replaced by it, so that what depends on it is reused as well. What a build does not ask for
    is forgotten at its end.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[tuple[Any, ...], Any]] = {}
        self._next: dict[Hashable, tuple[tuple[Any, ...], Any]] = {}

    def __call__(self, key: Hashable, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)`, or the result that it had for the same arguments."""
        full_key = (function, key)
        known = self._last.get(full_key)
        if known is not None and known[0] == args:
            self._next[full_key] = known
            kept: T = known[1]
            return kept
        result = function(*args)
        if known is not None and known[1] == result:
            result = known[1]
        self._next[full_key] = (args, result)
        return result

    def keep(self, key: Hashable, value: T) -> T:
        """The value of the last build under this key if it was equal, else this one."""
        known = self._last.get(key)
        if known is not None and known[1] == value:
            value = known[1]
        self._next[key] = ((), value)
        return value

    def end(self) -> None:
        """Ends a build: the results it used are what the next one may reuse."""
        self._last, self._next = self._next, {}
