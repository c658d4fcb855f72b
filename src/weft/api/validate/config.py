"""ConfigMaps, Secrets, Events, Leases, Nodes."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import (
    FieldError,
    Location,
    duplicate,
    forbidden,
    invalid,
    required,
    too_long,
)
from weft.api.validate import names
from weft.api.validate.metadata import IMMUTABLE, immutable

Json = Mapping[str, Any]

DATA_BYTES_MAX = 1024 * 1024
_NEEDED_KEYS: dict[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _keys(obj: Json, *fields: str) -> list[FieldError]:
    return [
        invalid((field,), key, problem)
        for field in fields
        for key in obj.get(field) or {}
        if (problem := names.config_key_problem(key))
    ]


def _size(obj: Json, *fields: str) -> list[FieldError]:
    total = sum(len(v or "") for field in fields for v in (obj.get(field) or {}).values())
    if total <= DATA_BYTES_MAX:
        return []
    return [too_long((fields[0],), DATA_BYTES_MAX)]


def _base64(obj: Json, field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in (obj.get(field) or {}).items():
        try:
            base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError):
            hint = "plain text goes to `stringData`" if field == "data" else ""
            errors.append(invalid((field, key), "", "must be base64", hint))
    return errors


def validate_config_map(obj: Json) -> list[FieldError]:
    errors = _keys(obj, "data", "binaryData") + _base64(obj, "binaryData")
    both = set(obj.get("data") or {}) & set(obj.get("binaryData") or {})
    errors += [duplicate(("data", key), key) for key in sorted(both)]
    return errors + _size(obj, "data", "binaryData")


def validate_secret(obj: Json) -> list[FieldError]:
    """Also of manifests, whose `stringData` the server has not moved to `data` yet."""
    fields = ("data", "stringData")
    errors = _keys(obj, *fields) + _base64(obj, "data") + _size(obj, *fields)
    for key in _NEEDED_KEYS.get(obj.get("type") or "", ()):
        if not any(key in (obj.get(field) or {}) for field in fields):
            errors.append(required(("data", key)))
    return errors


def _data_update(new: Json, old: Json, *fields: str) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    errors = [] if new.get("immutable") else [forbidden(("immutable",), text)]
    changed = [f for f in fields if (new.get(f) or {}) != (old.get(f) or {})]
    return errors + [forbidden((field,), text) for field in changed]


def validate_config_map_update(new: Json, old: Json) -> list[FieldError]:
    return _data_update(new, old, "data", "binaryData")


def validate_secret_update(new: Json, old: Json) -> list[FieldError]:
    kind, before = new.get("type") or "Opaque", old.get("type") or "Opaque"
    errors = [] if kind == before else [invalid(("type",), kind, IMMUTABLE)]
    return errors + _data_update(new, old, "data")


def validate_event(obj: Json) -> list[FieldError]:
    involved = obj.get("involvedObject") or {}
    own = (obj.get("metadata") or {}).get("namespace") or ""
    other = involved.get("namespace") or ""
    if other and own and other != own:
        text = "does not match event.namespace"
        return [invalid(("involvedObject", "namespace"), other, text)]
    return []


def validate_lease(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        errors.append(invalid(("spec", "leaseDurationSeconds"), seconds, "must be greater than 0"))
    return errors + names.not_negative(spec, ("spec",), "leaseTransitions")


def validate_node(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    taints = spec.get("taints") or ()
    at: Location = ("spec", "taints")
    for index, taint in enumerate(taints):
        if problem := names.qualified_name_problem(taint.get("key") or ""):
            errors.append(invalid((*at, index, "key"), taint.get("key"), problem))
        if problem := names.label_value_problem(taint.get("value") or ""):
            errors.append(invalid((*at, index, "value"), taint["value"], problem))
    errors += names.unique(
        ((*at, i), (t.get("key"), t.get("effect"))) for i, t in enumerate(taints)
    )
    for side in ("capacity", "allocatable"):
        for name, amount in ((obj.get("status") or {}).get(side) or {}).items():
            errors += names.quantity(amount, ("status", side, name))
    return errors


def validate_node_update(new: Json, old: Json) -> list[FieldError]:
    before = old.get("spec") or {}
    fixed = [key for key in ("podCIDR", "providerID") if before.get(key)]
    return immutable(new.get("spec") or {}, before, ("spec",), *fixed)
