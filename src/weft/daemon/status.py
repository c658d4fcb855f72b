"""What runs and what is acknowledged, as one JSON document (`weft status`)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from weft.api.conditions import is_true
from weft.api.diagnostics import Diagnostic
from weft.api.k8s.core_v1 import Node, NodeSystemInfo
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_PORTS, ANNOTATION_NODE_ISOLATION
from weft.daemon.mesh_loop import MeshLoop
from weft.mesh.explain.openings import openings
from weft.mesh.model import MeshModel, Workload
from weft.mesh.node_settings import node_settings
from weft.node.runtime import ContainerState
from weft.xds.resource import TYPE_URLS
from weft.xds.server import AdsServer, relay_of

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
                "runtime": runtime_name(node.status.node_info),
                "gatewayPorts": json.loads(annotations.get(ANNOTATION_NODE_GATEWAY_PORTS, "{}")),
                "pods": sum(p.spec.node_name == node.metadata.name for p in snapshot.list(Pod)),
            }
        )
    return rows


def runtime_name(info: NodeSystemInfo | None) -> str:
    """What runs containers from images: `weft` (itself, runc or crun), or an engine's version."""
    kind, _, version = (info.container_runtime_version if info else "").partition("://")
    return kind if kind in ("weft", "") else f"{kind} {version}"


def pod_rows(
    snapshot: Snapshot, containers: tuple[ContainerState, ...], model: MeshModel
) -> list[dict[str, Any]]:
    """One per pod, with the process id of its first running container, and what the mesh asks of
    its callers."""
    mtls = {w.uid: mtls_mode(w) for w in model.workloads}
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
                "mtls": mtls.get(pod.metadata.uid, ""),
            }
        )
    return rows


def mtls_mode(workload: Workload) -> str:
    """`STRICT`: only callers with an identity of the mesh are served; `PERMISSIVE`: others as well
    (PeerAuthentication DISABLE is the same within weft); `STRICT on 8080`, where ports differ."""
    door = workload.door
    odd = [p.port for p in door.ports if p.requests_closed is not door.requests_closed]
    names = ("PERMISSIVE", "STRICT")
    text = names[door.requests_closed]
    if not odd:
        return text
    return f"{text}, {names[not door.requests_closed]} on {', '.join(map(str, odd))}"


def address_rows(snapshot: Snapshot, model: MeshModel) -> list[dict[str, Any]]:
    """Where callers from outside get in: one per owner, kind and address, with all nodes' ports."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in openings(model, map(node_settings, snapshot.list(Node))):
        for owner in each.owners:
            row = found.setdefault(
                (owner, each.kind, each.address),
                {"owner": owner, "kind": each.kind, "address": each.address, "ports": [],
                 "nodes": []},
            )  # fmt: skip
            port: dict[str, Any] = {"port": each.port, "protocol": each.transport.upper()}
            if each.gateway is not None and each.gateway.port != each.port:
                port["of"] = each.gateway.port
            if port not in row["ports"]:
                row["ports"].append(port)
            if each.node not in row["nodes"]:
                row["nodes"].append(each.node)
    return [found[key] for key in sorted(found)]


def object_rows(snapshot: Snapshot, ads: AdsServer, mesh: MeshLoop) -> list[dict[str, Any]]:
    """One per object of the mesh: whether it is sound, and which nodes' proxies acknowledged it."""
    nodes = [
        n
        for n in snapshot.list(Node)
        if ads.connected(n.metadata.name) or is_true(n.status.conditions, "Ready")
    ]
    answered = {n.metadata.name: ads.answered(n.metadata.name) for n in nodes}
    wrong = {(d.kind, d.namespace, d.name): d.code
             for d in reversed(mesh.diagnostics) if d.severity == "error"}  # fmt: skip
    rows = []
    for its in sorted(mesh.book.numbers, key=lambda k: (k[0].__name__, *k[1:])):
        cls, namespace, name = its
        number, rejection = mesh.book.number(its), mesh.rejection(its)
        has = {n: number is not None and rejection is None and last >= number
               for n, last in answered.items()}  # fmt: skip
        rows.append(
            {
                "kind": cls.__name__,
                "namespace": namespace,
                "name": name,
                "accepted": (cls.__name__, namespace, name) not in wrong,
                "reason": wrong.get((cls.__name__, namespace, name), ""),
                "programmed": bool(has) and all(has.values()),
                "refused": rejection.error if rejection is not None else "",
                "acknowledged": [n for n, yes in has.items() if yes],
                "missing": [n for n, yes in has.items() if not yes],
            }
        )
    return rows


def proxy_rows(
    snapshot: Snapshot,
    ads: AdsServer,
    wanted: Mapping[str, Mapping[str, int]],
    pids: Mapping[str, int],
    relay_pid: int = 0,
) -> list[dict[str, Any]]:
    """One per node proxy: what it acknowledged of what it shall have; with its relay (of which
    there is one at most, on the control plane's machine)."""
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
                **(_relay(ads, name, relay_pid) if ads.has_relay(name) else {}),
            }
        )
    return rows


def _relay(ads: AdsServer, node: str, pid: int) -> dict[str, Any]:
    return {"relay": {"pid": pid, "connected": ads.connected(relay_of(node))}}


def document(
    snapshot: Snapshot,
    containers: tuple[ContainerState, ...],
    ads: AdsServer,
    mesh: MeshLoop,
    envoy_pids: Mapping[str, int],
    *,
    more: Iterable[Diagnostic] = (),
    own_node: str,
    relay_pid: int = 0,
) -> bytes:
    """The whole document; `more` are findings besides those of the mesh, `own_node` is the
    node that the control plane's machine is, "" where it is none, `relay_pid` its relay."""
    return msgspec.json.encode(
        {
            "ownNode": own_node,
            "nodes": node_rows(snapshot),
            "addresses": address_rows(snapshot, mesh.model),
            "pods": pod_rows(snapshot, containers, mesh.model),
            "objects": object_rows(snapshot, ads, mesh),
            "proxies": proxy_rows(snapshot, ads, mesh.wanted, envoy_pids, relay_pid),
            "diagnostics": [msgspec.to_builtins(d) for d in (*mesh.findings(), *more)],
        }
    )
