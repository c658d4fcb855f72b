"""Answers of the cluster's DNS: services, endpoints, ServiceEntries. Pure.

The schema is Kubernetes' DNS specification 1.1.0; hosts of ServiceEntries without an address get
the one that `weft.api.vip` derives from the name, as with Istio's DNS proxying.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from weft.api.istio.networking_v1 import ServiceEntry
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import Endpoint, EndpointSlice
from weft.api.vip import vip_for
from weft.api.wellknown import CLUSTER_DOMAIN, LABEL_SERVICE_NAME

TTL_SECONDS = 5
"""Short: answers of headless services change with every pod."""
SERVICES_ZONE = f"svc.{CLUSTER_DOMAIN}"
PODS_ZONE = f"pod.{CLUSTER_DOMAIN}"
ALIASES_FOLLOWED_MAX = 8
_REVERSE = ".in-addr.arpa"

RecordType = Literal["A", "AAAA", "CNAME", "SRV", "PTR"]


class Record(Struct, frozen=True):
    """One resource record; `data` as in a zone file, names with a final dot."""

    name: str
    type: RecordType
    data: str


class Answer(Struct, frozen=True):
    """`missing` is NXDOMAIN; no records otherwise is NOERROR without data."""

    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    missing: bool = False


class _Port(Struct, frozen=True):
    name: str
    protocol: str
    number: int


class _Address(Struct, frozen=True):
    """An endpoint: its host name within the service, its address, its ports."""

    host: str
    ip: str
    ports: tuple[_Port, ...]


class _Name(Struct, frozen=True):
    """A service. With a cluster IP, or headless (`endpoints`), or an alias (`target`)."""

    ip: str = ""
    target: str = ""
    ports: tuple[_Port, ...] = ()
    endpoints: tuple[_Address, ...] = ()


class _Host(Struct, frozen=True):
    """A host of a ServiceEntry. `visible_in` None: in every namespace."""

    addresses: tuple[str, ...]
    visible_in: frozenset[str] | None


class Zone(Struct, frozen=True):
    """All names at one moment; made by `build_zone`."""

    services: Mapping[tuple[str, str], _Name]
    """By namespace and name."""
    hosts: Mapping[str, tuple[_Host, ...]]
    reverse: Mapping[str, str]
    """IP to the full name of its service or endpoint."""
    namespaces: frozenset[str]


def build_zone(
    services: Iterable[Service], slices: Iterable[EndpointSlice], entries: Iterable[ServiceEntry]
) -> Zone:
    """Index what is asked for."""
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for piece in slices:
        owner = piece.metadata.labels.get(LABEL_SERVICE_NAME, "")
        by_service.setdefault((piece.metadata.namespace, owner), []).append(piece)
    names: dict[tuple[str, str], _Name] = {}
    reverse: dict[str, str] = {}
    for service in services:
        key = (service.metadata.namespace, service.metadata.name)
        found = names[key] = _name_of(service, by_service.get(key, []))
        full = f"{key[1]}.{key[0]}.{SERVICES_ZONE}"
        reverse |= {e.ip: f"{e.host}.{full}" for e in found.endpoints}
        if found.ip:
            reverse[found.ip] = full
    hosts: dict[str, tuple[_Host, ...]] = {}
    for entry in entries:
        for host in entry.spec.hosts:
            addresses = _addresses_of(entry, host)
            if addresses:
                key_name = host.lower().rstrip(".")
                seen = _Host(addresses, _visibility(entry))
                hosts[key_name] = (*hosts.get(key_name, ()), seen)
    return Zone(names, hosts, reverse, frozenset(ns for ns, _ in names))


def _name_of(service: Service, slices: Iterable[EndpointSlice]) -> _Name:
    spec = service.spec
    ports = tuple(
        _Port(p.name, (p.protocol or "TCP").lower(), p.port) for p in spec.ports if p.port
    )
    if spec.type == "ExternalName":
        return _Name(target=spec.external_name.lower().rstrip("."))
    if spec.cluster_ip and spec.cluster_ip != "None":
        return _Name(ip=spec.cluster_ip, ports=ports)
    unready = bool(spec.publish_not_ready_addresses)
    endpoints = tuple(
        _Address(endpoint.hostname or ip.replace(".", "-"), ip, _ports_of(piece))
        for piece in slices
        if piece.address_type in ("", "IPv4")
        for endpoint in piece.endpoints
        if unready or _is_ready(endpoint)
        for ip in endpoint.addresses[:1]
    )
    return _Name(ports=ports, endpoints=endpoints)


def _ports_of(piece: EndpointSlice) -> tuple[_Port, ...]:
    return tuple(
        _Port(p.name, (p.protocol or "TCP").lower(), p.port) for p in piece.ports if p.port
    )


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _addresses_of(entry: ServiceEntry, host: str) -> tuple[str, ...]:
    plain = tuple(a for a in entry.spec.addresses if _is_ip(a))
    if plain:
        return plain
    own = tuple(a.value for a in entry.status.addresses if a.value and a.host in ("", host))
    if own:
        return own
    if entry.spec.addresses or host.startswith("*") or _is_ip(host):
        return ()
    return () if entry.spec.resolution in ("", "NONE") else (vip_for(host),)


def _visibility(entry: ServiceEntry) -> frozenset[str] | None:
    shown = entry.spec.export_to
    if not shown or "*" in shown:
        return None
    return frozenset(entry.metadata.namespace if ns == "." else ns for ns in shown)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- questions


def answer(zone: Zone, name: str, kind: str, namespace: str) -> Answer | None:
    """The answer to a question from a pod of `namespace`; None when others must be asked.

    `name` is absolute, without the final dot; `kind` is a type's mnemonic, e.g. A.
    """
    asked = name.lower().rstrip(".")
    if asked.endswith(_REVERSE):
        return _reverse(zone, asked, kind)
    if (found := _host(zone, asked, namespace)) is not None:
        return _addresses(name, kind, found)
    if asked == CLUSTER_DOMAIN or asked.endswith(f".{CLUSTER_DOMAIN}"):
        return _in_cluster(zone, name, asked, kind)
    return None


def _host(zone: Zone, asked: str, namespace: str) -> tuple[str, ...] | None:
    candidates = [asked]
    labels = asked.split(".")
    candidates += ["*." + ".".join(labels[i:]) for i in range(1, len(labels))]
    for candidate in candidates:
        for host in zone.hosts.get(candidate, ()):
            if host.visible_in is None or namespace in host.visible_in:
                return host.addresses
    return None


def _addresses(name: str, kind: str, addresses: Iterable[str]) -> Answer:
    records = []
    for address in addresses:
        version: RecordType = "AAAA" if ":" in address else "A"
        if kind in (version, "ANY"):
            records.append(Record(name, version, address))
    return Answer(tuple(records))


def _reverse(zone: Zone, asked: str, kind: str) -> Answer | None:
    octets = asked.removesuffix(_REVERSE).split(".")
    target = zone.reverse.get(".".join(reversed(octets)))
    if target is None:
        return None
    return Answer((Record(asked, "PTR", f"{target}."),) if kind in ("PTR", "ANY") else ())


def _in_cluster(zone: Zone, name: str, asked: str, kind: str) -> Answer:
    if asked in (CLUSTER_DOMAIN, SERVICES_ZONE, PODS_ZONE):
        return Answer()
    if asked.endswith(f".{PODS_ZONE}"):
        return _pod_address(zone, name, asked.removesuffix(f".{PODS_ZONE}").split("."), kind)
    if not asked.endswith(f".{SERVICES_ZONE}"):
        return Answer(missing=True)
    labels = asked.removesuffix(f".{SERVICES_ZONE}").split(".")
    if len(labels) == 1:
        return Answer(missing=labels[0] not in zone.namespaces)
    service = zone.services.get((labels[-1], labels[-2]))
    if service is None:
        return Answer(missing=True)
    full = f"{labels[-2]}.{labels[-1]}.{SERVICES_ZONE}"
    if len(labels) == 2:
        return _service(name, service, full, kind)
    if len(labels) == 3:
        return _endpoint(name, labels[0], service, kind)
    if len(labels) == 4 and labels[0].startswith("_") and labels[1].startswith("_"):
        wanted = (labels[0][1:], labels[1][1:])
        records, additional = _srv_records(name, service, full, *wanted)
        if not records:
            return Answer(missing=True)
        return Answer(records, additional) if kind in ("SRV", "ANY") else Answer()
    return Answer(missing=True)


def _service(name: str, service: _Name, full: str, kind: str) -> Answer:
    if service.target:
        return Answer((Record(name, "CNAME", f"{service.target}."),))
    if kind == "SRV":
        return Answer(*_srv_records(name, service, full))
    if service.ip:
        return _addresses(name, kind, (service.ip,))
    if not service.endpoints:
        return Answer(missing=True)
    return _addresses(name, kind, dict.fromkeys(e.ip for e in service.endpoints))


def _endpoint(name: str, host: str, service: _Name, kind: str) -> Answer:
    if host.startswith("_"):
        return Answer()  # a protocol of the service: a name between others
    found = [e.ip for e in service.endpoints if e.host == host]
    return _addresses(name, kind, found) if found else Answer(missing=True)


def _srv_records(
    name: str, service: _Name, full: str, port: str = "", protocol: str = ""
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """SRV records and the addresses of their targets. Empty port or protocol is any."""

    def wanted(p: _Port) -> bool:
        return (not port or p.name == port) and (not protocol or p.protocol == protocol)

    if service.ip:
        numbers = [p.number for p in service.ports if wanted(p)]
        records = tuple(Record(name, "SRV", f"0 100 {n} {full}.") for n in numbers)
        return records, (Record(full, "A", service.ip),) if records else ()
    records = tuple(
        Record(name, "SRV", f"0 100 {p.number} {e.host}.{full}.")
        for e in service.endpoints
        for p in e.ports
        if wanted(p)
    )
    additional = tuple(Record(f"{e.host}.{full}", "A", e.ip) for e in service.endpoints)
    return records, additional if records else ()


def _pod_address(zone: Zone, name: str, labels: list[str], kind: str) -> Answer:
    """a-b-c-d.namespace.pod.cluster.local is the address a.b.c.d."""
    if len(labels) == 1:
        return Answer(missing=labels[0] not in zone.namespaces)
    address = labels[0].replace("-", ".")
    if len(labels) != 2 or not _is_ip(address):
        return Answer(missing=True)
    return _addresses(name, kind, (address,))


# --- lookups


def address_of(zone: Zone, host: str, namespace: str) -> str:
    """The first address that a pod's resolver finds for a host, as its search list says; "" when
    the cluster knows none."""
    if _is_ip(host):
        return host
    searches = (f"{namespace}.{SERVICES_ZONE}", SERVICES_ZONE, CLUSTER_DOMAIN)
    names = [host] if host.endswith(".") else [*(f"{host}.{s}" for s in searches), host]
    for name in names:
        if found := _followed(zone, name.rstrip("."), namespace, ALIASES_FOLLOWED_MAX):
            return found
    return ""


def _followed(zone: Zone, name: str, namespace: str, aliases: int) -> str:
    found = answer(zone, name, "A", namespace)
    for record in found.records if found is not None else ():
        if record.type == "A":
            return record.data
        if record.type == "CNAME" and aliases:
            return _followed(zone, record.data.rstrip("."), namespace, aliases - 1)
    return ""
