"""Is a schema structural, so that objects can be pruned and defaulted by it? Pure.

Source: the documentation of CustomResourceDefinitions (specifying a structural schema).
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from weft.api.cel.strings import compiled
from weft.api.cel.syntax import CelError
from weft.api.crd import values
from weft.api.crd.objects import EMBEDDED, INT_OR_STRING, PRESERVE, Raw, defaulted, pruned
from weft.api.crd.rules import VALIDATIONS
from weft.api.field_errors import FieldError, Location, error, forbidden, required
from weft.api.structure import json_type

NESTING_MAX = 64
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_NOT_IN_JUNCTORS = ("description", "default", "additionalProperties", "nullable", "title",
                    PRESERVE, INT_OR_STRING, EMBEDDED)  # fmt: skip
_INT_OR_STRING_FORM = ({"type": "integer"}, {"type": "string"})


def errors_of(schema: Any, at: Location) -> list[FieldError]:
    """What makes a schema not structural; `at` is where it stands in its definition."""
    if not isinstance(schema, Mapping):
        return [required(at, "schemas are required")]
    if wrong := list(_keywords(schema, at, 0)):
        return wrong
    errors: list[FieldError] = []
    if schema.get("type") != "object":
        text = 'must be "object" at the root'
        errors.append(error((*at, "type"), "Invalid", schema.get("type") or "", text))
    if schema.get("nullable"):
        errors.append(forbidden((*at, "nullable"), "nullable cannot be true at the root"))
    return errors + list(_node(schema, at, ()))


# What each keyword holds; the definition's own schema leaves it open, as it mentions itself.
_TEXT, _FLAG, _COUNT, _NUMBER = (str,), (bool,), (int,), (int, float)
_HOLDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("type", "format", "title", "description", "pattern", "$ref",
                     "x-kubernetes-list-type", "x-kubernetes-map-type"), _TEXT),
    **dict.fromkeys(("nullable", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum",
                     PRESERVE, INT_OR_STRING, EMBEDDED), _FLAG),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties",
                     "maxProperties"), _COUNT),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _NUMBER),
    **dict.fromkeys(("required", "enum", "allOf", "anyOf", "oneOf", "x-kubernetes-list-map-keys",
                     VALIDATIONS), (list,)),
    **dict.fromkeys(("properties", "not"), (dict,)),
    "items": (dict, list),
    "additionalProperties": (dict, bool),
}  # fmt: skip
_TEXTS_IN = ("required", "x-kubernetes-list-map-keys")
_RULE_FLAG = "optionalOldSelf"


def _keywords(schema: Raw, at: Location, depth: int) -> Iterator[FieldError]:
    """Keywords that hold something of a wrong type."""
    if depth > 2 * NESTING_MAX:
        yield forbidden(at, f"schemas are nested at most {NESTING_MAX} deep")
        return
    for name, held in schema.items():
        wanted = _HOLDS.get(name)
        if wanted and (
            not isinstance(held, wanted) or (isinstance(held, bool) and bool not in wanted)
        ):
            names = " or ".join(_JSON_NAMES[kind] for kind in wanted)
            detail = f'must be of type {names}: "{json_type(held)}"'
            yield error((*at, name), "TypeInvalid", json_type(held), detail)
            return
        if name in _TEXTS_IN and not all(isinstance(text, str) for text in held):
            yield error((*at, name), "TypeInvalid", "array", "must be a list of strings")
            return
    for rule in schema.get(VALIDATIONS) or ():
        flag = rule.get(_RULE_FLAG, False) if isinstance(rule, Mapping) else None
        texts = [v for k, v in rule.items() if k != _RULE_FLAG] if flag is not None else [None]
        if not isinstance(flag, bool) or not all(isinstance(v, str) for v in texts):
            text = "each must be an object of strings (optionalOldSelf: a boolean)"
            yield error((*at, VALIDATIONS), "TypeInvalid", json_type(rule), text)
            return
    for where, part in _below(schema):
        if not isinstance(part, Mapping):
            text = f'must be a schema: "{json_type(part)}"'
            yield error((*at, *where), "TypeInvalid", json_type(part), text)
            return
        yield from _keywords(part, (*at, *where), depth + 1)


_JSON_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array",
               dict: "object"}  # fmt: skip


def _below(schema: Raw) -> Iterator[tuple[Location, Any]]:
    for name, part in (schema.get("properties") or {}).items():
        yield ("properties", name), part
    for junctor in _JUNCTORS:
        for index, part in enumerate(schema.get(junctor) or ()):
            yield (junctor, index), part
    items, extra = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, list):
        for index, part in enumerate(items):
            yield ("items", index), part
    elif items is not None:
        yield ("items",), items
    if extra is not None and not isinstance(extra, bool):
        yield ("additionalProperties",), extra
    if schema.get("not") is not None:
        yield ("not",), schema["not"]


def _node(schema: Raw, at: Location, inside: Location) -> Iterator[FieldError]:
    """`inside` is the place in objects that the schema is about."""
    if len(inside) > NESTING_MAX:
        yield forbidden(at, f"schemas are nested at most {NESTING_MAX} deep")
        return
    yield from _typed(schema, at)
    yield from _plain_rules(schema, at)
    yield from _lists(schema, at)
    known, extra = schema.get("properties"), schema.get("additionalProperties")
    if known and extra is not None:
        yield forbidden((*at, "additionalProperties"),
                        "additionalProperties and properties are mutual exclusive")  # fmt: skip
    if extra is False:
        yield forbidden((*at, "additionalProperties"),
                        "additionalProperties cannot be set to false")  # fmt: skip
    for name, below in (known or {}).items():
        here = (*at, "properties", name)
        if not inside and name == "metadata":
            yield from _metadata(below, here)
        elif not inside and name in ("apiVersion", "kind") and not (below or {}).get("type"):
            continue
        elif not isinstance(below, Mapping):
            yield required((*here, "type"), "must not be empty for specified object fields")
        else:
            yield from _node(below, here, (*inside, name))
    if isinstance(extra, Mapping):
        yield from _node(extra, (*at, "additionalProperties"), (*inside, "*"))
    items = schema.get("items")
    if isinstance(items, list):
        yield forbidden((*at, "items"), "items must be a schema object and not an array")
    elif isinstance(items, Mapping):
        yield from _node(items, (*at, "items"), (*inside, 0))
    if "default" in schema and inside:
        yield from _default(schema, at)
    for junctor, index, part in _parts(schema):
        here = (*at, junctor) if index is None else (*at, junctor, index)
        yield from _in_junctor(part, here, bool(schema.get(INT_OR_STRING)))


def _parts(schema: Raw) -> Iterator[tuple[str, int | None, Raw]]:
    for junctor in _JUNCTORS:
        for index, part in enumerate(schema.get(junctor) or ()):
            if isinstance(part, Mapping):
                yield junctor, index, part
    if isinstance(schema.get("not"), Mapping):
        yield "not", None, schema["not"]


def _typed(schema: Raw, at: Location) -> Iterator[FieldError]:
    typ = schema.get("type")
    if schema.get(INT_OR_STRING):
        if typ:
            yield error((*at, "type"), "Invalid", typ,
                        "type must be empty if x-kubernetes-int-or-string is true")  # fmt: skip
        return
    if not typ:
        if not schema.get(PRESERVE):
            what = "array items" if at and at[-1] == "items" else "specified object fields"
            yield required((*at, "type"), f"must not be empty for {what}")
    elif typ not in _TYPES:
        listed = ", ".join(f'"{name}"' for name in _TYPES)
        yield error((*at, "type"), "NotSupported", typ, f"supported values: {listed}")
    elif typ == "array" and not isinstance(schema.get("items"), Mapping | list):
        yield required((*at, "items"), "must be specified")
    if schema.get(EMBEDDED) and typ not in ("object", None):
        yield error((*at, "type"), "Invalid", typ,
                    "must be object if x-kubernetes-embedded-resource is true")  # fmt: skip


def _plain_rules(schema: Raw, at: Location) -> Iterator[FieldError]:
    for name in ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems",
                 "id"):  # fmt: skip
        if schema.get(name):
            yield forbidden((*at, name), f"{name} is not supported")
    if schema.get("uniqueItems"):
        yield forbidden((*at, "uniqueItems"), "uniqueItems cannot be set to true since the "
                        "runtime complexity becomes quadratic")  # fmt: skip
    if schema.get(PRESERVE) is False:
        yield error((*at, PRESERVE), "Invalid", False, "must be true or undefined")
    pattern = schema.get("pattern")
    if pattern is not None:
        try:
            compiled(str(pattern))
        except CelError as found:
            text = f"must be a valid regular expression, but isn't: {found}"
            yield error((*at, "pattern"), "Invalid", pattern, text)


def _lists(schema: Raw, at: Location) -> Iterator[FieldError]:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    if kind is not None and schema.get("type") != "array":
        yield error((*at, "type"), "Invalid", schema.get("type") or "",
                    "must be array if x-kubernetes-list-type is specified")  # fmt: skip
        return
    if kind == "map":
        if not keys:
            text = "must not be empty if x-kubernetes-list-type is map"
            yield required((*at, "x-kubernetes-list-map-keys"), text)
            return
        items = schema.get("items")
        items = items if isinstance(items, Mapping) else {}
        fields = items.get("properties") or {}
        for index, key in enumerate(keys):
            here = (*at, "x-kubernetes-list-map-keys", index)
            if key not in fields:
                yield error(here, "Invalid", key, "entries must all be names of item properties")
            elif key not in (items.get("required") or ()) and "default" not in fields[key]:
                place = (*at, "items", "properties", key, "default")
                yield required(place, "this property is in x-kubernetes-list-map-keys, so it must "
                               "have a default or be a required property")  # fmt: skip
    elif keys:
        yield forbidden((*at, "x-kubernetes-list-map-keys"),
                        "must not be specified unless x-kubernetes-list-type is map")  # fmt: skip
    if kind not in (None, "map", "set", "atomic"):
        listed = '"atomic", "map", "set"'
        here = (*at, "x-kubernetes-list-type")
        yield error(here, "NotSupported", kind, f"supported values: {listed}")


def _metadata(schema: Any, at: Location) -> Iterator[FieldError]:
    """Only name and generateName may be restricted."""
    if not isinstance(schema, Mapping):
        return
    extra = set(schema) - {"type", "description", "properties"}
    other = set(schema.get("properties") or {}) - {"name", "generateName"}
    if extra or other:
        named = sorted(extra | other)[0]
        text = f"must not specify anything other than name and generateName, but {named} is set"
        yield forbidden(at, text)


def _default(schema: Raw, at: Location) -> Iterator[FieldError]:
    here = (*at, "default")
    value = schema["default"]
    bare = {k: v for k, v in schema.items() if k != "default"}
    for found in values.errors_of(bare, defaulted(bare, copy.deepcopy(value))):
        yield error(here, "Invalid", value, found.message)
    kept, unknown = pruned(bare, value)
    if unknown and kept != value:
        yield error(here, "Invalid", value, f"must not have unknown fields: {unknown[0].path}")


def _in_junctor(schema: Raw, at: Location, int_or_string: bool) -> Iterator[FieldError]:
    for name in _NOT_IN_JUNCTORS:
        if schema.get(name):
            yield forbidden((*at, name), f"{name} is not allowed inside {at[-1]} or {at[-2]}"
                            if isinstance(at[-1], int) else "must not be set here")  # fmt: skip
    if "type" in schema and not (int_or_string and _is_int_or_string(schema)):
        yield forbidden((*at, "type"), "must be empty to be structural")
    for name, below in (schema.get("properties") or {}).items():
        if isinstance(below, Mapping):
            yield from _in_junctor(below, (*at, "properties", name), bool(below.get(INT_OR_STRING)))
    if isinstance(schema.get("items"), Mapping):
        yield from _in_junctor(schema["items"], (*at, "items"), False)
    for junctor, index, part in _parts(schema):
        here = (*at, junctor) if index is None else (*at, junctor, index)
        yield from _in_junctor(part, here, int_or_string)
    yield from _plain_rules(schema, at)


def _is_int_or_string(schema: Raw) -> bool:
    return schema in _INT_OR_STRING_FORM
