"""What CEL computes with, beyond JSON: types, optionals, equality, order. Pure."""

import datetime
import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.api.cel.syntax import CelError, Uint


class CelType(Struct, frozen=True):
    """A type as a value: `type(x) == int`."""

    name: str


class OptionalOf(Struct, frozen=True):
    """optional.of(value), or optional.none()."""

    present: bool
    value: Any = None


NONE = OptionalOf(False)


class Opaque:
    """A value of an extension (quantity, URL); knows how it equals another of its class."""

    type_name = ""

    def same(self, other: "Opaque") -> bool:
        raise NotImplementedError


_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"), (Uint, "uint"), (int, "int"), (float, "double"), (str, "string"),
    (bytes, "bytes"), (list, "list"), (Mapping, "map"), (type(None), "null_type"),
    (datetime.datetime, "google.protobuf.Timestamp"),
    (datetime.timedelta, "google.protobuf.Duration"), (CelType, "type"),
    (OptionalOf, "optional_type"),
)  # fmt: skip


def type_name(value: Any) -> str:
    """The name of a value's CEL type."""
    if isinstance(value, Opaque):
        return value.type_name
    return next((name for cls, name in _NAMES if isinstance(value, cls)), "dyn")


TYPES = {name: CelType(name) for _, name in _NAMES} | {
    "google.protobuf.Timestamp": CelType("google.protobuf.Timestamp"),
    "google.protobuf.Duration": CelType("google.protobuf.Duration"),
}


def no_overload(function: str, *values: Any) -> CelError:
    """The error for operands that a function does not take."""
    return CelError(f"no such overload: {function}({', '.join(type_name(v) for v in values)})")


_ORDERED: tuple[Any, ...] = (str, bytes, bool, datetime.datetime, datetime.timedelta)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Values of different types are not equal, but for numbers."""
    if isinstance(left, str) or isinstance(right, str):
        return type(left) is type(right) and bool(left == right)
    if is_number(left) and is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if len(left) != len(right):
            return False
        return all(key in right and equal(value, right[key]) for key, value in left.items())
    if isinstance(left, OptionalOf) and isinstance(right, OptionalOf):
        return left.present == right.present and equal(left.value, right.value)
    if isinstance(left, Opaque) and isinstance(right, Opaque):
        return type(left) is type(right) and left.same(right)
    return type_name(left) == type_name(right) and bool(left == right)


def less(left: Any, right: Any, sign: str = "<") -> bool:
    """Raises CelError for values that have no order."""
    if is_number(left) and is_number(right):
        return bool(left < right)
    for cls in _ORDERED:
        if isinstance(left, cls) and isinstance(right, cls):
            return bool(left < right)
    raise no_overload(f"_{sign}_", left, right)


def checked_int(value: int, kind: type = int) -> int:
    """Raises CelError on overflow of 64 bits."""
    low, high = (0, 2**64 - 1) if kind is Uint else (-(2**63), 2**63 - 1)
    if not low <= value <= high:
        raise CelError(f"{'unsigned ' if kind is Uint else ''}integer overflow")
    return int(value) if kind is int else Uint(value)


def whole(value: float, kind: type = int) -> int:
    """A double as an integer, cut towards zero."""
    if not math.isfinite(value):
        raise CelError("range error: not a finite number")
    return checked_int(int(value), kind)


def duration_text(value: datetime.timedelta) -> str:
    seconds = value.total_seconds()
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def timestamp_text(value: datetime.datetime) -> str:
    text = value.astimezone(datetime.UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "Z"
