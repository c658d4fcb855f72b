"""Pods as workloads: who they are, where they are, what they serve."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import controller_of
from weft.api.wellknown import (
    ANNOTATION_POD_HOST_PORTS,
    ANNOTATION_POD_NETNS,
    ANNOTATION_POD_PROXY,
    CONDITION_POD_SANDBOX_READY,
    LABEL_CANONICAL_NAME,
    LABEL_CANONICAL_REVISION,
    LABEL_POD_TEMPLATE_HASH,
)
from weft.mesh.model import AppProtocol, InboundPort, OutboundPort, TcpRoute, Workload
from weft.mesh.protocols import declared

LABELS_APP = (LABEL_CANONICAL_NAME, "app.kubernetes.io/name", "app")
LABELS_VERSION = (LABEL_CANONICAL_REVISION, "app.kubernetes.io/version", "version")
TERMINAL_PHASES = ("Succeeded", "Failed")


class PodFacts(Struct, frozen=True):
    """What the mesh reads from a pod."""

    workload: Workload
    """Without ports and routes, which depend on services."""
    labels: Mapping[str, str]
    ports: Mapping[str, int]
    """Named container ports."""
    declared: tuple[tuple[int, AppProtocol], ...]
    """TCP container ports, and what their names declare."""
    host_ports: Mapping[int, int]
    """Host isolation: container port to the port on the pod's address."""
    connected: bool
    """The pod has its network, so its listeners are served."""
    ready: bool
    """Its Ready condition holds."""
    terminating: bool
    terminal: bool
    """Its containers ended for good: it serves nothing."""


def principal(trust_domain: str, namespace: str, service_account: str) -> str:
    """The SPIFFE ID of a workload."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account or 'default'}"


def pod_facts(pod: Pod, trust_domain: str) -> PodFacts:
    """Reads a pod. Never fails: unreadable annotations count as absent."""
    meta, status, spec = pod.metadata, pod.status, pod.spec
    labels, annotations = meta.labels, meta.annotations
    terminal = status.phase in TERMINAL_PHASES
    app = _first(labels, LABELS_APP)
    workload = Workload(
        uid=meta.uid,
        name=meta.name,
        namespace=meta.namespace,
        node=spec.node_name,
        address=status.pod_ip,
        workload=workload_name(pod),
        principal=principal(trust_domain, meta.namespace, spec.service_account_name),
        netns=annotations.get(ANNOTATION_POD_NETNS, ""),
        proxy_address=annotations.get(ANNOTATION_POD_PROXY, ""),
        app=app,
        version=_first(labels, LABELS_VERSION),
        labels=tuple(sorted(labels.items())),
    )
    tcp = [p for c in spec.containers for p in c.ports if p.protocol in ("", "TCP")]
    host_ports = annotations.get(ANNOTATION_POD_HOST_PORTS, "")
    holding = [c.type for c in status.conditions if c.status == "True"]
    return PodFacts(
        workload=workload,
        labels=labels,
        ports={p.name: p.container_port for p in tcp if p.name and p.container_port},
        declared=tuple(
            (p.container_port, declared(p.name, "") or "auto") for p in tcp if p.container_port
        ),
        host_ports=_port_map(host_ports) if host_ports else {},
        connected=bool(status.pod_ip) and not terminal and CONDITION_POD_SANDBOX_READY in holding,
        ready="Ready" in holding,
        terminating=bool(meta.deletion_timestamp),
        terminal=terminal,
    )


def workload_name(pod: Pod) -> str:
    """The name of what a user created: the Deployment of a ReplicaSet's pod, else the owner, else
    the pod."""
    owner = controller_of(pod)
    if owner is None:
        return pod.metadata.name
    template_hash = pod.metadata.labels.get(LABEL_POD_TEMPLATE_HASH, "")
    if owner.kind == "ReplicaSet" and template_hash:
        return owner.name.removesuffix(f"-{template_hash}")
    return owner.name


def with_routes(
    facts: PodFacts,
    inbound: tuple[InboundPort, ...],
    outbound: tuple[OutboundPort, ...],
    tcp: tuple[TcpRoute, ...],
) -> Workload:
    """The workload with what it serves and how its calls are routed."""
    return msgspec.structs.replace(facts.workload, inbound=inbound, outbound=outbound, tcp=tcp)


def inbound_ports(facts: PodFacts, served: Mapping[int, AppProtocol]) -> tuple[InboundPort, ...]:
    """Ports of the pod: as its services declare them (`served`), else as its containers do."""
    merged: dict[int, AppProtocol] = dict(facts.declared)
    merged.update(
        (port, protocol)
        for port, protocol in served.items()
        if protocol != "auto" or port not in merged
    )
    return tuple(InboundPort(port, merged[port]) for port in sorted(merged))


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := labels.get(name, ""))), "")


def _port_map(text: str) -> dict[int, int]:
    try:
        return msgspec.json.decode(text, type=dict[int, int])
    except msgspec.DecodeError:
        return {}
