"""Lists as kubectl prints them: meta.k8s.io/v1 Tables. Pure."""

from collections.abc import Iterable
from typing import Any, Literal

import orjson

from weft.api import registry
from weft.api.columns import Column, cells, columns
from weft.api.conversions import conversion
from weft.api.kinds import Kind
from weft.apiserver import codec, custom
from weft.lib.timefmt import age, parse_rfc3339

SCALE = (
    Column("Name", format="name"),
    Column("Desired", "integer"),
    Column("Available", "integer"),
    Column("Age"),
)
"""Columns of the subresource scale."""
UNKNOWN = "<unknown>"
IncludeObject = Literal["None", "Metadata", "Object"]


def partial(served: dict[str, Any]) -> dict[str, Any]:
    """An object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": served["metadata"],
    }


def row(
    kind: Kind, version: str, served: bytes, now: float, include: IncludeObject
) -> dict[str, Any]:
    """One object's row."""
    obj = codec.loads(served)
    if kind.definition is not None:
        shown = custom.version_of(kind, version).cells(obj, now)
    elif view := conversion(kind):
        shown = cells(registry.stored(kind), view.to_stored(obj), now)
    else:
        shown = cells(kind, obj, now)
    found: dict[str, Any] = {"cells": list(shown)}
    if include == "Object":
        found["object"] = obj
    elif include == "Metadata":
        found["object"] = partial(obj)
    return found


def _heads(kind: Kind, version: str) -> list[dict[str, Any]]:
    own = kind.definition is not None
    found = custom.version_of(kind, version).table() if own else columns(registry.stored(kind))
    return [column.to_json() for column in found]


def table(
    kind: Kind,
    version: str,
    items: Iterable[bytes],
    now: float,
    include: IncludeObject,
    *,
    metadata: dict[str, Any],
    headers: bool = True,
) -> bytes:
    """A Table of served objects. Later events of a watch leave the headers out."""
    body = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": _heads(kind, version) if headers else None,
        "rows": [row(kind, version, item, now, include) for item in items],
    }
    return orjson.dumps(body)


def scale_table(
    served: bytes, now: float, include: IncludeObject, *, metadata: dict[str, Any]
) -> bytes:
    """A Table of one autoscaling/v1 Scale."""
    obj = codec.loads(served)
    desired = (obj.get("spec") or {}).get("replicas", 0)
    available = (obj.get("status") or {}).get("replicas", 0)
    created = obj["metadata"].get("creationTimestamp", "")
    shown_age = age(now - parse_rfc3339(created)) if created else UNKNOWN
    found: dict[str, Any] = {"cells": [obj["metadata"]["name"], desired, available, shown_age]}
    if include != "None":
        found["object"] = obj if include == "Object" else partial(obj)
    body = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.to_json() for column in SCALE],
        "rows": [found],
    }
    return orjson.dumps(body)


def partial_list(items: Iterable[bytes], metadata: dict[str, Any]) -> bytes:
    """A PartialObjectMetadataList of served objects."""
    body = {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "items": [partial(codec.loads(item)) for item in items],
    }
    return orjson.dumps(body)
