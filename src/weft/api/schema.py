"""Schemas of kinds: what fields there are, their types, how lists of them merge.

Compiled from the packaged OpenAPI definitions. `schema_for` gives a tree to walk next to an
object; `components` gives OpenAPI v3 documents for the API server to publish.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

from msgspec import Struct, structs

from weft.api.kinds import QUESTION, Kind
from weft.api.packaged import definitions

Type = Literal[
    "object", "map", "array", "string", "integer", "number", "boolean", "quantity",
    "int-or-string", "any",
]  # fmt: skip
Step = str | int
"""One step of a location in an object: a field or map key, or a list index."""

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_GROUP_PREFIX = {
    "": "io.k8s.api.core",
    "apps": "io.k8s.api.apps",
    "batch": "io.k8s.api.batch",
    "discovery.k8s.io": "io.k8s.api.discovery",
    "rbac.authorization.k8s.io": "io.k8s.api.rbac",
    "authorization.k8s.io": "io.k8s.api.authorization",
    "authentication.k8s.io": "io.k8s.api.authentication",
    "coordination.k8s.io": "io.k8s.api.coordination",
    "admissionregistration.k8s.io": "io.k8s.api.admissionregistration",
    "scheduling.k8s.io": "io.k8s.api.scheduling",
    "certificates.k8s.io": "io.k8s.api.certificates",
    "autoscaling": "io.k8s.api.autoscaling",
    "policy": "io.k8s.api.policy",
    "networking.k8s.io": "io.k8s.api.networking",
    "storage.k8s.io": "io.k8s.api.storage",
    "node.k8s.io": "io.k8s.api.node",
    "events.k8s.io": "io.k8s.api.events",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "metrics.k8s.io": "io.k8s.metrics.pkg.apis.metrics",
    "networking.istio.io": "io.istio.networking",
    "security.istio.io": "io.istio.security",
    "telemetry.istio.io": "io.istio.telemetry",
    "gateway.networking.k8s.io": "io.k8s.networking.gateway",
    "policy.weft.dev": "dev.weft.policy",
    "monitoring.weft.dev": "dev.weft.monitoring",
    "queue.weft.dev": "dev.weft.queue",
    "argoproj.io": "io.argoproj",
    "kueue.x-k8s.io": "io.x-k8s.kueue",
    "flagger.app": "app.flagger",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
}


class Schema(Struct, frozen=True, eq=False):
    """What may stand in one place of an object.

    `object` has named `fields`; `map` has any keys and `values`; `array` has `items`. Every
    field may also be null, which means absent.
    """

    type: Type
    name: str = ""
    """The definition's name; empty for inline schemas."""
    description: str = ""
    fields: Mapping[str, "Schema"] = {}
    values: "Schema | None" = None
    items: "Schema | None" = None
    required: tuple[str, ...] = ()
    enum: tuple[str, ...] = ()
    format: str = ""
    """e.g. `int32`, `date-time`, `byte`; Istio's also `duration` and `regex`."""
    minimum: float | None = None
    maximum: float | None = None
    default: Any = None
    list_type: str = ""
    """`atomic`, `set`, `map` or empty (x-kubernetes-list-type)."""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    """`atomic`, `granular` or empty."""
    patch_strategies: tuple[str, ...] = ()
    """Of strategic merge patches: `merge`, `replace`, `retainKeys`."""
    patch_merge_key: str = ""

    def child(self, step: Step) -> "Schema | None":
        """The schema one step down; None when there is no such field."""
        if isinstance(step, int):
            return self.items
        return self.fields.get(step, self.values)


_UNTYPED = Schema("any")


def definition_name(kind: Kind, version: str = "") -> str:
    """The OpenAPI definition of a kind, e.g. `io.k8s.api.apps.v1.Deployment`."""
    if kind.definition is not None:
        reversed_group = ".".join(reversed(kind.group.split(".")))
        return f"{reversed_group}.{version or kind.versions[0]}.{kind.kind}"
    return f"{_GROUP_PREFIX[kind.group]}.{version or kind.version}.{kind.kind}"


def schema_for(kind: Kind, version: str = "") -> Schema:
    """The schema of a kind, all references resolved. Built once, in about a millisecond. Custom
    kinds have one per version."""
    if kind.definition is not None:
        found: Schema = kind.definition.version(version or kind.versions[0]).schema
        return found
    return _built_in(kind)


@cache
def _built_in(kind: Kind) -> Schema:
    return definition(definition_name(kind))


@cache
def definition(name: str) -> Schema:
    """The schema of a definition. Raises KeyError when there is none."""
    return _compile(definitions()[name], name)


def at(schema: Schema, steps: Iterable[Step]) -> Schema | None:
    """The schema at a location, e.g. `("spec", "containers", 0, "ports")`."""
    found: Schema | None = schema
    for step in steps:
        if found is None:
            return None
        found = found.child(step)
    return found


def _compile(raw: Mapping[str, Any], name: str = "") -> Schema:
    base = definition(raw["$ref"]) if "$ref" in raw else _bare(raw, name)
    if not name and "description" in raw:
        base = structs.replace(base, description=raw["description"])
    changes: dict[str, Any] = {}
    if "x-kubernetes-patch-strategy" in raw:
        changes["patch_strategies"] = tuple(raw["x-kubernetes-patch-strategy"].split(","))
    for key, attribute in (
        ("x-kubernetes-patch-merge-key", "patch_merge_key"),
        ("x-kubernetes-list-type", "list_type"),
        ("x-kubernetes-map-type", "map_type"),
        ("default", "default"),
    ):
        if key in raw:
            changes[attribute] = raw[key]
    if "x-kubernetes-list-map-keys" in raw:
        changes["list_map_keys"] = tuple(raw["x-kubernetes-list-map-keys"])
    return structs.replace(base, **changes) if changes else base


def _bare(raw: Mapping[str, Any], name: str) -> Schema:
    """Without what a field adds to its definition. The definitions have no cycles."""
    kind = raw.get("type", "object")
    form = raw.get("format", "")
    if form in ("quantity", "int-or-string"):
        return Schema(form, name, raw.get("description", ""), format=form)
    if kind == "array":
        return Schema("array", name, items=_compile(raw["items"]))
    if kind == "object":
        return _object(raw, name)
    return Schema(
        kind,
        name,
        raw.get("description", ""),
        enum=tuple(raw.get("enum", ())),
        format=form,
        minimum=raw.get("minimum"),
        maximum=raw.get("maximum"),
    )


def _object(raw: Mapping[str, Any], name: str) -> Schema:
    if "properties" in raw:
        fields = {field: _compile(value) for field, value in raw["properties"].items()}
        required = tuple(raw.get("required", ()))
        return Schema("object", name, raw.get("description", ""), fields, required=required)
    values = raw.get("additionalProperties")
    if isinstance(values, dict):
        return Schema("map", name, raw.get("description", ""), values=_compile(values))
    return _UNTYPED


# ------------------------------------------------------------------ OpenAPI v3


def components(kind: Kind, version: str = "") -> dict[str, Any]:
    """`components.schemas` for one kind: its definition, its list's, and all that they mention."""
    if kind.definition is not None:
        return _custom_components(kind, version or kind.versions[0])
    name = definition_name(kind)
    found = _closure((name,) if kind.verbs == QUESTION else (name, f"{name}List"))
    if not version or version == kind.version:
        return found
    prefix = f"{_GROUP_PREFIX[kind.group]}.{kind.version}."
    renamed = f"{_GROUP_PREFIX[kind.group]}.{version}."
    return {
        key.replace(prefix, renamed): _rename(value, prefix, renamed, version)
        for key, value in found.items()
    }


def _custom_components(kind: Kind, version: str) -> dict[str, Any]:
    """As Kubernetes publishes them: the schema as written, with the fields that all have."""
    name = definition_name(kind, version)
    raw = kind.definition.version(version).raw
    gvk = {"group": kind.group, "version": version, "kind": kind.kind}
    head = {
        "apiVersion": {"type": "string", "description": "The version of the API."},
        "kind": {"type": "string", "description": "The kind of the object."},
        "metadata": _reference(f"{_META}.ObjectMeta", "Standard metadata of objects."),
    }
    model = {**raw, "type": "object", "properties": {**(raw.get("properties") or {}), **head}}
    model["x-kubernetes-group-version-kind"] = [gvk]
    items = {"type": "array", "items": _reference(name, ""), "description": "The objects."}
    metadata = _reference(f"{_META}.ListMeta", "About the list.")
    listed = {
        "description": f"{kind.list_kind} is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {**head, "metadata": metadata, "items": items},
        "x-kubernetes-group-version-kind": [gvk | {"kind": kind.list_kind}],
    }
    prefix = name.rpartition(".")[0]
    metas = _closure((f"{_META}.ObjectMeta", f"{_META}.ListMeta"))
    return {name: model, f"{prefix}.{kind.list_kind}": listed} | metas


def _reference(name: str, description: str) -> dict[str, Any]:
    found: dict[str, Any] = {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}
    return found | ({"description": description} if description else {})


def common_components() -> dict[str, Any]:
    """Definitions that every document needs: DeleteOptions, Status, WatchEvent."""
    return _closure(f"{_META}.{name}" for name in ("DeleteOptions", "Status", "WatchEvent"))


def component(name: str) -> dict[str, Any]:
    """One definition (such as `io.k8s.api.autoscaling.v1.Scale`) with all that it mentions."""
    return _closure((name,))


def _closure(names: Iterable[str]) -> dict[str, Any]:
    todo = list(names)
    found: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = _open_api(definitions()[name])
            todo += _mentioned(definitions()[name])
    return dict(sorted(found.items()))


def _mentioned(raw: Any) -> list[str]:
    if isinstance(raw, dict):
        own = [raw["$ref"]] if isinstance(raw.get("$ref"), str) else []
        return own + [name for value in raw.values() for name in _mentioned(value)]
    if isinstance(raw, list):
        return [name for value in raw for name in _mentioned(value)]
    return []


def _open_api(raw: Any) -> Any:
    """OpenAPI 3.0 allows no siblings of $ref, so a described reference becomes an allOf."""
    if isinstance(raw, list):
        return [_open_api(value) for value in raw]
    if not isinstance(raw, dict):
        return raw
    made = {key: _open_api(value) for key, value in raw.items()}
    ref = raw.get("$ref")
    if not isinstance(ref, str):
        return made
    link = {"$ref": f"#/components/schemas/{ref}"}
    return {"allOf": [link]} | {k: v for k, v in made.items() if k != "$ref"}


def _rename(raw: Any, old: str, new: str, version: str) -> Any:
    if isinstance(raw, list):
        return [_rename(value, old, new, version) for value in raw]
    if isinstance(raw, dict):
        made = {key: _rename(value, old, new, version) for key, value in raw.items()}
        for entry in made.get("x-kubernetes-group-version-kind", ()):
            entry["version"] = version
        return made
    return raw.replace(old, new) if isinstance(raw, str) else raw
