"""Nodes and pods for the scheduler's tests."""

from typing import Any

import msgspec

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod

READY = {"type": "Ready", "status": "True"}


def node(
    name: str = "n1", *, labels: dict[str, str] | None = None, ready: bool = True, **more: Any
) -> Node:
    """A ready node of 4 cores and 8Gi; `more` sets spec fields or allocatable amounts."""
    spec = {k: more.pop(k) for k in ("taints", "unschedulable") if k in more}
    condition = READY if ready else {"type": "Ready", "status": "Unknown"}
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110"} | more
    status = {"conditions": [condition], "allocatable": allocatable}
    metadata = {"name": name, "labels": labels or {}}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, Node)


def pod(
    name: str = "p",
    cpu: str = "",
    memory: str = "",
    *,
    ports: tuple[int, ...] = (),
    created: str = "2026-01-01T00:00:00Z",
    phase: str = "Pending",
    **spec: Any,
) -> Pod:
    """A pod of one container with those requests; `spec` is camelCase."""
    amounts = {"cpu": cpu, "memory": memory}
    requests = {k: v for k, v in amounts.items() if v} | spec.pop("requests", {})
    container = {
        "name": "main",
        "resources": {"requests": requests},
        "ports": [{"hostPort": p, "containerPort": p} for p in ports],
    }
    body = {
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "resourceVersion": "7",
            "creationTimestamp": created,
        },
        "spec": {"containers": [container], **spec},
        "status": {"phase": phase},
    }  # fmt: skip
    return msgspec.convert(body, Pod)
