"""CustomResourceDefinitions themselves: defaults, validation, names that collide, status. Pure.

Source: the documentation of the apiextensions.k8s.io/v1 API and of its conditions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from weft.api import registry
from weft.api.crd import jsonpath, rules, structural
from weft.api.crd.definition import REVIEW_VERSIONS, list_kind_of, singular_of
from weft.api.field_errors import FieldError, Location, error, invalid, required
from weft.api.kinds import Kind
from weft.api.validate.admission import client_config
from weft.api.validate.names import label_1035_problem, subdomain_problem
from weft.lib.timefmt import rfc3339

Json = dict[str, Any]
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
HTTPS_PORT = 443
_SPEC: Location = ("spec",)
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


def default(crd: Json) -> None:
    """Fill in names and the conversion."""
    spec = crd.get("spec")
    if not isinstance(spec, dict):
        return
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        names.setdefault("singular", singular_of(names))
        names.setdefault("listKind", list_kind_of(names))
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    webhook = conversion.get("webhook") if isinstance(conversion, dict) else None
    service = ((webhook or {}).get("clientConfig") or {}).get("service")
    if isinstance(service, dict):
        service.setdefault("port", HTTPS_PORT)


# ------------------------------------------------------------------ validation


def errors_of(crd: Mapping[str, Any]) -> list[FieldError]:
    """Everything wrong with a defaulted CustomResourceDefinition of a valid shape."""
    spec = crd.get("spec") or {}
    return [*_names(crd, spec), *_versions(spec)]


def changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """What an update may not change, or leave out."""
    found = list(_changes(new.get("spec") or {}, old.get("spec") or {}))
    return found or _stored_versions(new)


def _names(crd: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[FieldError]:
    names, group = spec.get("names") or {}, spec.get("group") or ""
    name = (crd.get("metadata") or {}).get("name") or ""
    wanted = f"{names.get('plural') or ''}.{group}"
    if name != wanted:
        text = f'must be spec.names.plural+"."+spec.group (`{wanted}`)'
        yield invalid(("metadata", "name"), name, text)
    if problem := subdomain_problem(group):
        yield invalid((*_SPEC, "group"), group, problem)
    elif "." not in group:
        yield invalid((*_SPEC, "group"), group, "should be a domain with at least one dot")
    for field in ("plural", "singular"):
        if problem := label_1035_problem(names.get(field) or ""):
            yield invalid((*_SPEC, "names", field), names.get(field) or "", problem)
    for field in ("kind", "listKind"):
        text = names.get(field) or ""
        if problem := label_1035_problem(text.lower()):
            yield invalid((*_SPEC, "names", field), text, f"may have mixed case, but {problem}")
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid((*_SPEC, "names", "listKind"), names["listKind"],
                      "kind and listKind may not be the same")  # fmt: skip
    for field in ("shortNames", "categories"):
        for index, text in enumerate(names.get(field) or ()):
            if problem := label_1035_problem(text):
                yield invalid((*_SPEC, "names", field, index), text, problem)
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        listed = 'supported values: "Cluster", "Namespaced"'
        yield error((*_SPEC, "scope"), "NotSupported", spec.get("scope") or "", listed)
    if spec.get("preserveUnknownFields"):
        yield invalid((*_SPEC, "preserveUnknownFields"), True, "cannot set to true, set "
                      "x-kubernetes-preserve-unknown-fields to true in "
                      "spec.versions[*].schema instead")  # fmt: skip
    yield from _conversion(spec.get("conversion") or {}, (*_SPEC, "conversion"))


def _conversion(conversion: Mapping[str, Any], at: Location) -> Iterator[FieldError]:
    strategy, webhook = conversion.get("strategy"), conversion.get("webhook")
    if strategy == "None":
        if webhook:
            text = "should not be set when strategy is not set to Webhook"
            yield error((*at, "webhook"), "Forbidden", None, text)
        return
    if strategy != "Webhook":
        listed = 'supported values: "None", "Webhook"'
        yield error((*at, "strategy"), "NotSupported", strategy or "", listed)
        return
    if not webhook:
        yield required((*at, "webhook"), "required when strategy is set to Webhook")
        return
    if not webhook.get("clientConfig"):
        text = "required when strategy is set to Webhook"
        yield required((*at, "webhook", "clientConfig"), text)
    else:
        yield from client_config(webhook["clientConfig"], (*at, "webhook", "clientConfig"))
    yield from _review_versions(
        webhook.get("conversionReviewVersions") or (), (*at, "webhook", "conversionReviewVersions")
    )


def _review_versions(versions: Sequence[str], at: Location) -> Iterator[FieldError]:
    if not versions:
        yield required(at)
        return
    for index, version in enumerate(versions):
        if problem := label_1035_problem(version):
            yield invalid((*at, index), version, problem)
        elif version in versions[:index]:
            yield invalid((*at, index), version, "duplicate version")
    if not any(version in REVIEW_VERSIONS for version in versions):
        listed = ", ".join(REVIEW_VERSIONS)
        yield invalid(at, list(versions), f"must include at least one of {listed}")


def _versions(spec: Mapping[str, Any]) -> Iterator[FieldError]:
    versions = spec.get("versions") or ()
    if not versions:
        yield required((*_SPEC, "versions"), "must have at least one version")
        return
    for name, count in Counter(v.get("name") for v in versions).items():
        if count > 1:
            yield invalid((*_SPEC, "versions"), name, "must contain unique version names")
    if sum(bool(v.get("storage")) for v in versions) != 1:
        named = [v.get("name") for v in versions]
        yield invalid((*_SPEC, "versions"), named,
                      "must have exactly one version marked as storage version")  # fmt: skip
    for index, version in enumerate(versions):
        at = (*_SPEC, "versions", index)
        if problem := label_1035_problem(version.get("name") or ""):
            yield invalid((*at, "name"), version.get("name") or "", problem)
        yield from _version(version, at)


def _version(version: Mapping[str, Any], at: Location) -> Iterator[FieldError]:
    place = (*at, "schema", "openAPIV3Schema")
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    found = structural.errors_of(schema, place)
    yield from found
    if isinstance(schema, Mapping) and not found:
        for wrong in rules.compile_rules(schema)[1]:
            yield error((*place, *wrong.at), wrong.kind, wrong.value, wrong.detail)
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column(column, (*at, "additionalPrinterColumns", index))
    scale = (version.get("subresources") or {}).get("scale")
    if scale:
        here = (*at, "subresources", "scale")
        for field, root in (("specReplicasPath", "spec"), ("statusReplicasPath", "status")):
            yield from _scale_path(scale, (*here, field), root)
    for index, selectable in enumerate(version.get("selectableFields") or ()):
        path = selectable.get("jsonPath") or ""
        yield from _path(path, (*at, "selectableFields", index, "jsonPath"), plain=True)


def _column(column: Mapping[str, Any], at: Location) -> Iterator[FieldError]:
    if not column.get("name"):
        yield required((*at, "name"))
    if column.get("type") not in _COLUMN_TYPES:
        listed = ", ".join(f'"{name}"' for name in _COLUMN_TYPES)
        text = f"supported values: {listed}"
        yield error((*at, "type"), "NotSupported", column.get("type") or "", text)
    yield from _path(column.get("jsonPath") or "", (*at, "jsonPath"))


def _scale_path(scale: Mapping[str, Any], at: Location, root: str) -> Iterator[FieldError]:
    path = scale.get(str(at[-1])) or ""
    if path and not path.startswith(f".{root}."):
        yield invalid(at, path, f"should be a json path under .{root}")
        return
    yield from _path(path, at, plain=True)


def _path(text: str, at: Location, plain: bool = False) -> Iterator[FieldError]:
    if not text:
        yield required(at)
        return
    try:
        fields = jsonpath.fields(text)
        if plain and fields is None:
            yield invalid(at, text, "must be a simple json path of fields")
    except ValueError as found:
        yield invalid(at, text, str(found))


def _changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[FieldError]:
    for field in ("group", "scope"):
        if new.get(field) != old.get(field):
            yield invalid((*_SPEC, field), new.get(field), "field is immutable")
    for field in ("plural", "kind"):
        before, after = (s.get("names") or {} for s in (old, new))
        if after.get(field) != before.get(field):
            where = (*_SPEC, "names", field)
            yield invalid(where, after.get(field), "field is immutable")


def _stored_versions(crd: Mapping[str, Any]) -> list[FieldError]:
    """A version that objects may be stored in must stay in the list."""
    names = [v.get("name") for v in crd["spec"].get("versions") or ()]
    return [
        invalid(("status", "storedVersions", index), stored, "must appear in spec.versions")
        for index, stored in enumerate((crd.get("status") or {}).get("storedVersions") or ())
        if stored not in names
    ]


# ------------------------------------------------------------------ status


def built_in(crd: Mapping[str, Any]) -> Kind | None:
    """The kind of weft's own that a definition names; it stays in force."""
    spec = crd["spec"]
    group, names = spec["group"], spec["names"]
    return next(
        (k for k in registry.KINDS
         if k.group == group and names["plural"] == k.plural), None,
    )  # fmt: skip


def built_in_warning(kind: Kind) -> str:
    """What the author of a definition of such a kind is told."""
    return (
        f"weft serves {kind.plural}.{kind.group} itself: this definition is kept so that tools "
        f"find it, but weft's own schema and versions ({', '.join(kind.versions)}) stay in force"
    )


def status_of(crd: Mapping[str, Any], others: Iterable[Mapping[str, Any]], now: float) -> Json:
    """Names that were accepted, conditions and stored versions, among the other definitions."""
    before = crd.get("status") or {}
    problem = _collision(crd, others)
    own = built_in(crd)
    accepted = ("NoConflicts", "no conflicts found")
    established = ("InitialNamesAccepted", "the initial names have been accepted")
    if own is not None:
        established = ("ServedByWeft", built_in_warning(own))
    wanted = [
        _condition("NamesAccepted", not problem, problem or accepted),
        _condition(
            "Established", not problem,
            ("NotAccepted", "not all names are accepted") if problem else established,
        ),
    ]  # fmt: skip
    if (crd.get("metadata") or {}).get("deletionTimestamp"):
        text = "CustomResource deletion is in progress"
        wanted.append(_condition("Terminating", True, ("InstanceDeletionInProgress", text)))
    stored = list(before.get("storedVersions") or ())
    current = next(v["name"] for v in crd["spec"]["versions"] if v.get("storage"))
    if current not in stored:
        stored.append(current)
    names = crd["spec"]["names"] if not problem else before.get("acceptedNames")
    return {
        "conditions": [_dated(c, before, now) for c in wanted],
        "acceptedNames": names or {"plural": "", "kind": ""},
        "storedVersions": stored,
    }


def is_established(crd: Mapping[str, Any]) -> bool:
    """Whether the definition's names were accepted."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _condition(kind: str, holds: bool, why: tuple[str, str]) -> Json:
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": why[0], "message": why[1]}


def _dated(condition: Json, before: Mapping[str, Any], now: float) -> Json:
    same = next(
        (c for c in before.get("conditions") or ()
         if c["type"] == condition["type"] and c["status"] == condition["status"]), None,
    )  # fmt: skip
    since = same.get("lastTransitionTime") if same else None
    return {"lastTransitionTime": since or rfc3339(now)} | condition


def _collision(
    crd: Mapping[str, Any], others: Iterable[Mapping[str, Any]]
) -> tuple[str, str] | None:
    """Names that another accepted definition of the group, or weft itself, has already."""
    spec = crd["spec"]
    mine = crd["metadata"]["name"]
    taken_kinds: dict[str, str] = {}
    taken_names: dict[str, str] = {}
    for kind in registry.KINDS:
        if kind.group == spec["group"] and f"{kind.plural}.{kind.group}" != mine:
            taken_kinds |= {kind.kind: mine, f"{kind.kind}List": mine}
            names = (kind.plural, kind.singular, *kind.short_names)
            taken_names |= dict.fromkeys(names, kind.plural)
    for other in others:
        if other["spec"]["group"] != spec["group"] or other["metadata"]["name"] == mine:
            continue
        if is_established(other):
            names = other["spec"]["names"]
            taken_kinds |= {names["kind"]: names["plural"], list_kind_of(names): names["plural"]}
            plain = (names["plural"], singular_of(names), *(names.get("shortNames") or ()))
            taken_names |= dict.fromkeys(plain, names["plural"])
    names = spec["names"]
    for field, reason in (("kind", "KindConflict"), ("listKind", "ListKindConflict")):
        if names.get(field) in taken_kinds:
            return reason, f'"{names[field]}" is already in use'
    for field, reason in (("plural", "PluralConflict"), ("singular", "SingularConflict")):
        if names.get(field) in taken_names:
            return reason, f'"{names[field]}" is already in use'
    for short in names.get("shortNames") or ():
        if short in taken_names:
            return "ShortNamesConflict", f'"{short}" is already in use'
    return None
