"""A CustomResourceDefinition compiled for use: kind, versions, schemas, rules, columns. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.api.column_parts import since
from weft.api.columns import Column
from weft.api.crd import objects, rules, values
from weft.api.crd.jsonpath import fields, find
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.schema import Schema, definition

REVIEW_VERSIONS = ("v1", "v1beta1")
"""Of ConversionReview, that webhooks can be sent."""
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
Json = dict[str, Any]


class ScalePaths(Struct, frozen=True):
    """Where a custom object keeps what its /scale shows."""

    replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


class Version(Struct, frozen=True, eq=False):
    """One served version."""

    name: str
    raw: Mapping[str, Any]
    """The OpenAPI schema as written."""
    schema: Schema
    rules: rules.Rules | None
    columns: tuple[Mapping[str, Any], ...]
    selectable: frozenset[tuple[str, ...]]
    warning: str = ""
    """What clients of a deprecated version are told."""

    def pruned(self, obj: Json) -> tuple[Json, list[FieldError]]:
        """The object without unknown fields, and those."""
        return objects.pruned(self.raw, obj)

    def errors(self, new: Json, old: Mapping[str, Any] | None = None) -> list[FieldError]:
        """What breaks the schema, or, when nothing does, its rules."""
        found = values.errors_of(self.raw, new, old)
        return found or rules.errors_of(self.rules, new, old)

    def table(self) -> tuple[Column, ...]:
        """The columns of `kubectl get`."""
        name = Column("Name", format="name", description="Name must be unique within a namespace.")
        return (name, *(_column(raw) for raw in self.columns))

    def cells(self, obj: Mapping[str, Any], now: float) -> list[Any]:
        """One value per column."""
        name = (obj.get("metadata") or {}).get("name", "")
        return [name, *(_cell(raw, obj, now) for raw in self.columns)]


class Conversion(Struct, frozen=True, eq=False):
    """Who converts objects between versions: a webhook. Equal only to itself."""

    client: Mapping[str, Any]
    """Its clientConfig."""
    review_version: str
    """The version of ConversionReview that it is sent."""


class Definition(Struct, frozen=True, eq=False):
    """What an accepted CustomResourceDefinition serves. Equal only to itself."""

    name: str
    uid: str
    list_kind: str
    singular: str
    versions: Mapping[str, Version]
    status: frozenset[str]
    """Versions that have a /status."""
    scale: Mapping[str, ScalePaths]
    storage: Version
    """The version in which objects are stored; it may not be served."""
    conversion: Conversion | None = None
    """None: versions differ in nothing but their names."""
    terminating: bool = False

    def version(self, name: str) -> Version:
        return self.versions[name]


def kind_of(crd: Mapping[str, Any]) -> Kind:
    """The kind that a valid CustomResourceDefinition defines."""
    spec, metadata = crd["spec"], crd["metadata"]
    names, group = spec["names"], spec["group"]
    served = [v for v in spec["versions"] if v.get("served")]
    versions = {v["name"]: _version(v, group, names["kind"]) for v in served}
    status = frozenset(v["name"] for v in served if "status" in (v.get("subresources") or {}))
    scale = {v["name"]: paths for v in served if (paths := _scale(v)) is not None}
    stored = next(v for v in spec["versions"] if v.get("storage"))
    found = Definition(
        metadata["name"], metadata.get("uid", ""), list_kind_of(names), singular_of(names),
        versions, status, scale,
        versions.get(stored["name"]) or _version(stored, group, names["kind"]),
        conversion_of(spec), terminating=bool(metadata.get("deletionTimestamp")),
    )  # fmt: skip
    subresources = (("status",) if status else ()) + (("scale",) if scale else ())
    return Kind(
        group, stored["name"], names["kind"], names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=subresources,
        served_versions=tuple(sorted(versions, key=priority, reverse=True)),
        definition=found,
    )  # fmt: skip


def conversion_of(spec: Mapping[str, Any]) -> Conversion | None:
    """The webhook of a valid definition's `spec.conversion`."""
    found = spec.get("conversion") or {}
    if found.get("strategy") != "Webhook":
        return None
    webhook = found["webhook"]
    asked = webhook["conversionReviewVersions"]
    return Conversion(webhook["clientConfig"], next(v for v in asked if v in REVIEW_VERSIONS))


def list_kind_of(names: Mapping[str, Any]) -> str:
    return str(names.get("listKind") or f"{names['kind']}List")


def singular_of(names: Mapping[str, Any]) -> str:
    return str(names.get("singular") or names["kind"].lower())


_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def priority(version: str) -> tuple[int, int, int, tuple[int, ...]]:
    """The order of versions: v2, v1, v1beta2, v1alpha1, then others from a to z."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (0, 0, 0, tuple(-ord(c) for c in version))
    stage = {None: 3, "beta": 2, "alpha": 1}[found[2]]
    return (stage, int(found[1]), int(found[3] or 0), ())


def _version(raw: Mapping[str, Any], group: str, kind: str) -> Version:
    schema = (raw.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
    compiled, _ = rules.compile_rules(schema)
    warning = ""
    if raw.get("deprecated"):
        warning = raw.get("deprecationWarning") or f"{group}/{raw['name']} {kind} is deprecated"
    selectable = (fields(f["jsonPath"]) for f in raw.get("selectableFields") or ())
    return Version(
        raw["name"], schema, _root(schema), compiled,
        tuple(raw.get("additionalPrinterColumns") or (_AGE,)),
        frozenset(path for path in selectable if path), warning,
    )  # fmt: skip


_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since the object was created."}  # fmt: skip


def _scale(raw: Mapping[str, Any]) -> ScalePaths | None:
    found = (raw.get("subresources") or {}).get("scale")
    if not found:
        return None
    return ScalePaths(
        fields(found["specReplicasPath"]) or (),
        fields(found["statusReplicasPath"]) or (),
        fields(found["labelSelectorPath"]) or () if found.get("labelSelectorPath") else (),
    )


def _column(raw: Mapping[str, Any]) -> Column:
    return Column(
        raw["name"], raw.get("type", "string"), int(raw.get("priority") or 0),
        raw.get("format") or "", raw.get("description") or "",
    )  # fmt: skip


def _cell(raw: Mapping[str, Any], obj: Mapping[str, Any], now: float) -> Any:
    found = find(raw["jsonPath"], obj)
    if not found or found[0] is None:
        return None
    value = found[0]
    match raw.get("type"):
        case "date":
            return since(value, now)
        case "integer" | "number" | "boolean":
            return value
    if len(found) > 1:
        return ",".join(str(v) for v in found)
    return value if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


# ------------------------------------------------------------------ as a tree to merge by


def _root(raw: Mapping[str, Any]) -> Schema:
    """Custom objects have the same metadata as all."""
    found = _tree(raw)
    text = Schema("string")
    head = {"apiVersion": text, "kind": text, "metadata": definition(f"{_META}.ObjectMeta")}
    return Schema(
        "object", description=found.description, fields={**found.fields, **head},
        values=found.values,
    )  # fmt: skip


def _tree(raw: Mapping[str, Any]) -> Schema:
    about = raw.get("description") or ""
    if raw.get(objects.INT_OR_STRING):
        return Schema("int-or-string", description=about, default=raw.get("default"))
    match raw.get("type"):
        case "object":
            return _object(raw, about)
        case "array":
            items = raw.get("items")
            return Schema(
                "array", description=about,
                items=_tree(items) if isinstance(items, Mapping) else Schema("any"),
                list_type=raw.get("x-kubernetes-list-type") or "",
                list_map_keys=tuple(raw.get("x-kubernetes-list-map-keys") or ()),
            )  # fmt: skip
        case "string" | "integer" | "number" | "boolean" as kind:
            return Schema(
                kind, description=about, format=raw.get("format") or "", default=raw.get("default")
            )
    return Schema("any", description=about)


def _object(raw: Mapping[str, Any], about: str) -> Schema:
    known, extra = raw.get("properties") or {}, raw.get("additionalProperties")
    map_type = raw.get("x-kubernetes-map-type") or ""
    if isinstance(extra, Mapping):
        return Schema("map", description=about, values=_tree(extra), map_type=map_type)
    if not known:
        return Schema("any", description=about, map_type=map_type)
    keeps = raw.get(objects.PRESERVE)
    return Schema(
        "object", description=about,
        fields={name: _tree(sub) for name, sub in known.items()},
        values=Schema("any") if keeps else None,
        required=tuple(raw.get("required") or ()), map_type=map_type,
    )  # fmt: skip
