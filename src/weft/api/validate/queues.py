"""Rules of Queues beyond their schema."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, forbidden, invalid
from weft.api.validate import names
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]
COHORT_CHARS_MAX = 63


def validate(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    for field in ("quota", "borrowingLimit"):
        for name, value in (spec.get(field) or {}).items():
            at = ("spec", field, name)
            if problem := names.qualified_name_problem(name):
                errors.append(invalid(at, name, problem))
            elif wrong := names.quantity(value, at):
                errors += wrong
            elif parse_quantity(value) < 0:
                errors.append(invalid(at, value, "must be greater than or equal to 0"))
            elif field == "borrowingLimit" and name not in (spec.get("quota") or {}):
                text = "limits what is borrowed above a quota: give one in `quota` as well"
                errors.append(forbidden(at, text))
    if spec.get("borrowingLimit") and not spec.get("cohort"):
        text = "has no effect without `cohort`: there is nobody to borrow of"
        errors.append(forbidden(("spec", "borrowingLimit"), text))
    cohort = spec.get("cohort") or ""
    if len(cohort) > COHORT_CHARS_MAX:
        text = f"must be no more than {COHORT_CHARS_MAX} characters"
        errors.append(invalid(("spec", "cohort"), cohort, text))
    return errors
