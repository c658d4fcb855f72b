"""The names of the cluster's DNS, made of services, endpoints and ServiceEntries. Pure.

Hosts of ServiceEntries without an address get the one that `weft.api.vip` derives from the name, as
with Istio's DNS proxying.
"""

from collections.abc import Iterable

from weft.api.istio.networking_v1 import ServiceEntry
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import Endpoint, EndpointSlice
from weft.api.vip import vip_for
from weft.api.wellknown import LABEL_SERVICE_NAME
from weft.node.dns.zone import SERVICES_ZONE, Address, Host, Port, ServiceName, Zone, is_ip

CLASSES = (Service, EndpointSlice, ServiceEntry)
"""What they are made of."""


def build_zone(
    services: Iterable[Service], slices: Iterable[EndpointSlice], entries: Iterable[ServiceEntry]
) -> Zone:
    """Index what is asked for."""
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for piece in slices:
        owner = piece.metadata.labels.get(LABEL_SERVICE_NAME, "")
        by_service.setdefault((piece.metadata.namespace, owner), []).append(piece)
    names: dict[tuple[str, str], ServiceName] = {}
    reverse: dict[str, str] = {}
    for service in services:
        key = (service.metadata.namespace, service.metadata.name)
        found = names[key] = _name_of(service, by_service.get(key, []))
        full = f"{key[1]}.{key[0]}.{SERVICES_ZONE}"
        reverse |= {e.ip: f"{e.host}.{full}" for e in found.endpoints}
        if found.ip:
            reverse[found.ip] = full
    hosts: dict[str, tuple[Host, ...]] = {}
    for entry in entries:
        for host in entry.spec.hosts:
            addresses = _addresses_of(entry, host)
            if addresses:
                key_name = host.lower().rstrip(".")
                seen = Host(addresses, _visibility(entry))
                hosts[key_name] = (*hosts.get(key_name, ()), seen)
    return Zone(names, hosts, reverse, frozenset(ns for ns, _ in names))


def _name_of(service: Service, slices: Iterable[EndpointSlice]) -> ServiceName:
    spec = service.spec
    ports = tuple(Port(p.name, (p.protocol or "TCP").lower(), p.port) for p in spec.ports if p.port)
    if spec.type == "ExternalName":
        return ServiceName(target=spec.external_name.lower().rstrip("."))
    if spec.cluster_ip and spec.cluster_ip != "None":
        return ServiceName(ip=spec.cluster_ip, ports=ports)
    unready = bool(spec.publish_not_ready_addresses)
    endpoints = tuple(
        Address(endpoint.hostname or ip.replace(".", "-"), ip, _ports_of(piece))
        for piece in slices
        if piece.address_type in ("", "IPv4")
        for endpoint in piece.endpoints
        if unready or _is_ready(endpoint)
        for ip in endpoint.addresses[:1]
    )
    return ServiceName(ports=ports, endpoints=endpoints)


def _ports_of(piece: EndpointSlice) -> tuple[Port, ...]:
    return tuple(Port(p.name, (p.protocol or "TCP").lower(), p.port) for p in piece.ports if p.port)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _addresses_of(entry: ServiceEntry, host: str) -> tuple[str, ...]:
    plain = tuple(a for a in entry.spec.addresses if is_ip(a))
    if plain:
        return plain
    own = tuple(a.value for a in entry.status.addresses if a.value and a.host in ("", host))
    if own:
        return own
    if entry.spec.addresses or host.startswith("*") or is_ip(host):
        return ()
    return () if entry.spec.resolution in ("", "NONE") else (vip_for(host),)


def _visibility(entry: ServiceEntry) -> frozenset[str] | None:
    shown = entry.spec.export_to
    if not shown or "*" in shown:
        return None
    return frozenset(entry.metadata.namespace if ns == "." else ns for ns in shown)
