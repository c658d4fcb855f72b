"""CEL's operators, and how fields and elements are reached. Pure."""

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

from weft.api.cel.syntax import CelError, Uint
from weft.api.cel.values import (
    NONE,
    OptionalOf,
    checked_int,
    equal,
    is_number,
    less,
    no_overload,
)

SIZE_MAX = 1 << 20
"""Characters or elements of a value that an expression may build."""


def bounded(size: int) -> bool:
    """True. Raises CelError for a value that would be too large."""
    if size > SIZE_MAX:
        raise CelError(f"operation cancelled: a value of more than {SIZE_MAX} parts")
    return True


def boolean(value: Any, where: str) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_overload(where, value)


def optional(value: Any) -> OptionalOf:
    if isinstance(value, OptionalOf):
        return value
    raise no_overload("optional", value)


# ------------------------------------------------------------------ reaching into values


def field(value: Any, name: str) -> Any:
    """A field of a map; of an optional, an optional. Raises CelError."""
    if isinstance(value, OptionalOf):
        return optional_field(value, name)
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        raise CelError(f"no such key: {name}")
    raise no_overload("select", value)


def optional_field(value: Any, name: str) -> OptionalOf:
    if isinstance(value, OptionalOf):
        return optional_field(value.value, name) if value.present else NONE
    if not isinstance(value, Mapping):
        raise no_overload("select", value)
    return OptionalOf(True, value[name]) if name in value else NONE


def index(value: Any, at: Any) -> Any:
    """An element of a list or map. Raises CelError."""
    if isinstance(value, OptionalOf):
        return optional_index(value, at)
    if isinstance(value, list):
        place = _place(at)
        if 0 <= place < len(value):
            return value[place]
        raise CelError(f"index out of bounds: {place}")
    if isinstance(value, Mapping):
        key = map_key(at)
        if key in value:
            return value[key]
        raise CelError(f"no such key: {at}")
    raise no_overload("_[_]", value, at)


def _place(at: Any) -> int:
    if not is_number(at) or not math.isfinite(at) or at != int(at):
        raise no_overload("_[_]", [], at)
    return int(at)


def optional_index(value: Any, at: Any) -> OptionalOf:
    if isinstance(value, OptionalOf):
        return optional_index(value.value, at) if value.present else NONE
    if isinstance(value, list):
        place = _place(at)
        return OptionalOf(True, value[place]) if 0 <= place < len(value) else NONE
    if isinstance(value, Mapping):
        key = map_key(at)
        return OptionalOf(True, value[key]) if key in value else NONE
    raise no_overload("_[?_]", value, at)


def map_key(value: Any) -> Any:
    if isinstance(value, str | int | bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise no_overload("map key", value)


def contained(value: Any, among: Any) -> bool:
    if isinstance(among, list):
        return any(equal(value, item) for item in among)
    if isinstance(among, Mapping):
        return isinstance(value, str | int | bool) and value in among
    raise no_overload("in", value, among)


# ------------------------------------------------------------------ arithmetic


def _kind(sign: str, left: Any, right: Any) -> type:
    """The type that two numbers share. Raises CelError: CEL converts nothing by itself."""
    for cls in (Uint, int, float):
        if isinstance(left, cls) and isinstance(right, cls) and is_number(left):
            if is_number(right) and (cls is not int or type(left) is type(right)):
                return cls
            break
    raise no_overload(f"_{sign}_", left, right)


def add(left: Any, right: Any) -> Any:
    for cls in (str, bytes, list):
        if isinstance(left, cls) and isinstance(right, cls):
            return bounded(len(left) + len(right)) and left + right  # type: ignore[operator]
    times = (datetime.datetime, datetime.timedelta)
    if isinstance(left, times) and isinstance(right, times):
        return _in_time("+", left, right)
    kind = _kind("+", left, right)
    return left + right if kind is float else checked_int(left + right, kind)


def subtract(left: Any, right: Any) -> Any:
    times = (datetime.datetime, datetime.timedelta)
    if isinstance(left, times) and isinstance(right, times):
        return _in_time("-", left, right)
    kind = _kind("-", left, right)
    return left - right if kind is float else checked_int(left - right, kind)


def _in_time(sign: str, left: Any, right: Any) -> Any:
    try:
        return left + right if sign == "+" else left - right
    except TypeError as error:
        raise no_overload(f"_{sign}_", left, right) from error
    except OverflowError as error:
        raise CelError("range error: time out of range") from error


def multiply(left: Any, right: Any) -> Any:
    kind = _kind("*", left, right)
    return left * right if kind is float else checked_int(int(left) * int(right), kind)


def divide(left: Any, right: Any) -> Any:
    kind = _kind("/", left, right)
    if kind is float:
        if right == 0.0:
            return math.nan if left == 0.0 or math.isnan(left) else math.copysign(math.inf, left)
        return left / right
    if right == 0:
        raise CelError("divide by zero")
    whole = abs(int(left)) // abs(int(right))
    return checked_int(whole if (left < 0) == (right < 0) else -whole, kind)


def modulo(left: Any, right: Any) -> Any:
    kind = _kind("%", left, right)
    if kind is float:
        raise no_overload("_%_", left, right)
    if right == 0:
        raise CelError("modulus by zero")
    rest = abs(int(left)) % abs(int(right))
    return checked_int(-rest if left < 0 else rest, kind)


def negate(value: Any) -> Any:
    if isinstance(value, float):
        return -value
    if isinstance(value, int) and not isinstance(value, bool | Uint):
        return checked_int(-value)
    raise no_overload("-_", value)


BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": less,
    ">": lambda left, right: less(right, left, ">"),
    "<=": lambda left, right: less(left, right, "<=") or equal(left, right),
    ">=": lambda left, right: less(right, left, ">=") or equal(left, right),
    "in": contained,
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": modulo,
}
UNARY: Mapping[str, Callable[[Any], Any]] = {
    "!_": lambda value: not boolean(value, "!_"),
    "-_": negate,
}
