"""Every function that CEL expressions may call here. Pure.

The standard ones, the extensions for strings, lists, sets, math, optionals and encoders, and what
Kubernetes adds (lists, regex, URL, IP, CIDR, quantity, format, semver).
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from weft.api.cel import kubernetes, lists, numbers, strings, times
from weft.api.cel.syntax import CelError
from weft.api.cel.values import NONE, CelType, OptionalOf, no_overload, type_name

Function = Callable[..., Any]
ARITIES_KEPT_MAX = 512


def _size(value: Any) -> int:
    if isinstance(value, str | bytes | list | Mapping):
        return len(value)
    raise no_overload("size", value)


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, kubernetes.Cidr):
        return value.contains(part)
    return strings.contains(value, part)


def _index_of(value: Any, part: Any, start: Any = 0) -> int:
    if isinstance(value, list):
        return lists.index_of(value, part)
    return strings.index_of(value, part, start)


def _last_index_of(value: Any, part: Any, start: Any = None) -> int:
    if isinstance(value, list):
        return lists.last_index_of(value, part)
    return strings.last_index_of(value, part, start)


def _reverse(value: Any) -> Any:
    if isinstance(value, str | list):
        return value[::-1]
    raise no_overload("reverse", value)


def _matches(value: Any, pattern: Any) -> bool:
    return strings.matches(value, pattern)


def _present(value: Any) -> bool:
    if isinstance(value, OptionalOf):
        return value.present
    raise no_overload("hasValue", value)


def _value(value: Any) -> Any:
    if _present(value):
        return value.value
    raise CelError("optional.none() dereference")


def _or(value: Any, other: Any) -> OptionalOf:
    if isinstance(other, OptionalOf):
        return value if _present(value) else other
    raise no_overload("or", value, other)


def _or_value(value: Any, other: Any) -> Any:
    return value.value if _present(value) else other


def _of_non_zero(value: Any) -> OptionalOf:
    zero = value is None or (isinstance(value, str | bytes | list | Mapping | int | float)
                             and not value)  # fmt: skip
    return NONE if zero else OptionalOf(True, value)


FUNCTIONS: Mapping[str, Function] = {
    "size": _size,
    "dyn": lambda value: value,
    "type": lambda value: CelType(type_name(value)),
    "matches": _matches,
    "optional.of": lambda value: OptionalOf(True, value),
    "optional.none": lambda: NONE,
    "optional.ofNonZeroValue": _of_non_zero,
    **numbers.FUNCTIONS,
    **strings.FUNCTIONS,
    **lists.FUNCTIONS,
    **times.FUNCTIONS,
    **kubernetes.FUNCTIONS,
}
METHODS: Mapping[str, Function] = {
    **strings.METHODS,
    **lists.METHODS,
    **times.METHODS,
    **kubernetes.METHODS,
    "size": _size,
    "contains": _contains,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "reverse": _reverse,
    "matches": _matches,
    "hasValue": _present,
    "value": _value,
    "or": _or,
    "orValue": _or_value,
}


def check_count(name: str, function: Function, count: int) -> None:
    """Raises CelError when a function does not take so many arguments."""
    least, most = _arity(function)
    if not least <= count <= most:
        raise CelError(f"found no matching overload for '{name}' applied to {count} arguments")


@lru_cache(maxsize=ARITIES_KEPT_MAX)
def _arity(function: Function) -> tuple[int, int]:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 1, 1000
    return sum(p.default is p.empty for p in parameters), len(parameters)
