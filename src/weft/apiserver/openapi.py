"""OpenAPI documents: of v3 an index and one per group and version; each made when asked for."""

import hashlib
from functools import lru_cache
from typing import Any

import orjson
from msgspec import Struct

from weft.api import schema
from weft.api.kinds import MEASURED, QUESTION, Kind
from weft.apiserver import discovery, openapi_v2, patches
from weft.apiserver.catalog import Catalog
from weft.apiserver.request import subresources_of

JSON_TYPE = "application/json"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_SCALE = "io.k8s.api.autoscaling.v1.Scale"


class Document(Struct, frozen=True):
    """A document to send. `immutable` ones are named by their hash."""

    body: bytes
    etag: str
    content_type: str = JSON_TYPE
    immutable: bool = False


def document(
    catalog: Catalog, path: str, asked_hash: str = "", *, protobuf: bool = False
) -> Document | None:
    """`/openapi/v2` (in protobuf for those who take it), `/openapi/v3` and
    `/openapi/v3/<api/v1 or apis/group/version>`; None: no such document."""
    if path == "/openapi/v2" and not protobuf:
        return Document(*openapi_v2.json_document(catalog))
    if path == "/openapi/v2":
        body, digest = openapi_v2.document(catalog)
        return Document(body, digest, openapi_v2.CONTENT_TYPE)
    if path == "/openapi/v3":
        return Document(_index(catalog), _digest(_index(catalog)))
    if not path.startswith("/openapi/v3/"):
        return None
    found = _document(catalog, path.removeprefix("/openapi/v3/"))
    if found is None:
        return None
    body, digest = found
    return Document(body, digest, immutable=asked_hash == digest)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32].upper()


@lru_cache(maxsize=discovery.CATALOGS_KEPT_MAX)
def _index(catalog: Catalog) -> bytes:
    found = {}
    for group, versions in discovery.groups(catalog).items():
        for version in versions:
            name = f"apis/{group}/{version}" if group else f"api/{version}"
            document = _document(catalog, name)
            assert document is not None
            url = f"/openapi/v3/{name}?hash={document[1]}"
            found[name] = {"serverRelativeURL": url}
    return orjson.dumps({"paths": found})


def _document(catalog: Catalog, name: str) -> tuple[bytes, str] | None:
    parts = name.split("/")
    if parts[0] == "api" and len(parts) == 2:
        group, version = "", parts[1]
    elif parts[0] == "apis" and len(parts) == 3:
        group, version = parts[1], parts[2]
    else:
        return None
    kinds = discovery.kinds_of(catalog, group, version)
    return _made(name, version, kinds) if kinds else None


@lru_cache(maxsize=discovery.DOCUMENTS_KEPT_MAX)
def _made(name: str, version: str, kinds: tuple[Kind, ...]) -> tuple[bytes, str]:
    """Made anew only when the kinds of this very version change."""
    schemas = dict(schema.common_components())
    paths: dict[str, Any] = {}
    for kind in kinds:
        schemas |= schema.components(kind, version)
        if "scale" in subresources_of(kind, version):
            schemas |= schema.component(_SCALE)
        paths |= _paths(kind, version, f"/{name}")
    body = orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.33.0"},
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(schemas.items()))},
        }
    )
    return body, _digest(body)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _query(name: str, typ: str = "string") -> dict[str, Any]:
    schema_ = {"type": typ, "uniqueItems": True}
    return {"name": name, "in": "query", "schema": schema_}


def _path_parameter(name: str) -> dict[str, Any]:
    schema_ = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "required": True, "schema": schema_}


_WRITE = (_query("dryRun"), _query("fieldManager"), _query("fieldValidation"))
_LIST = (
    _query("allowWatchBookmarks", "boolean"), _query("continue"), _query("fieldSelector"),
    _query("labelSelector"), _query("limit", "integer"), _query("resourceVersion"),
    _query("resourceVersionMatch"), _query("sendInitialEvents", "boolean"),
    _query("timeoutSeconds", "integer"), _query("watch", "boolean"),
)  # fmt: skip
_DELETE = (
    _query("dryRun"), _query("gracePeriodSeconds", "integer"),
    _query("orphanDependents", "boolean"), _query("propagationPolicy"),
)  # fmt: skip


class _Operations:
    """Operations of one kind at one version."""

    def __init__(self, kind: Kind, version: str) -> None:
        self._kind = kind
        self._model = schema.definition_name(kind, version)
        self._list_model = f"{self._model.rpartition('.')[0]}.{kind.list_kind}"
        self._gvk = {"group": kind.group, "version": version, "kind": kind.kind}

    def make(
        self,
        action: str,
        model: str,
        parameters: tuple[dict[str, Any], ...] = (),
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        reply = {"description": "OK", "content": {JSON_TYPE: {"schema": _ref(model)}}}
        found: dict[str, Any] = {
            "responses": {"200": reply, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self._gvk,
        }
        if parameters:
            found["parameters"] = list(parameters)
        if body is not None:
            found["requestBody"] = {"content": body}
        return found

    def collection(self) -> dict[str, Any]:
        body = {JSON_TYPE: {"schema": _ref(self._model)}}
        return {
            "get": self.make("list", self._list_model, _LIST),
            "post": self.make("post", self._model, _WRITE, body),
            "delete": self.make("deletecollection", f"{_META}.Status", _LIST + _DELETE),
        }

    def question(self) -> dict[str, Any]:
        """Of a kind that is answered, never stored."""
        return {"post": self.collection()["post"]}

    def item(self, model: str = "", *, deletable: bool = True) -> dict[str, Any]:
        model = model or self._model
        body = {JSON_TYPE: {"schema": _ref(model)}}
        media = patches.accepted(self._kind)
        patch = {m: {"schema": {"type": "object"}} for m in media}
        write = (*_WRITE, _query("force", "boolean"))
        found = {
            "get": self.make("get", model),
            "put": self.make("put", model, _WRITE, body),
            "patch": self.make("patch", model, write, patch),
        }
        if deletable:
            options = {JSON_TYPE: {"schema": _ref(f"{_META}.DeleteOptions")}}
            found["delete"] = self.make("delete", f"{_META}.Status", _DELETE, options)
        return found


def _paths(kind: Kind, version: str, root: str) -> dict[str, Any]:
    operations = _Operations(kind, version)
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    base = f"{root}{scope}/{kind.plural}"
    name = [_path_parameter("name")]
    where = [_path_parameter("namespace")] if kind.namespaced else []
    if kind.verbs == QUESTION:
        return {base: operations.question() | {"parameters": where}}
    if kind.verbs == MEASURED:
        listed, one = operations.collection()["get"], operations.item()["get"]
        return {
            base: {"get": listed, "parameters": where},
            f"{base}/{{name}}": {"get": one, "parameters": name + where},
        }
    found: dict[str, Any] = {
        base: operations.collection() | {"parameters": where},
        f"{base}/{{name}}": operations.item() | {"parameters": name + where},
    }
    if kind.namespaced:
        everywhere = {"get": operations.collection()["get"]}
        found[f"{root}/{kind.plural}"] = everywhere
    for sub in ("status", "scale"):
        if sub in subresources_of(kind, version):
            model = _SCALE if sub == "scale" else ""
            item = operations.item(model, deletable=False)
            found[f"{base}/{{name}}/{sub}"] = item | {"parameters": name + where}
    return found
