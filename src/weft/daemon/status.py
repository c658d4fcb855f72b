"""What runs and what is acknowledged, as one JSON document (`weft status`)."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from weft.api.conditions import is_true
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_PORTS, ANNOTATION_NODE_ISOLATION
from weft.daemon.mesh_loop import MeshLoop
from weft.node.runtime import ContainerState
from weft.xds.resource import TYPE_URLS
from weft.xds.server import AdsServer

RESOURCE_NAMES = dict(
    zip(
        TYPE_URLS,
        (
            "switches",
            "clusters",
            "secrets",
            "endpoints",
            "extensions",
            "listeners",
            "scopes",
            "routes",
        ),
        strict=True,
    )
)


def node_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """One per node."""
    rows = []
    for node in snapshot.list(Node):
        annotations = node.metadata.annotations
        ready = is_true(node.status.conditions, "Ready")
        rows.append(
            {
                "name": node.metadata.name,
                "ready": ready,
                "isolation": annotations.get(ANNOTATION_NODE_ISOLATION, ""),
                "gatewayPorts": json.loads(annotations.get(ANNOTATION_NODE_GATEWAY_PORTS, "{}")),
                "pods": sum(p.spec.node_name == node.metadata.name for p in snapshot.list(Pod)),
            }
        )
    return rows


def pod_rows(snapshot: Snapshot, containers: tuple[ContainerState, ...]) -> list[dict[str, Any]]:
    """One per pod, with the process id of its first running container."""
    pids: dict[str, int] = {}
    for state in containers:
        if state.exit_code is None:
            pids.setdefault(state.id.split("_", 1)[0], state.pid)
    rows = []
    for pod in snapshot.list(Pod):
        statuses = pod.status.container_statuses
        ready = is_true(pod.status.conditions, "Ready")
        rows.append(
            {
                "namespace": pod.metadata.namespace,
                "name": pod.metadata.name,
                "phase": "Terminating" if pod.metadata.deletion_timestamp else pod.status.phase,
                "ready": ready,
                "restarts": sum(s.restart_count or 0 for s in statuses),
                "address": pod.status.pod_ip,
                "node": pod.spec.node_name,
                "pid": pids.get(pod.metadata.uid, 0),
            }
        )
    return rows


def proxy_rows(
    snapshot: Snapshot,
    ads: AdsServer,
    wanted: Mapping[str, Mapping[str, int]],
    pids: Mapping[str, int],
) -> list[dict[str, Any]]:
    """One per node proxy: what it acknowledged of what it shall have."""
    rows = []
    for node in snapshot.list(Node):
        name = node.metadata.name
        resources = {
            word: {
                "wanted": wanted.get(name, {}).get(type_url, 0),
                "acked": len(ads.acked_names(name, type_url)),
            }
            for type_url, word in RESOURCE_NAMES.items()
        }
        rows.append(
            {
                "node": name,
                "pid": pids.get(name, 0),
                "connected": ads.connected(name),
                "inSync": ads.in_sync(name),
                "convergenceSeconds": ads.convergence_seconds(name),
                "resources": resources,
                "rejected": [msgspec.to_builtins(report) for report in ads.nacks(name)],
            }
        )
    return rows


def document(
    snapshot: Snapshot,
    containers: tuple[ContainerState, ...],
    ads: AdsServer,
    mesh: MeshLoop,
    envoy_pids: Mapping[str, int],
) -> bytes:
    """The whole document."""
    return msgspec.json.encode(
        {
            "nodes": node_rows(snapshot),
            "pods": pod_rows(snapshot, containers),
            "proxies": proxy_rows(snapshot, ads, mesh.wanted, envoy_pids),
            "diagnostics": [msgspec.to_builtins(d) for d in mesh.findings()],
        }
    )
