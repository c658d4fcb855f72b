"""What is served, told to clients: classic and aggregated discovery. Pure, made once."""

import base64
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

import orjson

from weft.api.crd.definition import priority
from weft.api.kinds import Kind
from weft.apiserver.catalog import Catalog
from weft.apiserver.request import subresources_of

OBJECT_VERBS = (
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
)  # fmt: skip
_SUBRESOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # group, version, kind ("" for the resource's own), verbs
    "status": ("", "", "", ("get", "patch", "update")),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "log": ("", "", "", ("get",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "attach": ("", "v1", "PodAttachOptions", ("create", "get")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "ephemeralcontainers": ("", "", "", ("get", "patch", "update")),
    "resize": ("", "", "", ("get", "patch", "update")),
    "approval": ("", "", "", ("get", "patch", "update")),
    "portforward": ("", "v1", "PodPortForwardOptions", ("create", "get")),
    "binding": ("", "v1", "Binding", ("create",)),
    "finalize": ("", "", "", ("update",)),
}
AggregatedVersion = Literal["v2", "v2beta1"]
DOCUMENTS_KEPT_MAX = 256
"""Documents about one group or version; clients ask for what they like."""
CATALOGS_KEPT_MAX = 8
"""Catalogs whose documents about everything are kept; a change of definitions makes a new one."""


def groups(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Every group and its versions, preferred first; the core group is ""."""
    found: dict[str, dict[str, None]] = {}
    custom = set()
    for kind in catalog.kinds:
        found.setdefault(kind.group, {}).update(dict.fromkeys(kind.versions))
        if kind.definition is not None:
            custom.add(kind.group)
    return {
        group: tuple(sorted(versions, key=priority, reverse=True) if group in custom else versions)
        for group, versions in found.items()
    }


def kinds_of(catalog: Catalog, group: str, version: str) -> tuple[Kind, ...]:
    """The kinds served at a group and version, by plural."""
    served = [k for k in catalog.kinds if k.group == group and version in k.versions]
    return tuple(sorted(served, key=lambda k: k.plural))


def api_versions() -> bytes:
    """GET /api."""
    return orjson.dumps({"kind": "APIVersions", "versions": ["v1"]})


@lru_cache(maxsize=CATALOGS_KEPT_MAX)
def group_list(catalog: Catalog) -> bytes:
    """GET /apis."""
    found = [_group(g, v) for g, v in groups(catalog).items() if g]
    return orjson.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": found})


@lru_cache(maxsize=DOCUMENTS_KEPT_MAX)
def group(catalog: Catalog, name: str) -> bytes | None:
    """GET /apis/<group>; None when there is no such group."""
    versions = groups(catalog).get(name) if name else None
    if versions is None:
        return None
    return orjson.dumps({"kind": "APIGroup", "apiVersion": "v1"} | _group(name, versions))


def _group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    found = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


@lru_cache(maxsize=DOCUMENTS_KEPT_MAX)
def resource_list(catalog: Catalog, group: str, version: str) -> bytes | None:
    """GET /api/v1 and /apis/<group>/<version>; None when not served."""
    kinds = kinds_of(catalog, group, version)
    if not kinds:
        return None
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        plain = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs or OBJECT_VERBS),
        }
        if kind.short_names:
            plain["shortNames"] = list(kind.short_names)
        if kind.categories:
            plain["categories"] = list(kind.categories)
        if not kind.verbs:
            plain["storageVersionHash"] = storage_version_hash(kind)
        resources.append(plain)
        subresources = subresources_of(kind, version)
        resources += [_classic_subresource(kind, sub) for sub in subresources]
    body = {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }
    return orjson.dumps(body)


def storage_version_hash(kind: Kind) -> str:
    """Names the version that objects are stored in; the same as Kubernetes' for the same one."""
    group, version = kind.view_of or (kind.group, kind.version)
    text = f"{group}/{version}/{kind.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _classic_subresource(kind: Kind, name: str) -> dict[str, Any]:
    group, version, other, verbs = _SUBRESOURCES[name]
    found = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": other or kind.kind,
        "verbs": list(verbs),
    }
    return found | ({"group": group, "version": version} if group else {})


@lru_cache(maxsize=4 * CATALOGS_KEPT_MAX)
def aggregated(catalog: Catalog, core: bool, form: AggregatedVersion) -> bytes:
    """GET /api (core) or /apis as APIGroupDiscoveryList."""
    wanted = {g: v for g, v in groups(catalog).items() if (g == "") == core}
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [_aggregated_version(catalog, group, version) for version in versions],
        }
        for group, versions in wanted.items()
    ]
    body = {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{form}",
        "metadata": {},
        "items": items,
    }
    return orjson.dumps(body)


def _aggregated_version(catalog: Catalog, group: str, version: str) -> dict[str, Any]:
    resources = []
    for kind in kinds_of(catalog, group, version):
        found: dict[str, Any] = {
            "resource": kind.plural,
            "responseKind": {"group": group, "version": version, "kind": kind.kind},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(kind.verbs or OBJECT_VERBS),
        }
        if kind.short_names:
            found["shortNames"] = list(kind.short_names)
        if kind.categories:
            found["categories"] = list(kind.categories)
        if subresources := subresources_of(kind, version):
            found["subresources"] = [
                _aggregated_subresource(kind, version, sub) for sub in subresources
            ]
        resources.append(found)
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_subresource(kind: Kind, version: str, name: str) -> dict[str, Any]:
    group, other_version, other, verbs = _SUBRESOURCES[name]
    response = {"group": group, "version": other_version, "kind": other}
    if not other:
        response = {"group": kind.group, "version": version, "kind": kind.kind}
    return {"subresource": name, "responseKind": response, "verbs": list(verbs)}


@lru_cache(maxsize=CATALOGS_KEPT_MAX)
def paths(catalog: Catalog) -> bytes:
    """GET /."""
    found = ["/api", "/api/v1", "/apis"]
    for group, versions in groups(catalog).items():
        if group:
            found += [f"/apis/{group}", *(f"/apis/{api_version_of(group, v)}" for v in versions)]
    found += ["/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"]
    return orjson.dumps({"paths": found})


def api_version_of(group: str, version: str) -> str:
    """`apps/v1`, `v1`."""
    return f"{group}/{version}" if group else version
