"""CEL's functions on lists and sets. Pure."""

from collections.abc import Callable, Mapping
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from weft.api.cel import operators
from weft.api.cel.syntax import CelError
from weft.api.cel.values import NONE, OptionalOf, equal, less, no_overload


def _list(function: str, *values: Any) -> None:
    if not all(isinstance(v, list) for v in values):
        raise no_overload(function, *values)


def _number(function: str, *values: Any) -> None:
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise no_overload(function, *values)


def index_of(value: list[Any], item: Any) -> int:
    return next((at for at, found in enumerate(value) if equal(found, item)), -1)


def last_index_of(value: list[Any], item: Any) -> int:
    return next((at for at in range(len(value) - 1, -1, -1) if equal(value[at], item)), -1)


def _is_sorted(value: Any) -> bool:
    _list("isSorted", value)
    return not any(less(after, before) for before, after in pairwise(value))


def _sum(value: Any) -> Any:
    _list("sum", value)
    total = value[0] if value else 0
    for item in value[1:]:
        total = operators.add(total, item)
    if isinstance(total, str | list | bytes):
        raise no_overload("sum", value)
    return total


def _min(value: Any) -> Any:
    return _extreme("min", value, lambda a, b: less(b, a))


def _max(value: Any) -> Any:
    return _extreme("max", value, less)


def _extreme(name: str, value: Any, worse: Callable[[Any, Any], bool]) -> Any:
    _list(name, value)
    if not value:
        raise CelError(f"{name} called on empty list")
    best = value[0]
    for item in value[1:]:
        best = item if worse(best, item) else best
    return best


def _sort(value: Any) -> list[Any]:
    _list("sort", value)

    def order(left: Any, right: Any) -> int:
        return -1 if less(left, right) else int(less(right, left))

    return sorted(value, key=cmp_to_key(order))


def _distinct(value: Any) -> list[Any]:
    _list("distinct", value)
    found: list[Any] = []
    for item in value:
        if index_of(found, item) < 0:
            found.append(item)
    return found


def _flatten(value: Any, depth: Any = 1) -> list[Any]:
    _list("flatten", value)
    _number("flatten", depth)
    found: list[Any] = []
    for item in value:
        if isinstance(item, list) and depth > 0:
            found += _flatten(item, depth - 1)
        else:
            found.append(item)
        operators.bounded(len(found))
    return found


def _slice(value: Any, start: Any, end: Any) -> list[Any]:
    _list("slice", value)
    _number("slice", start, end)
    if not 0 <= start <= end <= len(value):
        raise CelError(f"cannot slice({start}, {end}), list has length {len(value)}")
    return list(value[start:end])


def _first(value: Any) -> OptionalOf:
    _list("first", value)
    return OptionalOf(True, value[0]) if value else NONE


def _last(value: Any) -> OptionalOf:
    _list("last", value)
    return OptionalOf(True, value[-1]) if value else NONE


def _range(count: Any) -> list[int]:
    _number("lists.range", count)
    operators.bounded(count)
    return list(range(count))


def _set_contains(value: Any, others: Any) -> bool:
    _list("sets.contains", value, others)
    return all(index_of(value, item) >= 0 for item in others)


def _set_equivalent(value: Any, others: Any) -> bool:
    return _set_contains(value, others) and _set_contains(others, value)


def _set_intersects(value: Any, others: Any) -> bool:
    _list("sets.intersects", value, others)
    return any(index_of(value, item) >= 0 for item in others)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "lists.range": _range,
    "sets.contains": _set_contains,
    "sets.equivalent": _set_equivalent,
    "sets.intersects": _set_intersects,
}
METHODS: Mapping[str, Callable[..., Any]] = {
    "isSorted": _is_sorted,
    "sum": _sum,
    "min": _min,
    "max": _max,
    "sort": _sort,
    "distinct": _distinct,
    "flatten": _flatten,
    "slice": _slice,
    "first": _first,
    "last": _last,
}
