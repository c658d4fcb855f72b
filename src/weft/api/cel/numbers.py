"""CEL's conversions and the math extension. Pure."""

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

from weft.api.cel.strings import show
from weft.api.cel.syntax import CelError, Uint
from weft.api.cel.values import (
    checked_int,
    is_number,
    less,
    no_overload,
    whole,
)


def _int(value: Any) -> int:
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    return _integer("int", value, int)


def _uint(value: Any) -> int:
    return _integer("uint", value, Uint)


def _integer(name: str, value: Any, kind: type) -> int:
    if isinstance(value, str):
        try:
            return checked_int(int(value), kind)
        except ValueError as error:
            raise CelError(f"type conversion error from 'string' to '{name}'") from error
    if isinstance(value, float):
        return whole(value, kind)
    if is_number(value):
        return checked_int(int(value), kind)
    raise no_overload(name, value)


def _double(value: Any) -> float:
    if is_number(value) or isinstance(value, str):
        try:
            return float(value)
        except ValueError as error:
            raise CelError("type conversion error from 'string' to 'double'") from error
    raise no_overload("double", value)


def _string(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise CelError("invalid UTF-8 in bytes, cannot convert to string") from error
    if isinstance(value, list | Mapping) or value is None:
        raise no_overload("string", value)
    return show(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        return value.encode() if isinstance(value, str) else value
    raise no_overload("bytes", value)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1"):
        return True
    if value in ("false", "False", "FALSE", "f", "0"):
        return False
    raise CelError("type conversion error to 'bool'")


def _numbers(name: str, values: tuple[Any, ...]) -> list[Any]:
    found = list(values[0]) if len(values) == 1 and isinstance(values[0], list) else list(values)
    if not found or not all(is_number(v) for v in found):
        raise no_overload(name, *values)
    return found


def _greatest(*values: Any) -> Any:
    best, *rest = _numbers("math.greatest", values)
    for value in rest:
        best = value if less(best, value) else best
    return best


def _least(*values: Any) -> Any:
    best, *rest = _numbers("math.least", values)
    for value in rest:
        best = value if less(value, best) else best
    return best


def _real(name: str, function: Callable[[float], Any]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if not isinstance(value, float):
            raise no_overload(name, value)
        return function(value) if math.isfinite(value) else value

    return run


def _half_away(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _abs(value: Any) -> Any:
    if not is_number(value):
        raise no_overload("math.abs", value)
    return abs(value) if isinstance(value, float) else checked_int(abs(value), type(value))


def _sign(value: Any) -> Any:
    if not is_number(value):
        raise no_overload("math.sign", value)
    return type(value)((value > 0) - (value < 0))


def _test(name: str, function: Callable[[float], bool]) -> Callable[[Any], bool]:
    def run(value: Any) -> bool:
        if not isinstance(value, float):
            raise no_overload(name, value)
        return function(value)

    return run


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "int": _int,
    "uint": _uint,
    "double": _double,
    "string": _string,
    "bytes": _bytes,
    "bool": _bool,
    "math.greatest": _greatest,
    "math.least": _least,
    "math.ceil": _real("math.ceil", lambda v: float(math.ceil(v))),
    "math.floor": _real("math.floor", lambda v: float(math.floor(v))),
    "math.trunc": _real("math.trunc", lambda v: float(math.trunc(v))),
    "math.round": _real("math.round", _half_away),
    "math.abs": _abs,
    "math.sign": _sign,
    "math.isNaN": _test("math.isNaN", math.isnan),
    "math.isInf": _test("math.isInf", math.isinf),
    "math.isFinite": _test("math.isFinite", math.isfinite),
}
