"""PriorityClasses. Source: Kubernetes' rules for scheduling.k8s.io/v1."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden
from weft.api.validate.metadata import immutable
from weft.api.wellknown import SYSTEM_PRIORITIES

USER_VALUE_MAX = 1_000_000_000
SYSTEM_PREFIX = "system-"
_ROOT: Location = ()


def validate(obj: Mapping[str, Any]) -> list[FieldError]:
    name = (obj.get("metadata") or {}).get("name") or ""
    value = obj.get("value") or 0
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_PRIORITIES.get(name) != value:
            text = "priority class names with 'system-' prefix are reserved for system use only"
            return [forbidden(("metadata", "name"), text)]
        return []
    if value > USER_VALUE_MAX:
        text = f"maximum allowed value of a user defined priority is {USER_VALUE_MAX}"
        return [forbidden(("value",), text)]
    return []


def validate_update(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    errors = immutable(new, old, _ROOT, "preemptionPolicy")
    if (new.get("value") or 0) != (old.get("value") or 0):
        text = "may not be changed in an update."
        errors.append(forbidden(("value",), text))
    return errors
