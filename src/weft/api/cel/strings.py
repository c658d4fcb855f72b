"""CEL's functions on strings and bytes, and regular expressions by RE2. Pure."""

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from weft.api.cel.operators import bounded
from weft.api.cel.syntax import CelError
from weft.api.cel.values import duration_text, no_overload, timestamp_text, type_name

PATTERNS_KEPT_MAX = 512


def _text(function: str, *values: Any) -> None:
    if not all(isinstance(v, str) for v in values):
        raise no_overload(function, *values)


def _number(function: str, *values: Any) -> None:
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise no_overload(function, *values)


@lru_cache(maxsize=PATTERNS_KEPT_MAX)
def compiled(pattern: str) -> Any:
    """A regular expression, by RE2: no pattern takes more than linear time. Raises CelError."""
    import re2  # noqa: PLC0415 - loaded by those who use custom resources only

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise CelError(f"invalid regular expression {pattern!r}: {error}") from error


def matches(value: Any, pattern: Any) -> bool:
    """Anywhere in the text, as RE2's partial match."""
    _text("matches", value, pattern)
    return compiled(pattern).search(value) is not None


def _find(value: Any, pattern: Any) -> str:
    _text("find", value, pattern)
    found = compiled(pattern).search(value)
    return str(found[0]) if found else ""


def _find_all(value: Any, pattern: Any, limit: Any = -1) -> list[str]:
    _text("findAll", value, pattern)
    _number("findAll", limit)
    found = [str(m[0]) for m in compiled(pattern).finditer(value)]
    return found if limit < 0 else found[:limit]


def contains(value: Any, part: Any) -> bool:
    _text("contains", value, part)
    return part in value


def _starts_with(value: Any, part: Any) -> bool:
    _text("startsWith", value, part)
    return bool(value.startswith(part))


def _ends_with(value: Any, part: Any) -> bool:
    _text("endsWith", value, part)
    return bool(value.endswith(part))


def _char_at(value: Any, at: Any) -> str:
    _text("charAt", value)
    _number("charAt", at)
    if not 0 <= at <= len(value):
        raise CelError(f"index out of range: {at}")
    return str(value[at : at + 1])


def index_of(value: Any, part: Any, start: Any = 0) -> int:
    _text("indexOf", value, part)
    _number("indexOf", start)
    if not 0 <= start <= len(value):
        raise CelError(f"index out of range: {start}")
    return int(value.find(part, start))


def last_index_of(value: Any, part: Any, start: Any = None) -> int:
    _text("lastIndexOf", value, part)
    if start is None:
        return int(value.rfind(part))
    _number("lastIndexOf", start)
    if not 0 <= start <= len(value):
        raise CelError(f"index out of range: {start}")
    return int(value.rfind(part, 0, start + len(part)))


def _lower(value: Any) -> str:
    _text("lowerAscii", value)
    return "".join(c.lower() if c.isascii() else c for c in value)


def _upper(value: Any) -> str:
    _text("upperAscii", value)
    return "".join(c.upper() if c.isascii() else c for c in value)


def _replace(value: Any, old: Any, new: Any, limit: Any = -1) -> str:
    _text("replace", value, old, new)
    _number("replace", limit)
    bounded(len(value) + value.count(old) * len(new))
    return str(value.replace(old, new, max(-1, limit)))


def _split(value: Any, separator: Any, limit: Any = -1) -> list[str]:
    _text("split", value, separator)
    _number("split", limit)
    if limit == 0:
        return []
    if separator == "":
        return list(value) if limit < 0 else [*value[: limit - 1], value[limit - 1 :]]
    return list(value.split(separator, limit - 1 if limit > 0 else -1))


def _substring(value: Any, start: Any, end: Any = None) -> str:
    _text("substring", value)
    end = len(value) if end is None else end
    _number("substring", start, end)
    if not 0 <= start <= end <= len(value):
        raise CelError(f"invalid substring range. start: {start}, end: {end}")
    return str(value[start:end])


def _trim(value: Any) -> str:
    _text("trim", value)
    return str(value.strip())


def _join(value: Any, separator: Any = "") -> str:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise no_overload("join", value, separator)
    _text("join", separator)
    bounded(sum(map(len, value)) + len(separator) * len(value))
    return str(separator.join(value))


def _quote(value: Any) -> str:
    _text("strings.quote", value)
    escapes = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
               "\v": "\\v", "\\": "\\\\", '"': '\\"'}  # fmt: skip
    return '"' + "".join(escapes.get(c, c) for c in value) + '"'


# ------------------------------------------------------------------ formatting


def _format(template: Any, values: Any) -> str:
    """`"%s is %d".format([name, age])`: %s %d %f %e %b %x %X %o %%."""
    _text("format", template)
    if not isinstance(values, list):
        raise no_overload("format", template, values)
    parts, rest, left = [], template, list(values)
    while "%" in rest:
        before, _, rest = rest.partition("%")
        parts.append(before)
        if rest.startswith("%"):
            parts.append("%")
            rest = rest[1:]
            continue
        found = compiled(r"^(?:\.(\d{1,3}))?([sdfebxXo])").search(rest)
        if found is None:
            raise CelError(f"could not parse formatting clause: unrecognized clause %{rest[:1]}")
        if not left:
            raise CelError("index out of range: too few arguments for the format string")
        parts.append(_clause(found[2], found[1], left.pop(0)))
        rest = rest[found.end() :]
        bounded(sum(map(len, parts)))
    return "".join([*parts, rest])


def _clause(form: str, precision: str | None, value: Any) -> str:
    if form == "s":
        return show(value)
    if isinstance(value, bool) and form == "b":
        return str(int(value))
    if isinstance(value, str | bytes) and form in ("x", "X"):
        data = value.encode() if isinstance(value, str) else value
        return data.hex() if form == "x" else data.hex().upper()
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CelError(f"error during formatting: %{form} does not take {type_name(value)}")
    if form in ("f", "e"):
        return f"{float(value):.{precision or 6}{form}}"
    if not isinstance(value, int):
        raise CelError(f"error during formatting: %{form} does not take {type_name(value)}")
    return f"{int(value):{form}}"


def show(value: Any) -> str:
    """A value as %s and messages show it."""
    shown = _SHOWN.get(type_name(value))
    return shown(value) if shown else str(value)


def _show_map(value: Mapping[Any, Any]) -> str:
    items = sorted((show(k), show(v)) for k, v in value.items())
    return "{" + ", ".join(f"{k}: {v}" for k, v in items) + "}"


def _show_double(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:g}"


_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "bytes": lambda value: bytes(value).decode(errors="replace"),
    "bool": lambda value: "true" if value else "false",
    "null_type": lambda value: "null",
    "list": lambda value: "[" + ", ".join(map(show, value)) + "]",
    "map": _show_map,
    "google.protobuf.Timestamp": timestamp_text,
    "google.protobuf.Duration": duration_text,
    "double": _show_double,
    "type": lambda value: str(value.name),
}


def _encode(value: Any) -> str:
    if not isinstance(value, bytes):
        raise no_overload("base64.encode", value)
    return base64.b64encode(value).decode()


def _decode(value: Any) -> bytes:
    _text("base64.decode", value)
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise CelError(f"illegal base64 data: {error}") from error


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "strings.quote": _quote,
    "base64.encode": _encode,
    "base64.decode": _decode,
}
METHODS: Mapping[str, Callable[..., Any]] = {
    "startsWith": _starts_with,
    "endsWith": _ends_with,
    "find": _find,
    "findAll": _find_all,
    "charAt": _char_at,
    "lowerAscii": _lower,
    "upperAscii": _upper,
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "trim": _trim,
    "join": _join,
    "format": _format,
}
