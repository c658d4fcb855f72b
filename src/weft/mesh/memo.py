"""Reuse of earlier results: a part of the mesh whose inputs are the same values is not rebuilt."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from weft.mesh.route_memo import RouteMemo

T = TypeVar("T")

FEW = 4
"""Of so many rows one may be new for all others to be taken to stand where they stood."""
_Row = tuple[Any, ...]


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
        self.routes = RouteMemo()
        """Of the objects within one result: it changes no result, only how soon it is there."""

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

    def mapped(
        self, key: Hashable, function: Callable[..., T], rows: Iterable[_Row], *args: Any
    ) -> tuple[T, ...]:
        """`function(*row, *args)` for each row, as a tuple: the same one when all is as before.

        What changes little and is long goes through here: rows are told apart by the identity of
        their first value, which must not stand in two of them, and only new ones are computed.
        """
        full_key = (function, key)
        wanted = tuple(rows)
        known = self._last.get(full_key)
        if known is None or known[0][1:] != args:
            results = tuple(function(*row, *args) for row in wanted)
            self._next[full_key] = ((wanted, *args), results)
            return results
        if known[0][0] == wanted:
            self._next[full_key] = known
            all_kept: tuple[T, ...] = known[1]
            return all_kept
        results = _changed(function, wanted, args, *known)
        self._next[full_key] = ((wanted, *args), results)
        return results

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


def _changed(
    function: Callable[..., T],
    wanted: tuple[_Row, ...],
    args: tuple[Any, ...],
    known_args: tuple[Any, ...],
    known: tuple[T, ...],
) -> tuple[T, ...]:
    """Results for new rows, and the known ones of all others."""
    before: tuple[_Row, ...] = known_args[0]
    if len(wanted) == len(before):
        places = [n for n, (row, old) in enumerate(zip(wanted, before, strict=True)) if row != old]
        if len(places) <= len(wanted) // FEW:
            return _replaced(function, wanted, args, known, places)
    # The rows of the last build are still held, so no identity can have passed to another value.
    find = {id(row[0]): place for place, row in enumerate(before)}.get
    results: list[T] = []
    for number, row in enumerate(wanted):
        place = find(id(row[0]))
        if place is not None and before[place] == row:
            results.append(known[place])
            continue
        result = function(*row, *args)
        # A changed object mostly stands where it stood; if its result is the same, it is kept.
        place = number if place is None and number < len(known) else place
        if place is not None and known[place] == result:
            result = known[place]
        results.append(result)
    made = tuple(results)
    return known if made == known else made


def _replaced(
    function: Callable[..., T],
    wanted: tuple[_Row, ...],
    args: tuple[Any, ...],
    known: tuple[T, ...],
    places: list[int],
) -> tuple[T, ...]:
    """The known results, but for rows at a few places."""
    results = list(known)
    for place in places:
        results[place] = function(*wanted[place], *args)
        if results[place] == known[place]:
            results[place] = known[place]
    made = tuple(results)
    return known if made == known else made
