"""Pods as workloads: who they are, where they are, what they serve."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import controller_of
from weft.api.wellknown import (
    ANNOTATION_POD_HOST_PORTS,
    ANNOTATION_POD_NETNS,
    ANNOTATION_POD_PROXY,
    ANNOTATION_POD_WEIGHT,
    CONDITION_POD_SANDBOX_READY,
    LABEL_CANONICAL_REVISION,
    LABEL_POD_TEMPLATE_HASH,
)
from weft.mesh.model import (
    LABELS_APP,
    PASS_UNKNOWN,
    AppProtocol,
    Endpoint,
    InboundPort,
    LocalListener,
    OutboundPort,
    TcpRoute,
    UdpRoute,
    UnknownHosts,
    Workload,
)
from weft.mesh.protocols import declared
from weft.mesh.sidecar_ingress import Ingress, ingress_listeners

LABEL_ROLLOUT_HASH = "rollouts-pod-template-hash"
LABELS_VERSION = (
    LABEL_CANONICAL_REVISION, "app.kubernetes.io/version", "version", LABEL_ROLLOUT_HASH,
)  # fmt: skip
"""The last one tells the versions of a Rollout apart where users' labels do not."""
TERMINAL_PHASES = ("Succeeded", "Failed")
WEIGHT_MAX = 1_000_000
NO_PORTS: Mapping[int, int] = MappingProxyType({})


class PodFacts(Struct, frozen=True, gc=False):
    """What the mesh reads from a pod."""

    uid: str
    name: str
    namespace: str
    node: str
    address: str
    workload: str
    principal: str
    netns: str
    proxy_address: str
    app: str
    version: str
    labels: tuple[tuple[str, str], ...]
    ports: tuple[tuple[int, AppProtocol], ...]
    """TCP container ports, and what their names declare."""
    host_ports: Mapping[int, int]
    """Host isolation: container port to the port on the pod's address."""
    host_port_targets: tuple[tuple[int, str], ...]
    """(container port, `TCP` or `UDP`) of the ports that nodes shall open."""
    connected: bool
    """The pod has a network of its own, so its listeners are served. One in the node's network is
    called like any server of the machine, and its own calls are not seen."""
    ready: bool
    """Its Ready condition holds."""
    terminating: bool
    weight: int
    """Its share of the calls, in comparison to others of its service."""
    terminal: bool
    """Its containers ended for good: it serves nothing."""


class Calls(Struct, frozen=True):
    """How the calls of some workloads are routed."""

    outbound: tuple[OutboundPort, ...] = ()
    tcp: tuple[TcpRoute, ...] = ()
    udp: tuple[UdpRoute, ...] = ()
    unknown: UnknownHosts = PASS_UNKNOWN
    proxied: tuple[OutboundPort, ...] = ()
    """Instead of `outbound`, for pods that call through their own HTTP proxy listener."""
    local: tuple[LocalListener, ...] = ()
    ingress: Ingress = Ingress()
    """What their proxy does with calls to them."""


def principal(trust_domain: str, namespace: str, service_account: str) -> str:
    """The SPIFFE ID of a workload."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account or 'default'}"


def pod_facts(pod: Pod, trust_domain: str) -> PodFacts:
    """Reads a pod. Never fails: unreadable annotations count as absent."""
    meta, status, spec = pod.metadata, pod.status, pod.spec
    labels, annotations = meta.labels, meta.annotations
    terminal = status.phase in TERMINAL_PHASES
    holding = [c.type for c in status.conditions if c.status == "True"]
    host_ports = annotations.get(ANNOTATION_POD_HOST_PORTS, "")
    return PodFacts(
        uid=meta.uid,
        name=meta.name,
        namespace=meta.namespace,
        node=spec.node_name,
        address=status.pod_ip,
        workload=workload_name(pod),
        principal=principal(trust_domain, meta.namespace, spec.service_account_name),
        netns=annotations.get(ANNOTATION_POD_NETNS, ""),
        proxy_address=annotations.get(ANNOTATION_POD_PROXY, ""),
        app=first_label(labels, LABELS_APP),
        version=first_label(labels, LABELS_VERSION),
        labels=tuple(sorted(labels.items())),
        ports=tuple(
            (port.container_port, declared(port.name, "") or "auto")
            for container in spec.containers
            for port in container.ports
            if port.container_port and port.protocol in ("", "TCP")
        ),
        host_ports=_port_map(host_ports) if host_ports else NO_PORTS,
        host_port_targets=_host_port_targets(pod),
        connected=bool(status.pod_ip)
        and not terminal
        and not spec.host_network
        and CONDITION_POD_SANDBOX_READY in holding,
        ready="Ready" in holding,
        terminating=bool(meta.deletion_timestamp),
        weight=_weight(annotations.get(ANNOTATION_POD_WEIGHT, "")),
        terminal=terminal,
    )


def own_port(pod: PodFacts, port: int) -> int:
    """The port that the pod itself declares, for one of it or of its machine (host isolation); 0
    where pods have ports of their own."""
    if port in pod.host_ports:
        return port
    return next((own for own, there in pod.host_ports.items() if there == port), 0)


def pod_endpoint(pod: PodFacts, port: int) -> Endpoint:
    """A pod at one of its ports, where no EndpointSlice says more."""
    return Endpoint(
        address=pod.address,
        port=pod.host_ports.get(port, port),
        own_port=own_port(pod, port),
        health="DRAINING" if pod.terminating else "HEALTHY",
        node=pod.node,
        pod_uid=pod.uid,
        workload=pod.workload,
        namespace=pod.namespace,
        version=pod.version,
        principal=pod.principal,
        labels=pod.labels,
    )


def _host_port_targets(pod: Pod) -> tuple[tuple[int, str], ...]:
    sidecars = (c for c in pod.spec.init_containers if c.restart_policy == "Always")
    return tuple(
        dict.fromkeys(
            (port.container_port, port.protocol or "TCP")
            for container in (*pod.spec.containers, *sidecars)
            for port in container.ports
            if port.host_port and port.container_port and port.protocol != "SCTP"
        )
    )


def _weight(text: str) -> int:
    """A whole number from 1 on; anything else counts as 1, and the analysis says so."""
    return min(int(text), WEIGHT_MAX) if text.isascii() and text.isdigit() and int(text) else 1


def workload_name(pod: Pod) -> str:
    """The name of what a user created: the Deployment or Rollout of a ReplicaSet's pod, else the
    owner, else the pod."""
    owner = controller_of(pod)
    if owner is None:
        return pod.metadata.name
    labels = pod.metadata.labels
    template_hash = labels.get(LABEL_ROLLOUT_HASH) or labels.get(LABEL_POD_TEMPLATE_HASH, "")
    if owner.kind == "ReplicaSet" and template_hash:
        return owner.name.removesuffix(f"-{template_hash}")
    return owner.name


def workload(
    pod: PodFacts,
    served: Mapping[int, AppProtocol],
    calls: Calls,
) -> Workload:
    """The workload of a pod: with the ports that its services send calls to (`served`), and with
    how its own calls are routed."""
    inbound = _inbound(pod, served)
    return Workload(
        uid=pod.uid,
        name=pod.name,
        namespace=pod.namespace,
        node=pod.node,
        address=pod.address,
        workload=pod.workload,
        principal=pod.principal,
        netns=pod.netns,
        proxy_address=pod.proxy_address,
        app=pod.app,
        version=pod.version,
        labels=pod.labels,
        inbound=inbound,
        outbound=calls.outbound,
        tcp=calls.tcp,
        udp=calls.udp,
        unknown=calls.unknown,
        local=calls.local,
        ingress=ingress_listeners(calls.ingress, inbound) if pod.netns else (),
    )


def _inbound(pod: PodFacts, served: Mapping[int, AppProtocol]) -> tuple[InboundPort, ...]:
    """Ports of a pod: as its services declare them, else as its containers do."""
    merged = dict(pod.ports)
    for port, protocol in served.items():
        if protocol != "auto" or port not in merged:
            merged[port] = protocol
    return tuple([InboundPort(port, merged[port]) for port in sorted(merged)])


def first_label(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if found := labels.get(name):
            return found
    return ""


def _port_map(text: str) -> dict[int, int]:
    try:
        return msgspec.json.decode(text, type=dict[int, int])
    except msgspec.DecodeError:
        return {}
