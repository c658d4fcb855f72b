"""Builders for tests of the node package."""

from typing import Any

from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import decode

UID = "0b7c1c9e-6a35-4a54-b6e8-000000000001"


def pod(*, meta: dict[str, Any] | None = None, status: dict[str, Any] | None = None,
        **spec: Any) -> Pod:  # fmt: skip
    """A pod as the API serves it; one container `web` unless `containers` says otherwise."""
    spec.setdefault("containers", [{"name": "web", "image": "web:1.0"}])
    spec.setdefault("nodeName", "node-1")
    metadata = {"name": "web-0", "namespace": "default", "uid": UID} | (meta or {})
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return decode(Pod, body | {"status": status or {}})


def deleted(found: Pod, grace: int = 30) -> Pod:
    """The same pod after `kubectl delete`."""
    from msgspec.structs import replace

    meta = replace(
        found.metadata,
        deletion_timestamp="2026-11-21T00:00:00Z",
        deletion_grace_period_seconds=grace,
    )
    return replace(found, metadata=meta)
