"""LimitRanges."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, not_supported
from weft.api.validate import names
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]
_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


def validate_limit_range(obj: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        at: Location = ("spec", "limits", index)
        if (kind := item.get("type") or "") not in _TYPES:
            errors.append(not_supported((*at, "type"), kind, _TYPES))
        sides = ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")
        wrong = [
            error
            for side in sides
            for name, value in (item.get(side) or {}).items()
            for error in names.quantity(value, (*at, side, name))
        ]
        errors += wrong or _order(item, at, kind)
    return errors


def _order(item: Json, at: Location, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "Pod":
        for side in ("default", "defaultRequest"):
            if item.get(side):
                errors.append(forbidden((*at, side), "may not be specified when `type` is 'Pod'"))
    steps = (("min", "max"), ("min", "defaultRequest"), ("defaultRequest", "default"),
             ("default", "max"), ("min", "default"), ("defaultRequest", "max"))  # fmt: skip
    for low, high in steps:
        for name, value in (item.get(low) or {}).items():
            above = (item.get(high) or {}).get(name)
            if above is not None and parse_quantity(value) > parse_quantity(above):
                text = f"{low} value {value} is greater than {high} value {above}"
                errors.append(invalid((*at, low, name), value, text))
    return errors
