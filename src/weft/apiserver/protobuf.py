"""Kubernetes' protobuf bodies as JSON: what Go clients send for the kinds they know. Pure.

The wire form: `k8s\\0`, then a runtime.Unknown around the object's own message (source: the
documentation of alternate representations of resources). Only reading: every client that sends
protobuf also takes JSON for an answer.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson
from msgspec import Struct

from weft.api.packaged import protobuf_messages
from weft.lib.timefmt import rfc3339

MAGIC = b"k8s\0"
NESTING_MAX = 100
MESSAGES_KEPT_MAX = 1024
"""More than there are messages."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX = 10
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, as far as RFC 3339 goes."""

Wire = int | bytes
Reader = Callable[[Wire, int], Any]
"""A value from the wire to JSON; the number is how deep it is nested. None: absent."""


class ProtobufError(ValueError):
    """The body is no protobuf of the kind it says it is; the text is for its sender."""


class UnknownKind(Struct, frozen=True):
    """A kind whose protobuf form is not known here."""

    api_version: str
    kind: str


def decode(body: bytes) -> dict[str, Any] | UnknownKind:
    """The object as JSON values. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message")
    unknown: dict[int, Wire] = dict(_fields(body[len(MAGIC) :]))
    head = {n: _string(v, 0) for n, v in _fields(_data(unknown.get(1, b"")))}
    api_version, kind = head.get(1, ""), head.get(2, "")
    name = _message_name(api_version, kind)
    if name is None:
        return UnknownKind(api_version, kind)
    found = {"apiVersion": api_version, "kind": kind}
    return found | _message(name, _data(unknown.get(2, b"")), 0)


def _message_name(api_version: str, kind: str) -> str | None:
    if kind in ("DeleteOptions", "Status"):  # sent in any group's name
        api_version = "meta.k8s.io/v1"
    name: str | None = protobuf_messages()["kinds"].get(f"{api_version}/{kind}")
    return name


# ------------------------------------------------------------------ the wire


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Field numbers and their raw values, in the order sent."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in _FIXED_BYTES:
            size = _FIXED_BYTES[wire]
        else:
            raise ProtobufError(f"illegal wireType {wire}")
        if at + size > end:
            raise ProtobufError("unexpected EOF")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
        if at >= len(data):
            raise ProtobufError("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ProtobufError("a number is longer than 64 bits")


def _data(value: Wire) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("a number stands where a message is expected")
    return value


# ------------------------------------------------------------------ values


def _string(value: Wire, _: int) -> str:
    try:
        return _data(value).decode()
    except UnicodeDecodeError as error:
        raise ProtobufError("a string is not valid UTF-8") from error


def _int(value: Wire, _: int) -> int:
    if not isinstance(value, int):
        raise ProtobufError("a message stands where a number is expected")
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _bool(value: Wire, depth: int) -> bool:
    return _int(value, depth) != 0


def _bytes(value: Wire, _: int) -> str:
    return base64.b64encode(_data(value)).decode()


def _time(value: Wire, depth: int) -> str | None:
    at = _timestamp(value, depth)
    return None if at is None else rfc3339(at[0])


def _microtime(value: Wire, depth: int) -> str | None:
    at = _timestamp(value, depth)
    return None if at is None else f"{rfc3339(at[0]).removesuffix('Z')}.{at[1] // 1000:06}Z"


def _timestamp(value: Wire, depth: int) -> tuple[int, int] | None:
    """Seconds and nanoseconds; an empty message is Go's zero time."""
    found = {n: _int(v, depth) for n, v in _fields(_data(value))}
    if not found:
        return None
    seconds, nanos = found.get(1, 0), found.get(2, 0)
    if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos < 1_000_000_000):
        raise ProtobufError("a time is out of range")
    return seconds, nanos


def _quantity(value: Wire, depth: int) -> str:
    return _string(dict(_fields(_data(value))).get(1, b"0"), depth)


def _int_or_string(value: Wire, depth: int) -> int | str:
    found = dict(_fields(_data(value)))
    if _int(found.get(1, 0), depth):
        return _string(found.get(3, b""), depth)
    return _int(found.get(2, 0), depth)


def _raw(value: Wire, _: int) -> Any:
    """RawExtension and FieldsV1: JSON inside protobuf."""
    text = _data(dict(_fields(_data(value))).get(1, b""))
    try:
        return orjson.loads(text) if text else None
    except ValueError as error:
        raise ProtobufError(f"embedded JSON is not valid: {error}") from error


_READERS: Mapping[str, Reader] = {
    "string": _string, "int": _int, "bool": _bool, "bytes": _bytes, "time": _time,
    "microtime": _microtime, "quantity": _quantity, "int-or-string": _int_or_string, "raw": _raw,
}  # fmt: skip
_ZERO: Mapping[str, Any] = {"string": "", "int": 0, "bool": False, "bytes": "", "quantity": "0"}


# ------------------------------------------------------------------ messages


class _Field(Struct, frozen=True):
    name: str
    """In JSON; "" for a message whose fields JSON has in line."""
    shape: str
    """`one`, `list`, `map` (of strings to values)."""
    read: Reader
    shows_zero: bool
    default: Any
    """Of a map's values."""


@lru_cache(maxsize=MESSAGES_KEPT_MAX)
def _fields_of(message: str) -> Mapping[int, _Field]:
    rows = protobuf_messages()["messages"][message]
    return {number: _field(name, code, bool(shown)) for number, name, code, shown in rows}


def _field(name: str, code: str, shows_zero: bool) -> _Field:
    shape = {"[]": "list", "{}": "map"}.get(code[:2], "one")
    inner = code if shape == "one" else code[2:]
    default = _ZERO.get(inner, [] if inner.startswith("<>") else {})
    return _Field(name, shape, _reader(inner), shows_zero, default)


def _reader(code: str) -> Reader:
    if code.startswith("<>"):
        item = _reader(code[2:])
        return lambda v, depth: [item(i, depth) for n, i in _fields(_data(v)) if n == 1]
    if code.startswith("@"):
        name = code[1:]
        return lambda v, depth: _message(name, _data(v), depth + 1)
    return _READERS[code]


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > NESTING_MAX:
        raise ProtobufError(f"nested more than {NESTING_MAX} deep")
    fields = _fields_of(name)
    found: dict[str, Any] = {}
    for number, wire in _fields(data):
        field = fields.get(number)
        if field is None:
            continue  # of a later version, as Go's decoder does
        if field.shape == "list":
            found.setdefault(field.name, []).extend(_items(field, wire, depth))
        elif field.shape == "map":
            key, value = _entry(field, _data(wire), depth)
            found.setdefault(field.name, {})[key] = value
        else:
            _set(found, field, field.read(wire, depth))
    return found


def _set(found: dict[str, Any], field: _Field, value: Any) -> None:
    if field.name == "":
        found.update(value)
    elif value is not None and (field.shows_zero or value not in ("", 0)):
        found[field.name] = value


def _items(field: _Field, wire: Wire, depth: int) -> list[Any]:
    """One item; several when numbers are packed."""
    if field.read is not _int or isinstance(wire, int):
        return [field.read(wire, depth)]
    found, at = [], 0
    while at < len(wire):
        value, at = _varint(wire, at)
        found.append(_int(value, depth))
    return found


def _entry(field: _Field, data: bytes, depth: int) -> tuple[str, Any]:
    parts = dict(_fields(data))
    value = field.read(parts[2], depth) if 2 in parts else field.default
    return _string(parts.get(1, b""), depth), value
