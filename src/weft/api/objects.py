"""Between JSON of objects and typed values. Values are frozen; JSON is what the store keeps."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from weft.api import registry

T = TypeVar("T", bound=Struct)

# Fields whose struct default is an empty message, so that readers need no None checks; writing
# them out as `{}` would say nothing.
_ALWAYS_PRESENT = ("metadata", "spec", "status", "template")
_NESTED = (dict, list, tuple)


@cache
def _decoder(cls: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(cls)


def decode(cls: type[T], data: bytes | str | Mapping[str, Any]) -> T:
    """The typed value of an object's JSON. Fields the type does not know are ignored.

    An explicit `null` means absent, as in Kubernetes. Raises msgspec.ValidationError, with the
    path, when a field has the wrong type: validate user input first (weft.api.validation).
    """
    found: T
    try:
        if isinstance(data, bytes | str):
            found = _decoder(cls).decode(data)
        else:
            found = msgspec.convert(data, cls)
    except msgspec.ValidationError:
        plain = msgspec.json.decode(data) if isinstance(data, bytes | str) else data
        found = msgspec.convert(without_nulls(plain), cls)
    return found


def without_nulls(value: Any) -> Any:
    """The same JSON without map entries that are null."""
    if isinstance(value, str):  # most of what there is
        return value
    if isinstance(value, Mapping):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(v) for v in value]
    return value


def to_json(obj: Struct) -> dict[str, Any]:
    """The object as JSON types, with apiVersion and kind, without empty fields.

    Raises KeyError for a struct that is no top-level kind.
    """
    kind = registry.kind_for(type(obj))
    body: dict[str, Any] = _tidy(msgspec.to_builtins(obj, builtin_types=()))
    rest = {k: v for k, v in body.items() if k not in ("apiVersion", "kind")}
    return {"apiVersion": body.get("apiVersion") or kind.api_version, "kind": kind.kind} | rest


def key_of(obj: Struct | Mapping[str, Any]) -> tuple[str, str]:
    """(namespace, name); namespace is "" for cluster-scoped objects."""
    if isinstance(obj, Mapping):
        found = obj.get("metadata") or {}
        return str(found.get("namespace") or ""), str(found.get("name") or "")
    meta: Any = obj.metadata  # type: ignore[attr-defined]
    return meta.namespace, meta.name


def _tidy(value: Any) -> Any:
    if isinstance(value, dict):
        tidied = {}
        for key, inner in value.items():
            kept = _tidy(inner) if isinstance(inner, _NESTED) else inner
            if kept != {} or key not in _ALWAYS_PRESENT:
                tidied[key] = kept
        return tidied
    return [_tidy(v) if isinstance(v, _NESTED) else v for v in value]
