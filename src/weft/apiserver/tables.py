"""Lists as kubectl prints them: meta.k8s.io/v1 Tables. Pure."""

from collections.abc import Iterable
from typing import Any, Literal

import orjson

from weft.api.kinds import Kind
from weft.apiserver import codec, printing

IncludeObject = Literal["None", "Metadata", "Object"]


def column_definitions(kind: Kind) -> list[dict[str, Any]]:
    """The columns' names, types and priorities (1: only in wide output)."""
    return [
        {
            "name": c.name,
            "type": c.type,
            "format": c.format,
            "description": c.description,
            "priority": c.priority,
        }
        for c in printing.columns(kind)
    ]


def partial(served: dict[str, Any]) -> dict[str, Any]:
    """An object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": served["metadata"],
    }


def row(kind: Kind, served: bytes, now: float, include: IncludeObject) -> dict[str, Any]:
    """One object's row."""
    obj = codec.loads(served)
    found: dict[str, Any] = {"cells": list(printing.cells(kind, obj, now))}
    if include == "Object":
        found["object"] = obj
    elif include == "Metadata":
        found["object"] = partial(obj)
    return found


def table(
    kind: Kind,
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
        "columnDefinitions": column_definitions(kind) if headers else None,
        "rows": [row(kind, item, now, include) for item in items],
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
