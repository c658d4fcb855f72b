"""Metadata of any object: names, labels, annotations, owners, and what may never change."""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required, too_long
from weft.api.kinds import Kind
from weft.api.validate import names

ANNOTATIONS_BYTES_MAX = 256 * 1024
_AT: Location = ("metadata",)
_NAME_RULES: dict[str, Callable[[str], str]] = {
    "Service": names.label_1035_problem,
    "Namespace": names.label_problem,
}
# Made of others' names, so almost any path segment will do.
_ANY_SEGMENT = {"Event", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
IMMUTABLE = "field is immutable"


def validate(kind: Kind, obj: Mapping[str, Any]) -> list[FieldError]:
    metadata = obj.get("metadata") or {}
    errors = _name(kind, metadata)
    namespace = metadata.get("namespace") or ""
    if kind.namespaced and namespace and (problem := names.label_problem(namespace)):
        errors.append(invalid((*_AT, "namespace"), namespace, problem))
    if not kind.namespaced and namespace:
        errors.append(forbidden((*_AT, "namespace"), "not allowed on this type"))
    errors += texts_of("labels", metadata.get("labels") or {})
    errors += texts_of("annotations", metadata.get("annotations") or {})
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        if problem := names.qualified_name_problem(finalizer):
            errors.append(invalid((*_AT, "finalizers", index), finalizer, problem))
    return errors + _owners(metadata.get("ownerReferences") or ())


def texts_of(field: str, texts: Mapping[str, Any]) -> list[FieldError]:
    """Of metadata.labels or metadata.annotations."""
    return names.labels(texts, (*_AT, "labels")) if field == "labels" else _annotations(texts)


def _name(kind: Kind, metadata: Mapping[str, Any]) -> list[FieldError]:
    name = metadata.get("name") or ""
    if not name:
        if metadata.get("generateName"):
            return []
        return [required((*_AT, "name"), "name or generateName is required")]
    if kind.kind in _ANY_SEGMENT and kind.definition is None:
        bad = name in (".", "..") or "/" in name or "%" in name
        return [invalid((*_AT, "name"), name, "may not contain '/' or '%'")] if bad else []
    rule = names.subdomain_problem if kind.group else _NAME_RULES.get(kind.kind)
    problem = (rule or names.subdomain_problem)(name)
    return [invalid((*_AT, "name"), name, problem)] if problem else []


def _annotations(annotations: Mapping[str, Any]) -> list[FieldError]:
    at = (*_AT, "annotations")
    errors = [
        invalid(at, key, problem)
        for key in annotations
        if (problem := names.qualified_name_problem(key.lower()))
    ]
    size = sum(len(key) + len(value or "") for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES_MAX:
        errors.append(too_long(at, ANNOTATIONS_BYTES_MAX))
    return errors


def _owners(owners: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    controllers = [owner for owner in owners if owner.get("controller")]
    for index, owner in enumerate(owners):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                at = (*_AT, "ownerReferences", index, key)
                errors.append(invalid(at, owner.get(key) or "", "must not be empty"))
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true"
        errors.append(invalid((*_AT, "ownerReferences"), controllers, text))
    return errors


def validate_update(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("name", "namespace", "uid", "creationTimestamp"):
        errors += immutable(new.get("metadata") or {}, old.get("metadata") or {}, _AT, key)
    return errors


def immutable(
    new: Mapping[str, Any], old: Mapping[str, Any], at: Location, *keys: str
) -> list[FieldError]:
    """An error for every key whose value differs."""
    return [
        invalid((*at, key), new.get(key), IMMUTABLE)
        for key in keys
        if (new.get(key) or None) != (old.get(key) or None)
    ]
