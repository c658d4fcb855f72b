"""Does an object have the shape of its schema? Unknown fields, wrong types, missing, enums.

Two ways with one answer: a typed decode into structs made from the schema, which says yes in
microseconds, and, only when that says no, a walk that finds every error with its place.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from weft.api.field_errors import FieldError, Location, error, not_supported, required
from weft.api.kinds import Kind
from weft.api.schema import Schema, schema_for
from weft.api.suggest import nearest

_INT_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_NESTED_SEARCH_DEPTH = 2
_LISTED_FIELDS_MAX = 20


# ------------------------------------------------------------------ the quick yes


def fits(kind: Kind, obj: Mapping[str, Any]) -> bool:
    """Whether the object has no structural error."""
    try:
        msgspec.convert(obj, _root_type(kind))
    except (msgspec.ValidationError, OverflowError):
        return False
    return True


@cache
def _root_type(kind: Kind) -> Any:
    return _TypeMaker().struct(schema_for(kind), lenient=False, root=True)


class _TypeMaker:
    """Makes msgspec types that accept exactly what the walk below accepts."""

    def __init__(self) -> None:
        self._made: dict[tuple[Schema, bool], Any] = {}

    def struct(self, schema: Schema, lenient: bool, root: bool = False) -> Any:
        key = (schema, lenient)
        if key not in self._made:
            fields: list[Any] = []
            for index, (name, sub) in enumerate(schema.fields.items()):
                below = lenient or (root and name == "status")
                typ = self.value(sub, below)
                need = name in schema.required and not below and sub.type != "any"
                wanted = typ if need else typ | None
                fields.append((f"f{index}", wanted) if need else (f"f{index}", wanted, None))
            names = {f"f{i}": name for i, name in enumerate(schema.fields)}
            self._made[key] = msgspec.defstruct(
                "Made", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
            )
        return self._made[key]

    def value(self, schema: Schema, lenient: bool) -> Any:
        match schema.type:
            case "object":
                return self.struct(schema, lenient)
            case "map":
                return dict[str, self._or_none(schema.values, lenient)]  # type: ignore[misc]
            case "array":
                assert schema.items is not None
                return list[self.value(schema.items, lenient)]  # type: ignore[misc]
            case "string":
                return Literal["", *schema.enum] if schema.enum else str
            case "integer":
                low, high = _range(schema)
                return Annotated[int, Meta(ge=low, le=high)]
            case "number":
                return Annotated[float, Meta(ge=schema.minimum, le=schema.maximum)]
            case "boolean":
                return bool
            case "quantity":
                return str | int | float
            case "int-or-string":
                return int | str
        return Any

    def _or_none(self, schema: Schema | None, lenient: bool) -> Any:
        assert schema is not None
        return self.value(schema, lenient) | None


def _range(schema: Schema) -> tuple[int, int]:
    low, high = _INT_RANGES.get(schema.format, _INT_RANGES["int64"])
    return (
        low if schema.minimum is None else int(schema.minimum),
        high if schema.maximum is None else int(schema.maximum),
    )


# ------------------------------------------------------------------ the walk


def structural_errors(kind: Kind, obj: Mapping[str, Any]) -> list[FieldError]:
    """Every structural error of the object, in the order of its fields."""
    if fits(kind, obj):
        return []
    walk = _Walk()
    walk.object(schema_for(kind), obj, (), (), lenient=False)
    return walk.errors


def errors_below(schema: Schema, value: Mapping[str, Any], at: Location) -> list[FieldError]:
    """The structural errors of a part of an object that stands at `at`."""
    walk = _Walk()
    walk.object(schema, value, at, (), lenient=False)
    return walk.errors


class _Walk:
    """`lenient`: below `status`, where the server sets fields, nothing is required.

    A null means absent for a field and a map's value; for an item of a list it is an error.
    """

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def value(
        self, schema: Schema, value: Any, at: Location, above: tuple[Schema, ...], lenient: bool
    ) -> None:
        if value is None or schema.type == "any":
            return
        if not _has_type(schema, value):
            self.errors.append(_wrong_type(schema, value, at))
        elif schema.type == "object":
            self.object(schema, value, at, above, lenient)
        elif schema.type == "map" and schema.values:
            for key, item in value.items():
                self.value(schema.values, item, (*at, key), (*above, schema), lenient)
        elif schema.type == "array" and schema.items:
            for index, item in enumerate(value):
                here = (*at, index)
                if item is None and schema.items.type != "any":
                    self.errors.append(_wrong_type(schema.items, item, here))
                self.value(schema.items, item, here, (*above, schema), lenient)
        elif schema.enum and value and value not in schema.enum:
            near = nearest(str(value), schema.enum)
            hint = f"did you mean `{near}`?" if near else ""
            self.errors.append(not_supported(at, value, schema.enum, hint))
        elif schema.type in ("integer", "number"):
            self._bounds(schema, value, at)

    def object(
        self,
        schema: Schema,
        value: Mapping[str, Any],
        at: Location,
        above: tuple[Schema, ...],
        lenient: bool,
    ) -> None:
        for name, item in value.items():
            sub = schema.fields.get(name)
            if sub is None:
                hint = _misplaced(schema, name, at, above)
                self.errors.append(error((*at, name), "Unknown", None, "", hint))
            else:
                below = lenient or (name == "status" and not at)
                self.value(sub, item, (*at, name), (*above, schema), below)
        if not lenient:
            for name in schema.required:
                if value.get(name) is None and schema.fields[name].type != "any":
                    self.errors.append(required((*at, name)))

    def _bounds(self, schema: Schema, value: Any, at: Location) -> None:
        low, high = _range(schema) if schema.type == "integer" else (schema.minimum, schema.maximum)
        if (low is not None and value < low) or (high is not None and value > high):
            detail = f"must be between {low:g} and {high:g}, inclusive"
            self.errors.append(error(at, "Invalid", value, detail))


def _has_type(schema: Schema, value: Any) -> bool:
    match schema.type:
        case "object" | "map":
            return isinstance(value, Mapping)
        case "array":
            return isinstance(value, list | tuple)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "quantity":
            return isinstance(value, str | int | float) and not isinstance(value, bool)
        case "int-or-string":
            return isinstance(value, str | int) and not isinstance(value, bool)
    return True


def json_type(value: Any) -> str:
    """The JSON type of a value, as messages name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list | tuple) else "object"


_WANTED = {"map": "object", "quantity": "string", "int-or-string": "integer or string"}


def _wrong_type(schema: Schema, value: Any, at: Location) -> FieldError:
    wanted = _WANTED.get(schema.type, schema.type)
    found = json_type(value)
    detail = f'must be of type {wanted}: "{found}"'
    return error(at, "TypeInvalid", found, detail, _type_hint(schema, value))


def _type_hint(schema: Schema, value: Any) -> str:
    if schema.type == "string" and isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f'put it in quotes: "{text}"'
    if schema.type == "array" and isinstance(value, Mapping):
        return "it is a list: start its items with `-`"
    if schema.type == "object" and isinstance(value, list | tuple):
        return "it is no list: leave out the `-`"
    if schema.type in ("integer", "number", "boolean") and isinstance(value, str):
        return "leave out the quotes"
    return ""


# ------------------------------------------------------------------ where a field belongs


def _misplaced(schema: Schema, name: str, at: Location, above: tuple[Schema, ...]) -> str:
    """What to say about an unknown field: the near name, its right place, or all there are."""
    near = nearest(name, schema.fields)
    if near and not _weak(name, near):
        return f"did you mean `{near}`?"
    inside = _find_below(schema, name, _NESTED_SEARCH_DEPTH)
    if inside:
        return f"`{name}` belongs in `{inside}`"
    for levels, parent in enumerate(reversed(above), 1):
        if name in parent.fields:
            place = [step for step in at[: len(at) - levels] if isinstance(step, str)]
            where = f"`{place[-1]}`" if place else "the object itself"
            return f"`{name}` belongs in {where}, {_levels(levels)} up"
    if near:
        return f"did you mean `{near}`?"
    return f"fields here: {_listed(schema.fields)}" if schema.fields else ""


def _weak(name: str, near: str) -> bool:
    """A suggestion by likeness alone; a field of that very name elsewhere is a better one."""
    return name.lower() != near.lower() and len(near) != len(name)


def _find_below(schema: Schema, name: str, depth: int) -> str:
    for field, sub in schema.fields.items():
        inner = sub.items if sub.type == "array" and sub.items else sub
        if name in inner.fields and inner.type == "object" and field not in ("metadata", "status"):
            return field
    if depth > 1:
        for field, sub in schema.fields.items():
            if sub.type == "object" and field not in ("metadata", "status"):
                found = _find_below(sub, name, depth - 1)
                if found:
                    return f"{field}.{found}"
    return ""


def _levels(count: int) -> str:
    return "one level" if count == 1 else f"{count} levels"


def _listed(fields: Mapping[str, Any]) -> str:
    names = sorted(fields)
    shown = ", ".join(f"`{name}`" for name in names[:_LISTED_FIELDS_MAX])
    rest = len(names) - _LISTED_FIELDS_MAX
    return f"{shown} and {rest} more" if rest > 0 else shown
