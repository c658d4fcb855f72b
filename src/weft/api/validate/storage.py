"""PersistentVolumes, their claims, and StorageClasses."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import (
    FieldError,
    Location,
    forbidden,
    invalid,
    not_supported,
    required,
)
from weft.api.validate import names
from weft.api.validate.metadata import immutable
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]

_SPEC: Location = ("spec",)
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_NOT_SOURCES = {
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity",
    "persistentVolumeReclaimPolicy", "storageClassName", "volumeAttributesClassName", "volumeMode",
}  # fmt: skip
CLAIM_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)
VOLUME_IMMUTABLE = "spec.persistentvolumesource is immutable after creation"


def _access_modes(spec: Json) -> list[FieldError]:
    at: Location = (*_SPEC, "accessModes")
    modes = spec.get("accessModes") or ()
    if not modes:
        return [required(at, "at least 1 access mode is required")]
    errors = [not_supported(at, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        errors.append(forbidden(at, text))
    return errors


def _amount(value: Any, at: Location) -> list[FieldError]:
    if errors := names.quantity(value, at):
        return errors
    return (
        [] if parse_quantity(value) > 0 else [invalid(at, str(value), "must be greater than zero")]
    )


def _sources(spec: Json) -> dict[str, Any]:
    return {k: v for k, v in spec.items() if k not in _NOT_SOURCES and v is not None}


def validate_volume(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _access_modes(spec)
    capacity = spec.get("capacity") or {}
    at: Location = (*_SPEC, "capacity")
    if not capacity:
        errors.append(required(at))
    elif set(capacity) != {"storage"}:
        errors.append(not_supported(at, sorted(capacity), ("storage",)))
    else:
        errors += _amount(capacity["storage"], (*at, "storage"))
    sources = _sources(spec)
    if not sources:
        errors.append(required(_SPEC, "must specify a volume type"))
    for name in list(sources)[1:]:
        errors.append(forbidden((*_SPEC, name), "may not specify more than 1 volume type"))
    if "local" in sources and not spec.get("nodeAffinity"):
        text = "Local volume requires node affinity"
        errors.append(required(("metadata", "annotations"), text, "set `spec.nodeAffinity`"))
    for name in ("local", "hostPath"):
        if name in sources and not sources[name].get("path"):
            errors.append(required((*_SPEC, name, "path")))
        if name in sources and ".." in str(sources[name].get("path") or "").split("/"):
            text = "must not contain '..'"
            errors.append(invalid((*_SPEC, name, "path"), sources[name]["path"], text))
    return errors + _class_name(spec)


def _class_name(spec: Json) -> list[FieldError]:
    name = spec.get("storageClassName") or ""
    problem = names.subdomain_problem(name) if name else ""
    return [invalid((*_SPEC, "storageClassName"), name, problem)] if problem else []


def validate_volume_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors: list[FieldError] = []
    if _sources(spec) != _sources(before):
        errors.append(forbidden((*_SPEC, "persistentvolumesource"), VOLUME_IMMUTABLE))
    if before.get("nodeAffinity"):
        errors += immutable(spec, before, _SPEC, "nodeAffinity")
    return errors + immutable(spec, before, _SPEC, "volumeMode")


def validate_claim(obj: Json) -> list[FieldError]:
    return claim_spec(obj.get("spec") or {})


def claim_spec(spec: Json) -> list[FieldError]:
    """A claim's spec; locations begin at `spec`."""
    errors = names.label_selector(spec.get("selector"), (*_SPEC, "selector"))
    errors += _access_modes(spec)
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at: Location = (*_SPEC, "resources", "storage")
    if asked is None:
        errors.append(required(at, suggestion="set `spec.resources.requests.storage`"))
    else:
        errors += _amount(asked, at)
    return errors + _class_name(spec)


def validate_claim_update(new: Json, old: Json) -> list[FieldError]:
    """A binder may fill in the volume, a default the class; a bound claim may ask for more."""
    spec, before = dict(new.get("spec") or {}), dict(old.get("spec") or {})
    status = old.get("status") or {}
    errors: list[FieldError] = []
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    had = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    bound = status.get("phase") == "Bound"
    if bound and asked is not None and had is not None:
        errors += _not_less(asked, had, (status.get("capacity") or {}).get("storage"))
    free = {"resources", "volumeAttributesClassName"} if bound else set()
    for key in ("volumeName", "storageClassName"):
        if not before.get(key):
            free.add(key)
    fixed = {key for key in (*spec, *before) if key not in free}
    if any((spec.get(key) or None) != (before.get(key) or None) for key in fixed):
        errors.append(forbidden(_SPEC, CLAIM_IMMUTABLE))
    return errors


def _not_less(asked: Any, had: Any, have: Any) -> list[FieldError]:
    """A request may grow, and shrink back to more than what is there (after a failed growth)."""
    at: Location = (*_SPEC, "resources", "requests", "storage")
    try:
        wanted, before = parse_quantity(asked), parse_quantity(had)
        present = parse_quantity(have) if have is not None else before
    except ValueError:
        return []
    if wanted < before and wanted <= present:
        return [forbidden(at, "field can not be less than status.capacity")]
    return []


def validate_class(obj: Json) -> list[FieldError]:
    provisioner = obj.get("provisioner") or ""
    if not provisioner:
        return [required(("provisioner",))]
    problem = names.qualified_name_problem(provisioner.lower())
    return [invalid(("provisioner",), provisioner, problem)] if problem else []


def validate_class_update(new: Json, old: Json) -> list[FieldError]:
    errors = [
        forbidden((key,), f"updates to {key} are forbidden.")
        for key in ("parameters", "provisioner", "reclaimPolicy")
        if (new.get(key) or None) != (old.get(key) or None)
    ]
    return errors + immutable(new, old, (), "volumeBindingMode")
