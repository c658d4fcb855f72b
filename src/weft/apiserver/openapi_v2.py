"""OpenAPI v2, as protobuf and as JSON. kubectl before 1.29 reads it always, later ones for
`kind: List`.

The messages are those of gnostic's OpenAPIv2.proto (Apache-2.0), encoded from its field numbers.
Only what clients read is there: definitions, and of each kind the PATCH with its parameters.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from weft.api import schema
from weft.api.kinds import Kind
from weft.apiserver.catalog import Catalog
from weft.apiserver.discovery import CATALOGS_KEPT_MAX

CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V3_REFERENCE = "#/components/schemas/"
_GVK = "x-kubernetes-group-version-kind"
_UNKNOWN_KEPT = "x-kubernetes-preserve-unknown-fields"
PATCH_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")
LIST_PARAMETERS = {
    "labelSelector": ("string", "Restricts the list of returned objects by their labels."),
    "fieldSelector": ("string", "Restricts the list of returned objects by their fields."),
    "limit": ("integer", "How many objects an answer may have; the rest follows by `continue`."),
    "continue": ("string", "Where the list goes on, as the answer before it said."),
    "resourceVersion": ("string", "The state to list, or the one to watch from."),
    "watch": ("boolean", "Watch for changes to the described resources, one event per line."),
}
"""Only the JSON document names them: no client reads them from the other."""


@lru_cache(maxsize=CATALOGS_KEPT_MAX)
def json_document(catalog: Catalog) -> tuple[bytes, str]:
    """The same as JSON (Swagger 2.0), for tools that know no newer form; and its hash."""
    body = orjson.dumps(
        {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1.33.0"},
            "paths": {
                path: operations
                for kind in catalog.kinds
                for version in kind.versions
                for path, operations in _operations(kind, version)
            },
            "parameters": {
                name: {"name": name, "in": "query", "type": form, "description": text}
                for name, (form, text) in LIST_PARAMETERS.items()
            },
            "definitions": {k: _swagger(v) for k, v in sorted(_definitions(catalog).items())},
        }
    )
    return body, hashlib.sha256(body).hexdigest()[:32].upper()


def _definitions(catalog: Catalog) -> dict[str, Any]:
    found = dict(schema.common_components())
    for kind in catalog.kinds:
        for version in kind.versions:
            made = schema.components(kind, version)
            found |= made if kind.definition is None else {k: _open(v) for k, v in made.items()}
    return found


def _open(raw: Any) -> Any:
    """A custom kind's schema in which what takes unknown fields names none: kubectl would refuse
    all others."""
    if isinstance(raw, list):
        return [_open(item) for item in raw]
    if not isinstance(raw, Mapping):
        return raw
    shut = ("properties", "items") if raw.get(_UNKNOWN_KEPT) else ()
    return {key: _open(value) for key, value in raw.items() if key not in shut}


def _operations(kind: Kind, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths of a kind and what may be done there."""
    path = _where(kind, version)
    yield path, {"patch": _patch_operation(kind, version)}
    if not kind.verbs or "list" in kind.verbs:
        known = [{"$ref": f"#/parameters/{name}"} for name in LIST_PARAMETERS]
        operation = _patch_operation(kind, version) | {"parameters": known}
        yield path.removesuffix("/{name}"), {"get": operation | {"x-kubernetes-action": "list"}}


def _patch_operation(kind: Kind, version: str) -> dict[str, Any]:
    query = [{"name": n, "in": "query", "type": "string"} for n in PATCH_PARAMETERS]
    return {"parameters": query, "responses": {"200": {"description": "OK"}}, _GVK: {
        "group": kind.group, "version": version, "kind": kind.kind,
    }}  # fmt: skip


def _swagger(raw: Any) -> Any:
    """A schema of OpenAPI v3 in the words of v2, which knows neither `oneOf` nor `nullable`."""
    if isinstance(raw, list):
        return [_swagger(item) for item in raw]
    if not isinstance(raw, Mapping):
        return raw
    one = raw.get("allOf")
    reference = one[0].get("$ref") if isinstance(one, list) and len(one) == 1 else None
    reference = reference or raw.get("$ref")
    if isinstance(reference, str):
        found: dict[str, Any] = {k: raw[k] for k in ("description",) if k in raw}
        return found | {"$ref": "#/definitions/" + reference.removeprefix(_V3_REFERENCE)}
    left_out = ("oneOf", "anyOf", "nullable")
    found = {key: _swagger(value) for key, value in raw.items() if key not in left_out}
    return {"type": "string", **found} if "oneOf" in raw or "anyOf" in raw else found


@lru_cache(maxsize=CATALOGS_KEPT_MAX)
def document(catalog: Catalog) -> tuple[bytes, str]:
    """The encoded document and its hash. Takes some tens of milliseconds, once."""
    definitions = _definitions(catalog)
    paths = [_path(kind, version) for kind in catalog.kinds for version in kind.versions]
    named = (_named(name, _schema(definition)) for name, definition in sorted(definitions.items()))
    body = (
        _text(1, "2.0")
        + _message(2, _text(1, "Kubernetes") + _text(2, "v1.33.0"))
        + _message(8, b"".join(paths))
        + _message(9, b"".join(named))
    )
    return body, hashlib.sha256(body).hexdigest()[:32].upper()


def _where(kind: Kind, version: str) -> str:
    root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"{root}{scope}/{kind.plural}/{{name}}"


def _path(kind: Kind, version: str) -> bytes:
    gvk = {"group": kind.group, "version": version, "kind": kind.kind}
    parameters = b"".join(_message(8, _query_parameter(name)) for name in PATCH_PARAMETERS)
    operation = parameters + _message(13, _named_any(_GVK, gvk))
    item = _message(8, operation)
    return _message(2, _text(1, _where(kind, version)) + _message(2, item))


def _query_parameter(name: str) -> bytes:
    query = _text(2, "query") + _text(4, name) + _text(6, "string")
    return _message(1, _message(2, _message(3, query)))


def _schema(raw: Mapping[str, Any]) -> bytes:
    found = b""
    reference = raw.get("$ref")
    if reference is None and len(raw.get("allOf", ())) == 1:
        reference = raw["allOf"][0].get("$ref")
    if reference is not None:
        found += _text(1, "#/definitions/" + reference.removeprefix(_V3_REFERENCE))
    for number, key in ((2, "format"), (4, "description")):
        if key in raw:
            found += _text(number, raw[key])
    if "default" in raw:
        found += _message(5, _any(raw["default"]))
    for number, key in ((7, "maximum"), (9, "minimum")):
        if key in raw:
            found += _varint(number << 3 | 1) + struct.pack("<d", raw[key])
    found += b"".join(_text(19, name) for name in raw.get("required", ()))
    found += b"".join(_message(20, _any(value)) for value in raw.get("enum", ()))
    extra = raw.get("additionalProperties")
    if isinstance(extra, Mapping):
        found += _message(21, _message(1, _schema(extra)))
    if "type" in raw:
        found += _message(22, _text(1, raw["type"]))
    if "items" in raw:
        found += _message(23, _message(1, _schema(raw["items"])))
    if "properties" in raw:
        inner = (_named(name, _schema(value)) for name, value in raw["properties"].items())
        found += _message(25, b"".join(inner))
    extensions = (item for item in raw.items() if item[0].startswith("x-"))
    return found + b"".join(_message(31, _named_any(key, value)) for key, value in extensions)


def _named(name: str, value: bytes) -> bytes:
    """An element of a map of schemas (field 1 of its message)."""
    return _message(1, _text(1, name) + _message(2, value))


def _named_any(name: str, value: Any) -> bytes:
    return _text(1, name) + _message(2, _any(value))


def _any(value: Any) -> bytes:
    """JSON is YAML."""
    return _text(2, orjson.dumps(value).decode())


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
