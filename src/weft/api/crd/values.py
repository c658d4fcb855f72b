"""Custom objects against their OpenAPI schema, in Kubernetes' words. Pure.

On updates only what changed is held against its schema (ratcheting): a part that is equal to the
old one is taken as it is.
"""

import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from weft.api.cel.strings import compiled
from weft.api.cel.syntax import CelError
from weft.api.crd.formats import FORMATS
from weft.api.crd.objects import HEAD, INT_OR_STRING, Raw
from weft.api.field_errors import (
    FieldError,
    Location,
    error,
    invalid,
    not_supported,
    path_text,
    required,
)
from weft.api.structure import json_type

ERRORS_MAX = 50
"""Of one object; more help nobody."""


class _Full(Exception):
    """Enough errors were found."""


def errors_of(schema: Raw, value: Any, old: Any = None) -> list[FieldError]:
    """Everything that breaks the schema; `old` is the state before an update."""
    walk = _Walk()
    with contextlib.suppress(_Full):
        walk.value(schema, value, (), old)
    return walk.errors


class _Walk:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def _add(self, found: FieldError) -> None:
        self.errors.append(found)
        if len(self.errors) >= ERRORS_MAX:
            raise _Full

    def value(self, schema: Raw, value: Any, at: Location, old: Any) -> None:
        if old is not None and value == old and at:
            return
        if value is None and schema.get("nullable"):
            return
        wanted = _wanted(schema)
        if wanted and not _is(wanted, value):
            detail = f'{_place(at)} in body must be of type {" or ".join(wanted)}: "{_type(value)}"'
            self._add(error(at, "TypeInvalid", _type(value), detail))
            return
        if "enum" in schema and value not in schema["enum"]:
            self._add(not_supported(at, value, [_plain(v) for v in schema["enum"]]))
        if isinstance(value, bool):
            pass
        elif isinstance(value, int | float):
            self._number(schema, value, at)
        elif isinstance(value, str):
            self._string(schema, value, at)
        elif isinstance(value, list):
            self._list(schema, value, at, old)
        elif isinstance(value, Mapping):
            self._object(schema, value, at, old)
        self._combined(schema, value, at)

    def _number(self, schema: Raw, value: float, at: Location) -> None:
        for name, sign, text in (("minimum", 1, "greater than"), ("maximum", -1, "less than")):
            bound = schema.get(name)
            if bound is None:
                continue
            strict = schema.get(f"exclusive{name.capitalize()}") is True
            if value * sign < bound * sign or (strict and value == bound):
                more = text if strict else f"{text} or equal to"
                self._say(at, value, f"should be {more} {bound:g}")
        step = schema.get("multipleOf")
        if step and not math.isclose(value / step, round(value / step), rel_tol=1e-12):
            self._say(at, value, f"should be a multiple of {step:g}")

    def _string(self, schema: Raw, value: str, at: Location) -> None:
        most, least = schema.get("maxLength"), schema.get("minLength")
        if most is not None and len(value) > most:
            self._add(error(at, "Invalid", value, f"Too long: may not be more than {most} bytes"))
        if least is not None and len(value) < least:
            self._say(at, value, f"should be at least {least} chars long")
        pattern = schema.get("pattern")
        if pattern and not _matches(pattern, value):
            self._say(at, value, f"should match '{pattern}'")
        form = str(schema.get("format"))
        if form in FORMATS and not FORMATS[form](value):
            self._say(at, value, f'must be of type {form}: "{value}"')

    def _list(self, schema: Raw, value: list[Any], at: Location, old: Any) -> None:
        most, least = schema.get("maxItems"), schema.get("minItems")
        if most is not None and len(value) > most:
            detail = f"Too many: {len(value)}: must have at most {most} items"
            self._add(error(at, "Invalid", len(value), detail))
        if least is not None and len(value) < least:
            self._say(at, len(value), f"should have at least {least} items")
        keys = keys_of(schema)
        seen: set[bytes] = set()
        before = _by_key(keys, old) if keys is not None and isinstance(old, list) else {}
        items = schema.get("items")
        for index, item in enumerate(value):
            key = key_of(keys, item) if keys is not None else b""
            if keys is not None:
                if key in seen:
                    self._add(error((*at, index), "Duplicate", orjson.loads(key)))
                seen.add(key)
            if isinstance(items, Mapping):
                self.value(items, item, (*at, index), before.get(key))

    def _object(self, schema: Raw, value: Raw, at: Location, old: Any) -> None:
        for name in schema.get("required") or ():
            if name not in value:
                self._add(required((*at, name)))
        most, least = schema.get("maxProperties"), schema.get("minProperties")
        if most is not None and len(value) > most:
            detail = f"Too many: {len(value)}: must have at most {most} items"
            self._add(error(at, "Invalid", len(value), detail))
        if least is not None and len(value) < least:
            self._say(at, len(value), f"should have at least {least} properties")
        known, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        before = old if isinstance(old, Mapping) else {}
        for name, item in value.items():
            if not at and name in HEAD and name not in known:
                continue
            below = known.get(name, extra)
            if isinstance(below, Mapping):
                self.value(below, item, (*at, name), before.get(name))

    def _combined(self, schema: Raw, value: Any, at: Location) -> None:
        for part in schema.get("allOf") or ():
            self.value(part, value, at, None)
        choices = schema.get("anyOf")
        if choices and not any(_fits(part, value) for part in choices):
            text = "must validate at least one schema (anyOf)"
            self._add(invalid(at, "", f'"{_place(at)}" {text}'))
        choices = schema.get("oneOf")
        if choices:
            count = sum(_fits(part, value) for part in choices)
            if count != 1:
                found = f"valid alternatives {count}" if count else "none valid"
                text = f"must validate one and only one schema (oneOf). Found {found}"
                self._add(invalid(at, "", f'"{_place(at)}" {text}'))
        refused = schema.get("not")
        if isinstance(refused, Mapping) and refused and _fits(refused, value):
            self._add(invalid(at, "", f'"{_place(at)}" must not validate the schema (not)'))

    def _say(self, at: Location, value: Any, text: str) -> None:
        self._add(invalid(at, value, f"{_place(at)} in body {text}"))


def _fits(schema: Raw, value: Any) -> bool:
    return not errors_of(schema, value)


def _place(at: Location) -> str:
    return path_text(at)


def _wanted(schema: Raw) -> tuple[str, ...]:
    if schema.get(INT_OR_STRING) or schema.get("format") == "int-or-string":
        return ("integer", "string")
    return (schema["type"],) if schema.get("type") else ()


def _is(wanted: Iterable[str], value: Any) -> bool:
    found = _type(value)
    return found in wanted or (found == "integer" and "number" in wanted)


def _type(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return json_type(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _matches(pattern: str, value: str) -> bool:
    try:
        return compiled(pattern).search(value) is not None
    except CelError:
        return True  # refused when the definition was written; never a user's fault


# ------------------------------------------------------------------ lists with keys


def keys_of(schema: Raw) -> tuple[str, ...] | None:
    """The keys of a list of type map, () for a set, None for atomic lists."""
    match schema.get("x-kubernetes-list-type"):
        case "map":
            return tuple(schema.get("x-kubernetes-list-map-keys") or ())
        case "set":
            return ()
    return None


def key_of(keys: tuple[str, ...] | None, item: Any) -> bytes:
    """What makes an element of a list its own."""
    if keys and isinstance(item, Mapping):
        return orjson.dumps({key: item.get(key) for key in keys})
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


def _by_key(keys: tuple[str, ...], items: list[Any]) -> dict[bytes, Any]:
    return {key_of(keys, item): item for item in items}
