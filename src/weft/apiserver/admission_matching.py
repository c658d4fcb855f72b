"""Which writes an admission policy or webhook is asked about, and how they are put to it. Pure.

Source: admissionregistration.k8s.io/v1 (rules, selectors, matchPolicy) and admission.k8s.io/v1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from weft.api.kinds import Kind
from weft.api.selectors import matches_selector
from weft.apiserver import codec
from weft.apiserver.access import Review

Json = Mapping[str, Any]
GROUP = "admissionregistration.k8s.io"
_SUBRESOURCE_KINDS: Mapping[str, tuple[str, str, str]] = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
"""Subresources whose bodies are of another kind than their object."""


class Matched(Struct, frozen=True):
    """That something is asked, and the version in which the object is put to it."""

    version: str


def exempt(asked: Review) -> bool:
    """What decides about writes is not itself decided about: nobody could mend it."""
    return asked.kind.group == GROUP


def matched(rules: Iterable[Json], policy: str, asked: Review) -> Matched | None:
    """The first rule that covers the write. `policy` `Exact` looks at the request's version only,
    `Equivalent` at every version of its kind."""
    kept = list(rules)
    own = asked.version or asked.kind.version
    versions = [own]
    if policy != "Exact":
        versions += [v for v in asked.kind.versions if v != own]
    for version in versions:
        if any(_covers(rule, version, asked) for rule in kept):
            return Matched(version)
    return None


def _covers(rule: Json, version: str, asked: Review) -> bool:
    kind = asked.kind
    if not _any_of(rule.get("operations"), asked.operation):
        return False
    if not _any_of(rule.get("apiGroups"), kind.group):
        return False
    if not _any_of(rule.get("apiVersions"), version):
        return False
    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") is not kind.namespaced:
        return False
    names = rule.get("resourceNames") or ()
    if names and asked.name not in names:
        return False
    return _resource(rule.get("resources") or (), kind.plural, asked.subresource)


def _any_of(listed: Any, value: str) -> bool:
    return any(item in ("*", value) for item in listed or ())


def _resource(listed: Iterable[str], plural: str, subresource: str) -> bool:
    for item in listed:
        resource, _, sub = item.partition("/")
        if resource in ("*", plural) and sub in (("*", subresource) if sub else (subresource,)):
            return True
    return False


def selects(holder: Json, asked: Review, namespace: Json | None) -> bool:
    """The two selectors of a webhook or of match resources. `namespace` is the namespace of the
    object, or the object itself when it is one."""
    wanted = holder.get("namespaceSelector")
    if wanted and (asked.namespace or _is_namespace(asked.kind)):
        labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
        if not matches_selector(wanted, labels):
            return False
    chosen = holder.get("objectSelector")
    if not chosen:
        return True
    both = (asked.new, asked.old)
    return any(o is not None and matches_selector(chosen, _labels(o)) for o in both)


def _labels(obj: Json) -> Json:
    metadata = obj.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return labels if isinstance(labels, Mapping) else {}


def _is_namespace(kind: Kind) -> bool:
    return kind.plural == "namespaces" and not kind.group


def covers(resources: Json, asked: Review, namespace: Json | None) -> Matched | None:
    """Of `matchConstraints` and `matchResources`."""
    policy = resources.get("matchPolicy") or "Equivalent"
    if not selects(resources, asked, namespace):
        return None
    if matched(resources.get("excludeResourceRules") or (), policy, asked) is not None:
        return None
    return matched(resources.get("resourceRules") or (), policy, asked)


def is_another_kind(asked: Review) -> bool:
    """Whether a subresource is an object of a kind of its own (a Scale)."""
    return asked.subresource in _SUBRESOURCE_KINDS


def shown(obj: Json | None, asked: Review, version: str) -> dict[str, Any] | None:
    """An object in the version in which it is put to policies and webhooks."""
    if obj is None or asked.subresource in _SUBRESOURCE_KINDS:
        return dict(obj) if obj is not None else None
    return {**obj, "apiVersion": codec.api_version(asked.kind, version), "kind": asked.kind.kind}


def request(asked: Review, version: str, uid: str) -> dict[str, Any]:
    """`request` of an AdmissionReview, without its objects."""
    kind = asked.kind
    group, kind_version, name = _SUBRESOURCE_KINDS.get(
        asked.subresource, (kind.group, version, kind.kind)
    )
    gvk = {"group": group, "version": kind_version, "kind": name}
    own = asked.version or kind.version
    requested = gvk if asked.subresource in _SUBRESOURCE_KINDS else {**gvk, "version": own}
    user = asked.user
    found: dict[str, Any] = {
        "uid": uid,
        "kind": gvk,
        "resource": {"group": kind.group, "version": version, "resource": kind.plural},
        "requestKind": requested,
        "requestResource": {"group": kind.group, "version": own, "resource": kind.plural},
        "name": asked.name,
        "operation": asked.operation,
        "userInfo": {
            "username": user.name,
            "groups": list(user.groups),
            **({"uid": user.uid} if user.uid else {}),
            **({"extra": {k: list(v) for k, v in user.extra.items()}} if user.extra else {}),
        },
        "dryRun": asked.dry_run,
        "options": _options(asked),
    }
    if asked.namespace:
        found["namespace"] = asked.namespace
    elif _is_namespace(kind):
        found["namespace"] = asked.name
    if asked.subresource:
        found["subResource"] = found["requestSubResource"] = asked.subresource
    return found


def _options(asked: Review) -> dict[str, Any] | None:
    if asked.operation == "CONNECT":
        return None
    found: dict[str, Any] = {
        "kind": f"{asked.operation.capitalize()}Options",
        "apiVersion": "meta.k8s.io/v1",
    }
    return found | ({"dryRun": ["All"]} if asked.dry_run else {})


def shown_plain(kind: Kind, value: bytes, api_version: str = "") -> dict[str, Any]:
    """A stored object as expressions see it."""
    found = codec.to_object(value)
    return found | {"apiVersion": api_version or codec.api_version(kind), "kind": kind.kind}
