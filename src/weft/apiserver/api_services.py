"""APIService objects: one for each group and version that is served, all of them local. Pure.

They are made when they are asked for, and nothing can be written: weft forwards no requests to
other API servers. Source: kube-aggregator's automatically managed APIServices.
"""

import hashlib
from typing import Any

from weft.apiserver.catalog import Catalog

GROUP_VERSION = "apiregistration.k8s.io/v1"
_CORE_PRIORITY, _OWN_PRIORITY, _CUSTOM_PRIORITY = 18000, 17000, 1000
_MESSAGE = "Local APIServices are always available"


def api_services(catalog: Catalog, since: str) -> list[dict[str, Any]]:
    """In the order of their names; `since` is when the server started (RFC 3339)."""
    found: dict[str, dict[str, Any]] = {}
    for kind in catalog.kinds:
        custom = kind.definition is not None
        for rank, version in enumerate(kind.versions):
            name = f"{version}.{kind.group}"
            if name not in found:
                spec = _spec(kind.group, version, rank, custom=custom)
                found[name] = _object(name, spec, since, custom=custom)
    return [found[name] for name in sorted(found)]


def _spec(group: str, version: str, rank: int, *, custom: bool) -> dict[str, Any]:
    priority = _CUSTOM_PRIORITY if custom else _OWN_PRIORITY if group else _CORE_PRIORITY
    spec: dict[str, Any] = {"version": version, "groupPriorityMinimum": priority}
    if group:
        spec["group"] = group
    return spec | {"versionPriority": 100 - rank if custom else max(1, 15 - rank)}


def _object(name: str, spec: dict[str, Any], since: str, *, custom: bool) -> dict[str, Any]:
    managed = "true" if custom else "onstart"
    return {
        "kind": "APIService",
        "apiVersion": GROUP_VERSION,
        "metadata": {
            "name": name,
            "uid": _uid(name),
            "creationTimestamp": since,
            "labels": {"kube-aggregator.kubernetes.io/automanaged": managed},
        },
        "spec": spec,
        "status": {
            "conditions": [
                {
                    "type": "Available",
                    "status": "True",
                    "lastTransitionTime": since,
                    "reason": "Local",
                    "message": _MESSAGE,
                }
            ]
        },
    }


def _uid(name: str) -> str:
    """The same for the same name: nothing is stored that could keep one."""
    hexed = hashlib.sha256(f"APIService {name}".encode()).hexdigest()
    return f"{hexed[:8]}-{hexed[8:12]}-5{hexed[13:16]}-8{hexed[17:20]}-{hexed[20:32]}"
