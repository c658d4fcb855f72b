"""What the cluster's DNS answers, and the names that it answers from. Pure.

The schema is Kubernetes' DNS specification 1.1.0. The DNS server is a process of its own, for which
every import counts: no API types here (`weft.node.dns_records` makes zones of objects).
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from weft.api.wellknown import CLUSTER_DOMAIN

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


class Port(Struct, frozen=True):
    name: str
    protocol: str
    number: int


class Address(Struct, frozen=True):
    """An endpoint: its host name within the service, its address, its ports."""

    host: str
    ip: str
    ports: tuple[Port, ...]


class ServiceName(Struct, frozen=True):
    """A service. With a cluster IP, or headless (`endpoints`), or an alias (`target`)."""

    ip: str = ""
    target: str = ""
    ports: tuple[Port, ...] = ()
    endpoints: tuple[Address, ...] = ()


class Host(Struct, frozen=True):
    """A host of a ServiceEntry. `visible_in` None: in every namespace."""

    addresses: tuple[str, ...]
    visible_in: frozenset[str] | None


class Zone(Struct, frozen=True):
    """All names at one moment; made by `dns_records.build_zone`."""

    services: Mapping[tuple[str, str], ServiceName]
    """By namespace and name."""
    hosts: Mapping[str, tuple[Host, ...]]
    reverse: Mapping[str, str]
    """IP to the full name of its service or endpoint."""
    namespaces: frozenset[str]


def is_ip(text: str) -> bool:
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


def _service(name: str, service: ServiceName, full: str, kind: str) -> Answer:
    if service.target:
        return Answer((Record(name, "CNAME", f"{service.target}."),))
    if kind == "SRV":
        return Answer(*_srv_records(name, service, full))
    if service.ip:
        return _addresses(name, kind, (service.ip,))
    if not service.endpoints:
        return Answer(missing=True)
    return _addresses(name, kind, dict.fromkeys(e.ip for e in service.endpoints))


def _endpoint(name: str, host: str, service: ServiceName, kind: str) -> Answer:
    if host.startswith("_"):
        return Answer()  # a protocol of the service: a name between others
    found = [e.ip for e in service.endpoints if e.host == host]
    return _addresses(name, kind, found) if found else Answer(missing=True)


def _srv_records(
    name: str, service: ServiceName, full: str, port: str = "", protocol: str = ""
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """SRV records and the addresses of their targets. Empty port or protocol is any."""

    def wanted(p: Port) -> bool:
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
    if len(labels) != 2 or not is_ip(address):
        return Answer(missing=True)
    return _addresses(name, kind, (address,))


# --- lookups


def address_of(zone: Zone, host: str, namespace: str) -> str:
    """The first address that a pod's resolver finds for a host, as its search list says; "" when
    the cluster knows none."""
    if is_ip(host):
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
