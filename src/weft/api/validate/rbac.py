"""Roles and bindings (rbac.authorization.k8s.io/v1)."""

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

Json = Mapping[str, Any]
GROUP = "rbac.authorization.k8s.io"


def validate_role(obj: Json) -> list[FieldError]:
    return _rules(obj, namespaced=True)


def validate_cluster_role(obj: Json) -> list[FieldError]:
    return _rules(obj, namespaced=False)


def _rules(obj: Json, *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(obj.get("rules") or ()):
        at: Location = ("rules", index)
        if not rule.get("verbs"):
            errors.append(required((*at, "verbs"), "verbs must contain at least one value"))
        if urls := rule.get("nonResourceURLs"):
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                errors.append(invalid((*at, "nonResourceURLs"), urls, text))
            if any(rule.get(k) for k in ("apiGroups", "resources", "resourceNames")):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(invalid((*at, "nonResourceURLs"), urls, text))
            continue
        if not rule.get("apiGroups"):
            text = "resource rules must supply at least one api group"
            errors.append(required((*at, "apiGroups"), text))
        if not rule.get("resources"):
            text = "resource rules must supply at least one resource"
            errors.append(required((*at, "resources"), text))
    return errors


def validate_role_binding(obj: Json) -> list[FieldError]:
    return _binding(obj, ("Role", "ClusterRole"), namespaced=True)


def validate_cluster_role_binding(obj: Json) -> list[FieldError]:
    return _binding(obj, ("ClusterRole",), namespaced=False)


def _binding(obj: Json, kinds: tuple[str, ...], *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    reference = obj.get("roleRef") or {}
    if (group := reference.get("apiGroup") or "") != GROUP:
        errors.append(not_supported(("roleRef", "apiGroup"), group, (GROUP,)))
    if (kind := reference.get("kind") or "") not in kinds:
        errors.append(not_supported(("roleRef", "kind"), kind, kinds))
    if not reference.get("name"):
        errors.append(required(("roleRef", "name")))
    for index, subject in enumerate(obj.get("subjects") or ()):
        errors += _subject(subject, ("subjects", index), namespaced=namespaced)
    return errors


def _subject(subject: Json, at: Location, *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, group = subject.get("kind") or "", subject.get("apiGroup") or ""
    if not subject.get("name"):
        errors.append(required((*at, "name")))
    if kind == "ServiceAccount":
        if group:
            errors.append(not_supported((*at, "apiGroup"), group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(required((*at, "namespace")))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.append(not_supported((*at, "apiGroup"), group, (GROUP,)))
        if subject.get("namespace"):
            errors.append(forbidden((*at, "namespace"), "only service accounts have one"))
    else:
        errors.append(not_supported((*at, "kind"), kind, ("ServiceAccount", "User", "Group")))
    return errors


def validate_binding_update(new: Json, old: Json) -> list[FieldError]:
    if new.get("roleRef") != old.get("roleRef"):
        return [invalid(("roleRef",), new.get("roleRef"), "cannot change roleRef")]
    return []
