"""ServiceEntries as hosts: services that are no Kubernetes Service."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.api.vip import vip_for
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.hosts import Discovery, Host, HostPort
from weft.mesh.mesh_visibility import visible_to
from weft.mesh.model import AppProtocol, Endpoint, LoadBalancer
from weft.mesh.protocols import of_istio
from weft.mesh.values import is_ip, is_network, network
from weft.mesh.workload_groups import is_healthy
from weft.mesh.workloads import PodFacts, pod_endpoint, principal

ROUND_ROBIN = LoadBalancer(algorithm="round_robin")
NAMING_PROTOCOLS = ("http", "http2", "grpc", "tls")
"""Protocols in which a caller says the name of the host."""
UNIX_PREFIX = "unix://"
STATIC_NAMES = ("DNS", "DNS_ROUND_ROBIN")
BY_CALLER = ("NONE", "DYNAMIC_DNS")
"""Resolutions by which the caller says where a connection goes."""
NAMED = ("DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")
"""Resolutions by which endpoints may be host names."""


class Endpoints(Struct, frozen=True):
    """What a `workloadSelector` chooses from, and what identities are made of."""

    pods: Mapping[tuple[str, str], PodFacts]
    machines: Sequence[istio.WorkloadEntry]
    trust_domain: str


def entry_hosts(entry: istio.ServiceEntry, given: Endpoints, report: Findings) -> Iterator[Host]:
    """The hosts of a ServiceEntry; what is wrong with it is reported and left out."""
    spec, meta = entry.spec, entry.metadata
    if not spec.hosts:
        report.add(f.HOSTS_MISSING, entry, "spec.hosts")
        return
    visible = visible_to(spec.export_to, meta.namespace)
    if visible is None:
        return
    for index, endpoint in enumerate(spec.endpoints):
        report_network(entry, f"spec.endpoints[{index}]", endpoint, report)
    resolution = spec.resolution or "NONE"
    if resolution == "STATIC" and not spec.endpoints and spec.workload_selector is None:
        report.add(f.ENDPOINTS_MISSING, entry, "spec.resolution")
    ports = list(_ports(entry, report))
    addresses = _addresses(entry, report)
    for index, written in enumerate(spec.hosts):
        host = written.lower().rstrip(".")
        wildcard = host.startswith("*")
        if wildcard and resolution in STATIC_NAMES and not spec.endpoints:
            report.add(
                f.VALUE_INVALID,
                entry,
                f"spec.hosts[{index}]",
                "use resolution DYNAMIC_DNS or NONE, or give `endpoints`",
                problem=f"`{host}` cannot be resolved by DNS",
                part="host",
            )
            continue
        own = addresses or _virtual_address(host, resolution, wildcard)
        yield Host(
            host=host,
            namespace=meta.namespace,
            name=host,
            source=f"ServiceEntry {meta.namespace}/{meta.name}",
            ports=tuple(
                HostPort(number, port.name, protocol, _endpoints(entry, port, host, given))
                for number, protocol, port in ports
            ),
            domains=(host, *(a for a in own if "/" not in a)),
            addresses=own,
            discovery=_discovery(entry, resolution),
            load_balancer=ROUND_ROBIN if resolution == "DNS_ROUND_ROBIN" else LoadBalancer(),
            external=spec.location != "MESH_INTERNAL",
            created=meta.creation_timestamp,
            subject_alt_names=spec.subject_alt_names,
            visible_in=visible,
        )


def report_network(
    obj: Struct, path: str, endpoint: istio.WorkloadEntrySpec, report: Findings
) -> None:
    """There is one network, whatever an endpoint says."""
    if endpoint.network:
        consequence = "there is one network, and its address is called"
        report.add(f.SIDECAR_PART, obj, f"{path}.network", field="network", consequence=consequence)


def _discovery(entry: istio.ServiceEntry, resolution: str) -> Discovery:
    if resolution == "DYNAMIC_DNS":
        return "dynamic"
    if resolution == "NONE":
        return "original_dst"
    if resolution == "STATIC" or entry.spec.workload_selector is not None:
        return "endpoints"
    names = [e.address for e in entry.spec.endpoints]
    if names and all(is_ip(n) for n in names):
        return "endpoints"
    return "logical_dns" if resolution == "DNS_ROUND_ROBIN" else "dns"


def _virtual_address(host: str, resolution: str, wildcard: bool) -> tuple[str, ...]:
    """An address that the node's DNS gives out, so that calls can be told apart by it."""
    return () if wildcard or resolution in BY_CALLER else (vip_for(host),)


def _addresses(entry: istio.ServiceEntry, report: Findings) -> tuple[str, ...]:
    found = []
    for index, address in enumerate(entry.spec.addresses):
        if is_network(address):
            found.append(network(address))
        else:
            report.add(
                f.VALUE_INVALID,
                entry,
                f"spec.addresses[{index}]",
                problem=f"`{address}` is no IP address or CIDR block",
                part="address",
            )
    return tuple(dict.fromkeys(found))


def _ports(
    entry: istio.ServiceEntry, report: Findings
) -> Iterator[tuple[int, AppProtocol, istio.ServicePort]]:
    seen: set[int] = set()
    for index, port in enumerate(entry.spec.ports):
        path = f"spec.ports[{index}]"
        if not port.number:
            report.add(f.PORT_MISSING, entry, f"{path}.number")
        elif port.number in seen:
            report.add(f.PORT_DEFINED_TWICE, entry, f"{path}.number", port=port.number)
        elif port.protocol.lower() == "udp":
            report.add(
                f.NOT_IN_FORCE, entry, f"{path}.protocol", field="UDP",
                consequence="datagrams to it go where they are sent, not through the mesh",
            )  # fmt: skip
        else:
            seen.add(port.number)
            protocol = of_istio(port.protocol, port.number)
            if entry.spec.resolution == "DYNAMIC_DNS" and protocol not in NAMING_PROTOCOLS:
                report.add(
                    f.NAMELESS_PROTOCOL,
                    entry,
                    f"{path}.protocol",
                    protocol=port.protocol or "TCP",
                    port=port.number,
                )
                continue
            yield port.number, protocol, port


def _endpoints(
    entry: istio.ServiceEntry,
    port: istio.ServicePort,
    host: str,
    given: Endpoints,
) -> tuple[Endpoint, ...]:
    spec = entry.spec
    number = port.target_port or port.number or 0
    if spec.resolution in ("", "NONE"):
        return ()
    if spec.workload_selector is not None:
        labels = spec.workload_selector.labels
        chosen = _selected(entry.metadata.namespace, labels, given.pods)
        machines = _machines(entry.metadata.namespace, labels, given.machines)
        return (
            *(pod_endpoint(p, number) for p in chosen),
            *(
                _entry_endpoint(
                    each,
                    each.ports.get(port.name, number),
                    entry.metadata.namespace,
                    given.trust_domain,
                    healthy,
                )
                for each, healthy in machines
            ),
        )
    if not spec.endpoints and spec.resolution in NAMED:
        return (Endpoint(address=host, port=number),)
    return tuple(
        _entry_endpoint(
            e, e.ports.get(port.name, number), entry.metadata.namespace, given.trust_domain
        )
        for e in spec.endpoints
        if e.address
        and not e.address.startswith(UNIX_PREFIX)
        and (spec.resolution in NAMED or is_ip(e.address))
    )


def _entry_endpoint(
    entry: istio.WorkloadEntrySpec,
    port: int,
    namespace: str,
    trust_domain: str,
    healthy: bool = True,
) -> Endpoint:
    account = entry.service_account
    return Endpoint(
        address=entry.address,
        port=port,
        health="HEALTHY" if healthy else "UNHEALTHY",
        weight=entry.weight or 1,
        namespace=namespace,
        version=entry.labels.get("version", ""),
        principal=principal(trust_domain, namespace, account) if account else "",
        labels=tuple(sorted(entry.labels.items())),
        locality=entry.locality,
    )


def _selected(
    namespace: str, labels: Mapping[str, str], pods: Mapping[tuple[str, str], PodFacts]
) -> Iterable[PodFacts]:
    wanted = set(labels.items())
    return (
        pod
        for pod in pods.values()
        if pod.namespace == namespace
        and wanted.issubset(pod.labels)
        and pod.address
        and (pod.ready or pod.terminating)
        and not pod.terminal
    )


def _machines(
    namespace: str, labels: Mapping[str, str], entries: Iterable[istio.WorkloadEntry]
) -> Iterable[tuple[istio.WorkloadEntrySpec, bool]]:
    """WorkloadEntries with these labels, which stand in the spec or in the metadata, and whether
    they are healthy."""
    for each in entries:
        own = {**each.metadata.labels, **each.spec.labels}
        here = each.metadata.namespace == namespace and is_ip(each.spec.address)
        if here and labels.items() <= own.items():
            yield replace(each.spec, labels=own), is_healthy(each)
