"""Pruning and defaulting of custom objects by their structural schema. Pure.

Source: the documentation of CustomResourceDefinitions (specifying a structural schema, field
pruning, defaulting).
"""

import copy
from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, error
from weft.api.suggest import nearest

Raw = Mapping[str, Any]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EMBEDDED = "x-kubernetes-embedded-resource"
HEAD = ("apiVersion", "kind", "metadata")


def pruned(schema: Raw, value: Any) -> tuple[Any, list[FieldError]]:
    """A copy without the fields that the schema does not know, and each of those as an error."""
    unknown: list[FieldError] = []
    return _prune(schema, value, (), unknown, root=True), unknown


def _prune(
    schema: Raw, value: Any, at: Location, unknown: list[FieldError], *, root: bool = False
) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, Mapping):
            return copy.deepcopy(value)
        return [_prune(items, item, (*at, index), unknown) for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    known = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    keeps = schema.get(PRESERVE) is True or (not known and _untyped(schema))
    kept = {}
    for name, item in value.items():
        here = (*at, name)
        if name in HEAD and (root or schema.get(EMBEDDED)):
            kept[name] = copy.deepcopy(item)
        elif name in known:
            kept[name] = _prune(known[name], item, here, unknown)
        elif isinstance(extra, Mapping):
            kept[name] = _prune(extra, item, here, unknown)
        elif keeps or extra is True:
            kept[name] = copy.deepcopy(item)
        else:
            near = nearest(str(name), known)
            hint = f"did you mean `{near}`?" if near else ""
            unknown.append(error(here, "Unknown", None, "", hint))
    return kept


def _untyped(schema: Raw) -> bool:
    return bool(schema.get(INT_OR_STRING)) or "type" not in schema


def defaulted(schema: Raw, value: Any) -> Any:
    """Fill in absent fields; changes and returns `value`. A null that may not be counts as
    absent where there is a default."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            for item in value:
                defaulted(items, item)
        return value
    if not isinstance(value, dict):
        return value
    known = schema.get("properties") or {}
    for name, below in known.items():
        if "default" in below:
            null = name in value and value[name] is None and not below.get("nullable")
            if name not in value or null:
                value[name] = copy.deepcopy(below["default"])
        if name in value:
            defaulted(below, value[name])
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        for name, item in value.items():
            if name not in known:
                defaulted(extra, item)
    return value
