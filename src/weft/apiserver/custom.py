"""Custom resources in the verbs: what a definition says takes the place of built-in rules. Pure."""

from collections.abc import Mapping
from typing import Any

from weft.api import structure
from weft.api.crd import objects
from weft.api.crd.definition import ScalePaths, Version
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.objects import without_nulls
from weft.api.schema import definition
from weft.api.validate import metadata as metadata_rules

Json = dict[str, Any]
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SERVER_METADATA = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
)  # fmt: skip


def version_of(kind: Kind, version: str) -> Version:
    """A served version of a custom kind, or the stored one; any other name stands for the
    preferred one."""
    versions: Mapping[str, Version] = kind.definition.versions
    storage: Version = kind.definition.storage
    if version == storage.name:
        return storage
    return versions[version if version in versions else kind.versions[0]]


def decoded(kind: Kind, version: str, obj: Json) -> tuple[Json, list[FieldError]]:
    """The object pruned, and what is wrong with its metadata or unknown in it."""
    metadata = without_nulls(obj["metadata"])
    errors = structure.errors_below(definition(_OBJECT_META), metadata, ("metadata",))
    pruned, unknown = version_of(kind, version).pruned(obj)
    for error in errors:
        if error.kind == "Unknown" and len(error.at) == 2:
            metadata.pop(error.at[1], None)
    return {**pruned, "metadata": metadata}, [*errors, *unknown]


def defaulted(kind: Kind, version: str, obj: Json) -> Json:
    """Fill in absent fields; changes and returns `obj`."""
    found: Json = objects.defaulted(version_of(kind, version).raw, obj)
    return found


def _has_status(kind: Kind, version: str) -> bool:
    return version in kind.definition.status


def prepare_create(kind: Kind, version: str, obj: Json) -> Json:
    """A new object as it is stored: without a status of the client's, generation 1."""
    if _has_status(kind, version):
        obj.pop("status", None)
    obj["metadata"]["generation"] = 1
    return obj


def prepare_update(kind: Kind, version: str, new: Json, old: Mapping[str, Any]) -> Json:
    """A replacement: the server's metadata and, with a /status, the status stay."""
    for name in _SERVER_METADATA:
        _keep(new["metadata"], old["metadata"], name)
    ignored = {"apiVersion", "kind", "metadata"}
    if _has_status(kind, version):
        _keep(new, old, "status")
        ignored.add("status")
    if _without(new, ignored) != _without(old, ignored):
        new["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1
    return new


def prepare_status_update(new: Json, old: Mapping[str, Any]) -> Json:
    """An update of the status alone: everything else stays as it was."""
    kept = {k: v for k, v in old.items() if k != "status"}
    metadata = dict(old["metadata"])
    if revision := new["metadata"].get("resourceVersion"):
        metadata["resourceVersion"] = revision
    status = {"status": new["status"]} if "status" in new else {}
    return kept | {"metadata": metadata} | status


def _keep(new: Json, old: Mapping[str, Any], name: str) -> None:
    if old.get(name) is None:
        new.pop(name, None)
    else:
        new[name] = old[name]


def _without(obj: Mapping[str, Any], names: set[str]) -> Json:
    return {k: v for k, v in obj.items() if k not in names}


def errors_of(
    kind: Kind, version: str, new: Json, old: Mapping[str, Any] | None = None
) -> list[FieldError]:
    """Everything wrong with a defaulted object; `old` is its state before an update."""
    errors = metadata_rules.validate(kind, new)
    if old is not None:
        errors = metadata_rules.validate_update(new, old) + errors
    return errors + version_of(kind, version).errors(new, old)


# ------------------------------------------------------------------ scale


def scale_paths(kind: Kind, version: str) -> ScalePaths | None:
    """Where a custom kind keeps its scale; None for built-in kinds."""
    if kind.definition is None:
        return None
    found: ScalePaths | None = kind.definition.scale.get(version)
    return found


def value_at(obj: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path of fields; None when there is none."""
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def with_value(obj: Mapping[str, Any], path: tuple[str, ...], value: Any) -> Json:
    """The object with a value at a path of fields."""
    if not path:
        return dict(obj)
    head, *rest = path
    if not rest:
        return dict(obj) | {head: value}
    below = obj.get(head)
    inner = below if isinstance(below, Mapping) else {}
    return dict(obj) | {head: with_value(inner, tuple(rest), value)}
