"""HorizontalPodAutoscalers and PodDisruptionBudgets."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.validate import names
from weft.api.validate.workloads import int_or_percent
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]

_SPEC: Location = ("spec",)
STABILIZATION_SECONDS_MAX = 3600
PERIOD_SECONDS_MAX = 1800
_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
_POSITIVE = "must be greater than 0"


def validate_autoscaler(obj: Json) -> list[FieldError]:
    """Of autoscaling/v2."""
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas")
    errors: list[FieldError] = []
    scale_to_zero = any(m.get("type") in ("Object", "External") for m in spec.get("metrics") or ())
    if low is not None and low < (0 if scale_to_zero else 1):
        text = f"must be greater than or equal to {0 if scale_to_zero else 1}"
        errors.append(invalid((*_SPEC, "minReplicas"), low, text))
    if high is None or high < 1:
        errors.append(invalid((*_SPEC, "maxReplicas"), high or 0, _POSITIVE))
    elif low is not None and high < low:
        text = "must be greater than or equal to `minReplicas`"
        errors.append(invalid((*_SPEC, "maxReplicas"), high, text))
    errors += _reference(spec.get("scaleTargetRef") or {}, (*_SPEC, "scaleTargetRef"))
    for index, metric in enumerate(spec.get("metrics") or ()):
        errors += _metric(metric, (*_SPEC, "metrics", index))
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            errors += _rules(rules, (*_SPEC, "behavior", direction))
    return errors


def _reference(reference: Json, at: Location) -> list[FieldError]:
    return [required((*at, key)) for key in ("kind", "name") if not reference.get(key)]


def _metric(metric: Json, at: Location) -> list[FieldError]:
    kind = metric.get("type") or ""
    if not kind:
        return [required((*at, "type"), "must specify a metric source type")]
    given = [key for key in _SOURCES.values() if metric.get(key) is not None]
    wanted = _SOURCES.get(kind)
    if wanted is None:
        return []  # the schema names the types
    if not given:
        return [required((*at, wanted), "must populate information for the given metric source")]
    others = [key for key in given if key != wanted]
    if others:
        text = "must populate the given metric source only"
        return [forbidden((*at, key), text) for key in others]
    source = metric[wanted]
    here: Location = (*at, wanted)
    errors: list[FieldError] = []
    if kind in ("Resource", "ContainerResource") and not source.get("name"):
        errors.append(required((*here, "name"), "must specify a resource name"))
    if kind == "ContainerResource" and not source.get("container"):
        errors.append(required((*here, "container"), "must specify a container"))
    if kind in ("Pods", "Object", "External") and not (source.get("metric") or {}).get("name"):
        errors.append(required((*here, "metric", "name"), "must specify a metric name"))
    if kind == "Object":
        described: Location = (*here, "describedObject")
        errors += _reference(source.get("describedObject") or {}, described)
    return errors + _target(kind, source.get("target") or {}, (*here, "target"))


_TARGETS = {
    "Resource": ("averageUtilization", "averageValue"),
    "ContainerResource": ("averageUtilization", "averageValue"),
    "Pods": ("averageValue",),
    "Object": ("value", "averageValue"),
    "External": ("value", "averageValue"),
}


def _target(kind: str, target: Json, at: Location) -> list[FieldError]:
    """Exactly one amount, of those that the type of metric knows, above zero."""
    if not target.get("type"):
        return [required((*at, "type"), "must specify a metric target type")]
    allowed = _TARGETS[kind]
    given = [
        k for k in ("averageUtilization", "averageValue", "value") if target.get(k) is not None
    ]
    errors: list[FieldError] = [
        forbidden((*at, key), f"may not be set for metrics of type {kind}")
        for key in given
        if key not in allowed
    ]
    if not [key for key in given if key in allowed]:
        choice = " or ".join(allowed)
        return [*errors, required((*at, allowed[0]), f"must set either {choice}")]
    if "averageUtilization" in given and target["averageUtilization"] < 1:
        value = target["averageUtilization"]
        errors.append(invalid((*at, "averageUtilization"), value, _POSITIVE))
    for key in ("averageValue", "value"):
        if key in given:
            errors += _above_zero(target[key], (*at, key))
    return errors


def _above_zero(value: Any, at: Location) -> list[FieldError]:
    if errors := names.quantity(value, at):
        return errors
    return [] if parse_quantity(value) > 0 else [invalid(at, value, "must be positive")]


def _rules(rules: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and not 0 <= window <= STABILIZATION_SECONDS_MAX:
        here: Location = (*at, "stabilizationWindowSeconds")
        if window < 0:
            errors.append(invalid(here, window, "must be greater than or equal to zero"))
        else:
            text = f"must be less than or equal to {STABILIZATION_SECONDS_MAX}"
            errors.append(invalid(here, window, text))
    policies = rules.get("policies") or ()
    if not policies:
        errors.append(required((*at, "policies"), "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        place: Location = (*at, "policies", index)
        if (policy.get("value") or 0) <= 0:
            text = "must be greater than zero"
            errors.append(invalid((*place, "value"), policy.get("value") or 0, text))
        period = policy.get("periodSeconds") or 0
        if period <= 0:
            text = "must be greater than zero"
            errors.append(invalid((*place, "periodSeconds"), period, text))
        elif period > PERIOD_SECONDS_MAX:
            text = f"must be less than or equal to {PERIOD_SECONDS_MAX}"
            errors.append(invalid((*place, "periodSeconds"), period, text))
    return errors


def validate_disruption_budget(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        errors.append(invalid(_SPEC, dict(spec), text))
    for key in ("minAvailable", "maxUnavailable"):
        value = spec.get(key)
        found = int_or_percent(value, (*_SPEC, key))
        if not found and isinstance(value, str) and int(value[:-1]) > 100:
            found = [invalid((*_SPEC, key), value, "must not be greater than 100%")]
        errors += found
    return errors + names.label_selector(spec.get("selector"), (*_SPEC, "selector"))
