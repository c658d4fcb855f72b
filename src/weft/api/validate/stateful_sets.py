"""StatefulSets, DaemonSets and their ControllerRevisions."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.validate import names, pods
from weft.api.validate.metadata import immutable
from weft.api.validate.workloads import int_or_percent, selector_of

Json = Mapping[str, Any]

_SPEC: Location = ("spec",)
_TEMPLATE: Location = ("spec", "template")
_POD: Location = ("spec", "template", "spec")
_CHANGEABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
UPDATE_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


def validate_stateful_set(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = names.not_negative(spec, _SPEC, "replicas", "minReadySeconds", "revisionHistoryLimit")
    errors += names.not_negative(spec.get("ordinals") or {}, (*_SPEC, "ordinals"), "start")
    errors += _update_strategy(spec.get("updateStrategy") or {})
    errors += selector_of(spec)
    errors += pods.template(_with_claims(spec), _TEMPLATE)
    pod = (spec.get("template") or {}).get("spec") or {}
    errors += pods.restart_policy(pod, _POD, ("Always",))
    if pod.get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in StatefulSet is not Supported"
        errors.append(forbidden((*_POD, "activeDeadlineSeconds"), text))
    return errors + names.unique(
        ((*_SPEC, "volumeClaimTemplates", index, "metadata", "name"), name)
        for index, name in enumerate(_claims(spec))
    )


def _claims(spec: Json) -> list[str]:
    found = spec.get("volumeClaimTemplates") or ()
    return [str((claim.get("metadata") or {}).get("name") or "") for claim in found]


def _with_claims(spec: Json) -> Json:
    """The pod template with a volume per claim template, as the controller will make pods."""
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    claimed = set(_claims(spec))
    own = [v for v in pod.get("volumes") or () if v.get("name") not in claimed]
    added = [{"name": name, "emptyDir": {}} for name in sorted(claimed) if name]
    return {**template, "spec": {**pod, "volumes": [*own, *added]}}


def _update_strategy(strategy: Json) -> list[FieldError]:
    at: Location = (*_SPEC, "updateStrategy")
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return []
    here: Location = (*at, "rollingUpdate")
    if strategy.get("type") == "OnDelete":
        text = "only allowed for updateStrategy 'RollingUpdate'"
        return [invalid(here, rolling, text)]
    errors = names.not_negative(rolling, here, "partition")
    unavailable = rolling.get("maxUnavailable")
    errors += int_or_percent(unavailable, (*here, "maxUnavailable"))
    if unavailable in (0, "0%"):
        errors.append(invalid((*here, "maxUnavailable"), unavailable, "cannot be 0"))
    return errors


def validate_stateful_set_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    fixed = {key for key in (*spec, *before) if key not in _CHANGEABLE}
    if any((spec.get(key) or None) != (before.get(key) or None) for key in fixed):
        return [forbidden(_SPEC, UPDATE_FORBIDDEN)]
    return []


def validate_daemon_set(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = names.not_negative(spec, _SPEC, "minReadySeconds", "revisionHistoryLimit")
    errors += selector_of(spec)
    errors += pods.template(spec.get("template") or {}, _TEMPLATE)
    pod = (spec.get("template") or {}).get("spec") or {}
    errors += pods.restart_policy(pod, _POD, ("Always",))
    if pod.get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in DaemonSet is not Supported"
        errors.append(forbidden((*_POD, "activeDeadlineSeconds"), text))
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "RollingUpdate":
        errors += _rolling_daemons(strategy.get("rollingUpdate") or {})
    return errors


def _rolling_daemons(rolling: Json) -> list[FieldError]:
    """Exactly one of the two numbers is above zero."""
    at: Location = (*_SPEC, "updateStrategy", "rollingUpdate")
    surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
    errors = int_or_percent(unavailable, (*at, "maxUnavailable"))
    errors += int_or_percent(surge, (*at, "maxSurge"))
    if errors:
        return errors
    for key, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        if isinstance(value, str) and int(value[:-1]) > 100:
            errors.append(invalid((*at, key), value, "must not be greater than 100%"))
    none = (0, "0%", None)
    if surge in none and unavailable in none:
        text = "cannot be 0 when maxSurge is 0"
        errors.append(invalid((*at, "maxUnavailable"), unavailable, text))
    elif surge not in none and unavailable not in none:
        text = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid((*at, "maxSurge"), surge, text))
    return errors


def validate_controller_revision(obj: Json) -> list[FieldError]:
    errors = names.not_negative(obj, (), "revision")
    return errors if obj.get("data") is not None else [*errors, required(("data",))]


def validate_controller_revision_update(new: Json, old: Json) -> list[FieldError]:
    return immutable(new, old, (), "data")
