"""Kubernetes services and their endpoints as hosts."""

from collections.abc import Mapping, Sequence
from typing import Literal

from weft.api.k8s import discovery_v1
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.wellknown import (
    ANNOTATION_EXPORT_TO,
    ANNOTATION_SERVICE_SLEEP,
    ANNOTATION_SERVICE_WAKES,
    LABEL_HOSTNAME,
    LABELS_LOCALITY,
)
from weft.mesh.hosts import Host, HostPod, HostPort, Outside
from weft.mesh.learned_protocols import learned
from weft.mesh.mesh_visibility import NOBODY, visible_to
from weft.mesh.model import (
    AppProtocol,
    ComingPod,
    Endpoint,
    HashKey,
    HealthStatus,
    LoadBalancer,
)
from weft.mesh.names import service_host
from weft.mesh.protocols import of_port
from weft.mesh.workloads import PodFacts, own_port

NO_ADDRESS = ("", "None")
LABEL_ZONE = LABELS_LOCALITY[1]
SOURCE_IP = LoadBalancer(algorithm="ring_hash", hash_key=HashKey(kind="source_ip"))
"""What sessionAffinity ClientIP means."""
ADDRESS_TYPE_NAMES = "FQDN"
NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
NEARNESS = {
    "PreferClose": (LABEL_ZONE,),
    "PreferSameZone": (LABEL_ZONE,),
    "PreferSameNode": (LABEL_ZONE, LABEL_HOSTNAME),
}
"""trafficDistribution -> labels of places, the widest first."""


def build_host(
    service: Service,
    slices: tuple[EndpointSlice, ...],
    pods: tuple[PodFacts | None, ...],
) -> Host:
    """A service as a host. `pods` are those of the slices' endpoints, one after the other."""
    meta, spec = service.metadata, service.spec
    host = service_host(meta.name, meta.namespace)
    addresses = _addresses(service)
    headless = spec.cluster_ip == "None" and not spec.external_name
    ports: dict[int, HostPort] = {}
    udp_ports: dict[int, HostPort] = {}
    pinned = learned(service)
    for port in spec.ports:
        protocol = of_port(port.name, port.app_protocol, port.protocol, port.port or 0)
        if protocol == "auto" and (port.port or 0) in pinned:
            protocol = "tcp"
        known = udp_ports if protocol == "udp" else ports
        if protocol is not None and port.port and port.port not in known:
            found = _endpoints(port.name, slices, pods) if spec.type != "ExternalName" else ((), ())
            known[port.port] = HostPort(port.port, port.name, protocol, *found)
    in_namespace = f"{meta.name}.{meta.namespace}"
    return Host(
        host=host,
        namespace=meta.namespace,
        name=meta.name,
        source=f"Service {meta.namespace}/{meta.name}",
        ports=tuple(ports.values()),
        udp_ports=tuple(udp_ports.values()),
        cluster_ips=_cluster_ips(service),
        domains=(host, f"{in_namespace}.svc", in_namespace, *addresses),
        short_name=meta.name,
        addresses=addresses,
        load_balancer=SOURCE_IP if spec.session_affinity == "ClientIP" else LoadBalancer(),
        headless=headless,
        pods=_pods(meta.name, meta.namespace, slices) if headless else (),
        alias_of=spec.external_name.lower().rstrip(".") if spec.type == "ExternalName" else "",
        created=meta.creation_timestamp,
        visible_in=_exported(service),
        outside=_outside(service),
        node_local=spec.internal_traffic_policy == "Local",
        nearness=NEARNESS.get(spec.traffic_distribution, ()),
        wakes=meta.annotations.get(ANNOTATION_SERVICE_WAKES, ""),
        sleep=_sleep(meta.annotations),
    )


def _sleep(annotations: Mapping[str, str]) -> Literal["", "falling", "asleep"]:
    written = annotations.get(ANNOTATION_SERVICE_SLEEP, "")
    if not annotations.get(ANNOTATION_SERVICE_WAKES):
        return ""
    return "falling" if written == "falling" else "asleep" if written == "asleep" else ""


def _outside(service: Service) -> Outside | None:
    """None for what no node listens for."""
    spec = service.spec
    external = spec.type in NODE_PORT_TYPES
    if spec.type == "ExternalName" or spec.cluster_ip in NO_ADDRESS:
        return None
    if not external and not spec.external_ips:
        return None
    return Outside(
        source_ranges=spec.load_balancer_source_ranges if spec.type == "LoadBalancer" else (),
        node_local=spec.external_traffic_policy == "Local",
        health_port=spec.health_check_node_port or 0,
    )


def _exported(service: Service) -> tuple[str, ...]:
    """Namespaces whose callers see the service; all when empty."""
    written = service.metadata.annotations.get(ANNOTATION_EXPORT_TO, "")
    names = tuple(name for part in written.split(",") if (name := part.strip()))
    visible = visible_to(names, service.metadata.namespace)
    return (NOBODY,) if visible is None else visible


def served_ports(
    host: Host, slices: Sequence[EndpointSlice]
) -> dict[tuple[str, str], dict[int, AppProtocol]]:
    """Per pod (namespace, name): which of its ports the service sends calls to, and as what."""
    by_name = {port.name: port.protocol for port in host.ports}
    found: dict[tuple[str, str], dict[int, AppProtocol]] = {}
    for each in slices:
        ports = {
            p.port: by_name[p.name]
            for p in each.ports
            if p.port and p.name in by_name and p.protocol in ("", "TCP")
        }
        if not ports:
            continue
        for endpoint in each.endpoints:
            ref = endpoint.target_ref
            if ref is not None and ref.kind == "Pod":
                found.setdefault((each.metadata.namespace, ref.name), {}).update(ports)
    return found


def health(
    conditions: discovery_v1.EndpointConditions | None, pod: PodFacts | None
) -> HealthStatus | None:
    """HEALTHY, DRAINING, or None for an endpoint that must not be known.

    A terminating endpoint stays as DRAINING until it is gone: requests under way on it go on, and
    whether any are is visible only while the proxy knows it. The pod's own deletion counts as well,
    so that draining does not wait for the slice to be rewritten.
    """
    if pod is not None:
        if pod.terminal:
            return None
        if pod.terminating:
            return "DRAINING"
    if conditions is None:
        return "HEALTHY"
    if conditions.terminating:
        return "DRAINING"
    return None if conditions.ready is False else "HEALTHY"


def _endpoints(
    port_name: str, slices: tuple[EndpointSlice, ...], pods: tuple[PodFacts | None, ...]
) -> tuple[tuple[Endpoint, ...], tuple[ComingPod, ...]]:
    """Those that serve, and those that will."""
    found: dict[tuple[str, int], Endpoint] = {}
    coming: dict[tuple[str, int], ComingPod] = {}
    start = 0
    for each in slices:
        end = start + len(each.endpoints)
        number = next((p.port for p in each.ports if p.name == port_name), None)
        if number and each.address_type != ADDRESS_TYPE_NAMES:
            for endpoint, pod in zip(each.endpoints, pods[start:end], strict=True):
                made = _endpoint(endpoint, number, pod, each.metadata.namespace)
                if made is not None:
                    found[(made.address, made.port)] = made
                elif pod is not None and not pod.terminal:
                    own = pod.host_ports.get(number, number)
                    node = endpoint.node_name or pod.node
                    coming[(pod.uid, own)] = ComingPod(node, pod.uid, own)
        start = end
    serving = tuple(found[key] for key in sorted(found))
    return serving, tuple(coming[key] for key in sorted(coming))


def _endpoint(
    endpoint: discovery_v1.Endpoint, port: int, pod: PodFacts | None, namespace: str
) -> Endpoint | None:
    status = health(endpoint.conditions, pod)
    if status is None or not endpoint.addresses:
        return None
    if pod is None:
        return Endpoint(
            address=endpoint.addresses[0],
            port=port,
            health=status,
            node=endpoint.node_name,
            namespace=namespace,
            locality="" if endpoint.node_name or not endpoint.zone else f"/{endpoint.zone}",
        )
    return Endpoint(
        address=endpoint.addresses[0],
        port=pod.host_ports.get(port, port),
        own_port=own_port(pod, port),
        health=status,
        weight=pod.weight,
        node=endpoint.node_name or pod.node,
        pod_uid=pod.uid,
        workload=pod.workload,
        namespace=pod.namespace,
        version=pod.version,
        principal=pod.principal,
        labels=pod.labels,
    )


def _pods(name: str, namespace: str, slices: tuple[EndpointSlice, ...]) -> tuple[HostPod, ...]:
    """The endpoints of a headless service by DNS name: the pod's hostname where it has one, else
    the address with dashes."""
    found: dict[str, HostPod] = {}
    for each in slices:
        if each.address_type == ADDRESS_TYPE_NAMES:
            continue
        for endpoint in each.endpoints:
            if not endpoint.addresses:
                continue
            address = endpoint.addresses[0]
            label = endpoint.hostname or address.replace(".", "-").replace(":", "-")
            host = service_host(f"{label}.{name}", namespace)
            short = f"{label}.{name}.{namespace}"
            names = (host, f"{short}.svc", short) if endpoint.hostname else ()
            found.setdefault(host, HostPod(host=host, address=address, names=names))
    return tuple(found[key] for key in sorted(found))


def _cluster_ips(service: Service) -> tuple[str, ...]:
    candidates = service.spec.cluster_ips or (service.spec.cluster_ip,)
    return tuple(dict.fromkeys(a for a in candidates if a not in NO_ADDRESS))


def _addresses(service: Service) -> tuple[str, ...]:
    external = () if service.spec.type == "ExternalName" else service.spec.external_ips
    return tuple(dict.fromkeys((*_cluster_ips(service), *external)))


def slices_by_service(
    slices: Sequence[EndpointSlice], label: str
) -> Mapping[tuple[str, str], tuple[EndpointSlice, ...]]:
    """EndpointSlices by (namespace, service name)."""
    found: dict[tuple[str, str], list[EndpointSlice]] = {}
    for each in slices:
        name = each.metadata.labels.get(label)
        if name:
            found.setdefault((each.metadata.namespace, name), []).append(each)
    return {key: tuple(values) for key, values in found.items()}
