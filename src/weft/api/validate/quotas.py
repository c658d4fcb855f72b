"""ResourceQuotas. Source: Kubernetes' validation of core/v1."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, invalid, not_supported, required
from weft.api.validate import names
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]
_AT: Location = ("spec",)
_SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating",
    "PriorityClass", "Terminating", "VolumeAttributesClass",
)  # fmt: skip
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_WHOLE = frozenset({
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
    "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
})  # fmt: skip
_AMOUNTS = frozenset({
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
    "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
})  # fmt: skip
_OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")


def validate(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    for name, value in (spec.get("hard") or {}).items():
        errors += _hard(name, value, (*_AT, "hard", name))
    errors += _scopes(spec.get("scopes") or (), (*_AT, "scopes"))
    for index, item in enumerate((spec.get("scopeSelector") or {}).get("matchExpressions") or ()):
        errors += _expression(item, (*_AT, "scopeSelector", "matchExpressions", index))
    return errors


def _hard(name: str, value: Any, at: Location) -> list[FieldError]:
    if problem := names.qualified_name_problem(name):
        return [invalid(at, name, problem)]
    known = name in _WHOLE or name in _AMOUNTS or "hugepages-" in name
    if "/" not in name and not known:
        return [invalid(at, name, "must be a standard resource for quota")]
    wrong = names.quantity(value, at)
    if wrong:
        return wrong
    amount = parse_quantity(value)
    if amount < 0:
        return [invalid(at, value, "must be greater than or equal to 0")]
    whole = name in _WHOLE or name.startswith("count/")
    if whole and amount != amount.to_integral_value():
        return [invalid(at, value, "must be an integer")]
    return []


def _scopes(scopes: Any, at: Location) -> list[FieldError]:
    errors: list[FieldError] = [
        invalid((*at, index), scope, "unsupported scope")
        for index, scope in enumerate(scopes)
        if scope not in _SCOPES
    ]
    if any(pair <= set(scopes) for pair in _OPPOSITES):
        errors.append(invalid(at, list(scopes), "conflicting scopes"))
    return errors


def _expression(item: Json, at: Location) -> list[FieldError]:
    scope, operator = item.get("scopeName") or "", item.get("operator") or ""
    values = item.get("values") or ()
    if scope not in _SCOPES:
        return [invalid((*at, "scopeName"), scope, "unsupported scope")]
    if operator not in _OPERATORS:
        return [not_supported((*at, "operator"), operator, _OPERATORS)]
    if scope not in ("PriorityClass", "VolumeAttributesClass") and operator != "Exists":
        text = f"must be 'Exist' when scope is any of {', '.join(_SCOPES)}"
        return [invalid((*at, "operator"), operator, text)]
    if operator in ("In", "NotIn") and not values:
        text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        return [required((*at, "values"), text)]
    if operator in ("Exists", "DoesNotExist") and values:
        text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        return [invalid((*at, "values"), list(values), text)]
    return []


def validate_update(new: Json, old: Json) -> list[FieldError]:
    """Scopes may not change: what is used was counted within them."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if set(before.get("scopes") or ()) != set(after.get("scopes") or ()):
        return [invalid((*_AT, "scopes"), after.get("scopes"), "field is immutable")]
    return []
