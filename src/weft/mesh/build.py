"""All objects of the mesh, as one model.

Never raises on what users wrote: what is wrong is reported, and the rest stays in force.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.api.wellknown import (
    ANNOTATION_NODE_ISOLATION,
    ISOLATION_HOST,
    LABEL_SERVICE_NAME,
    TRUST_DOMAIN_DEFAULT,
)
from weft.mesh import findings as f
from weft.mesh.destinations import host_destinations
from weft.mesh.directory import Directory
from weft.mesh.findings import Findings
from weft.mesh.hosts import Host, HostPort
from weft.mesh.istio_gateways import gateway_parts
from weft.mesh.istio_policies import read_rules
from weft.mesh.memo import Memo
from weft.mesh.mesh_index import MeshIndex
from weft.mesh.model import (
    AppProtocol,
    Destination,
    Endpoint,
    MeshModel,
    OutboundPort,
    RouteTable,
    TcpRoute,
    Workload,
)
from weft.mesh.service_entries import entry_hosts
from weft.mesh.services import build_host, served_ports, slices_by_service
from weft.mesh.tables import (
    PROXY_TABLE,
    MeshRouting,
    TableBuilder,
    outbound_ports,
    proxy_table,
    service_listeners,
)
from weft.mesh.tcp_routes import tcp_routes
from weft.mesh.workloads import PodFacts, pod_facts, workload

PodKey = tuple[str, str]
Served = Mapping[PodKey, dict[int, AppProtocol]]


class BuildSettings(Struct, frozen=True):
    """What the model depends on besides objects."""

    trust_domain: str = TRUST_DOMAIN_DEFAULT
    missing_files: frozenset[str] = frozenset()
    """Of the files that `istio_gateways.referenced_files` names, those that do not exist."""


DEFAULTS = BuildSettings()


class Built(Struct, frozen=True):
    """A model and what is wrong with the objects it was made from."""

    model: MeshModel
    diagnostics: tuple[Diagnostic, ...] = ()


def build(
    snapshot: Snapshot, settings: BuildSettings = DEFAULTS, memo: Memo | None = None
) -> Built:
    """The model of all objects of a snapshot. Pass the same `memo` to each build in turn, and what
    did not change is taken over from the last one."""
    memo = memo or Memo()
    report = Findings()
    pods = _pods(snapshot, settings.trust_domain, memo)
    hosts, served = _service_hosts(snapshot, pods, memo)
    _add_entries(hosts, snapshot, pods, settings, report)
    _resolve_aliases(hosts)
    rules = read_rules(snapshot.list(istio.DestinationRule), hosts, report)
    directory = Directory(hosts, rules, report)
    virtual_services = snapshot.list(istio.VirtualService)
    index = MeshIndex(virtual_services, directory)

    tables = _tables(directory, index)
    gateways, gateway_tables = gateway_parts(snapshot, directory, settings.missing_files)
    host_mode = _any_host_isolation(snapshot)
    tcp = _TcpByNamespace(directory, index, memo)
    listeners, listener_tables = (
        service_listeners(hosts.values(), tables, tcp.general) if host_mode else ((), ())
    )
    proxy_tables = (proxy_table(tables),) if host_mode else ()
    outbound = memo.keep("outbound", outbound_ports(hosts.values(), tables))
    model = MeshModel(
        trust_domain=settings.trust_domain,
        workloads=_workloads(pods, served, outbound, tcp, memo),
        destinations=_destinations(directory, memo),
        route_tables=(*tables, *gateway_tables, *proxy_tables, *listener_tables),
        service_listeners=listeners,
        gateways=gateways,
    )
    memo.end()
    return Built(model, report.all())


def _pods(snapshot: Snapshot, trust_domain: str, memo: Memo) -> dict[PodKey, PodFacts]:
    found = {}
    for pod in snapshot.list(Pod):
        key = (pod.metadata.namespace, pod.metadata.name)
        found[key] = memo(key, pod_facts, pod, trust_domain)
    return found


def _service_hosts(
    snapshot: Snapshot, pods: Mapping[PodKey, PodFacts], memo: Memo
) -> tuple[dict[str, Host], Served]:
    """Services as hosts, and which pod serves which ports."""
    slices = slices_by_service(snapshot.list(EndpointSlice), LABEL_SERVICE_NAME)
    hosts: dict[str, Host] = {}
    served: dict[PodKey, dict[int, AppProtocol]] = {}
    for service in snapshot.list(Service):
        key = (service.metadata.namespace, service.metadata.name)
        own = slices.get(key, ())
        host = memo(key, build_host, service, own, _pods_of(own, pods))
        hosts[host.host] = host
        for pod, ports in memo(key, served_ports, host, own).items():
            known = served.get(pod)
            served[pod] = ports if known is None else _merged(known, ports)
    return hosts, served


def _merged(first: dict[int, AppProtocol], later: dict[int, AppProtocol]) -> dict[int, AppProtocol]:
    """Ports of a pod behind two services: what the first one declares holds."""
    return later | {p: what for p, what in first.items() if what != "auto" or p not in later}


def _pods_of(
    slices: Sequence[EndpointSlice], pods: Mapping[PodKey, PodFacts]
) -> tuple[PodFacts | None, ...]:
    get = pods.get
    return tuple(
        get((s.metadata.namespace, e.target_ref.name)) if e.target_ref is not None else None
        for s in slices
        for e in s.endpoints
    )


def _add_entries(
    hosts: dict[str, Host],
    snapshot: Snapshot,
    pods: Mapping[PodKey, PodFacts],
    settings: BuildSettings,
    report: Findings,
) -> None:
    entries = sorted(
        snapshot.list(istio.ServiceEntry),
        key=lambda e: (e.metadata.creation_timestamp, e.metadata.namespace, e.metadata.name),
    )
    for entry in entries:
        for host in entry_hosts(entry, pods, settings.trust_domain, report):
            known = hosts.setdefault(host.host, host)
            if known is not host:
                report.add(
                    f.HOST_DEFINED_TWICE,
                    entry,
                    "spec.hosts",
                    host=host.host,
                    other=known.source,
                )


def _resolve_aliases(hosts: dict[str, Host]) -> None:
    """ExternalName services: the service they stand for, or a name that DNS resolves."""
    for name, host in list(hosts.items()):
        if not host.alias_of:
            continue
        target = hosts.get(host.alias_of)
        if target is not None and not target.alias_of:
            wanted = [p.number for p in host.ports] or [p.number for p in target.ports]
            ports = tuple(p for n in wanted if (p := target.port(n)) is not None)
            hosts[name] = replace(host, ports=ports, discovery=target.discovery)
            continue
        named = tuple(
            HostPort(p.number, p.name, p.protocol, (Endpoint(host.alias_of, p.number),))
            for p in host.ports
        )
        hosts[name] = replace(host, ports=named, discovery="dns", external=True)


def _tables(directory: Directory, index: MeshIndex) -> tuple[RouteTable, ...]:
    builder = TableBuilder(MeshRouting(directory, index))
    for host in directory.hosts.values():
        builder.add_host(host)
    for name in index.hosts():
        if name not in directory.hosts:
            builder.add_routed_host(name)
    return builder.tables()


class _TcpByNamespace:
    """Connection routes: the same for all callers, but for the namespaces that differ."""

    def __init__(self, directory: Directory, index: MeshIndex, memo: Memo) -> None:
        hosts = tuple(directory.hosts.values())
        self.general = memo.keep("tcp", tcp_routes(hosts, directory, index, ""))
        special = {*directory.all_clients(), *index.source_namespaces()}
        self._special = {
            ns: memo.keep(("tcp", ns), tcp_routes(hosts, directory, index, ns))
            for ns in sorted(special)
        }

    def of(self, namespace: str) -> tuple[TcpRoute, ...]:
        return self._special.get(namespace, self.general)


def _destinations(directory: Directory, memo: Memo) -> tuple[Destination, ...]:
    made: dict[str, Destination] = {}
    for name, host in directory.hosts.items():
        for client in ("", *directory.clients(host)):
            rule = directory.rules.find(host, client)
            for each in memo((name, client), host_destinations, host, rule, client):
                made.setdefault(each.name, each)
    for missing in directory.missing.values():
        made.setdefault(missing.name, missing)
    return tuple(made.values())


def _workloads(
    pods: Mapping[PodKey, PodFacts],
    served: Served,
    outbound: tuple[OutboundPort, ...],
    tcp: _TcpByNamespace,
    memo: Memo,
) -> tuple[Workload, ...]:
    proxied = (OutboundPort(0, PROXY_TABLE),)
    none: dict[int, AppProtocol] = {}
    made = []
    for key, pod in pods.items():
        if pod.connected:
            ports = served.get(key, none)
            if pod.proxy_address:
                made.append(memo(key, workload, pod, ports, proxied, ()))
            else:
                made.append(memo(key, workload, pod, ports, outbound, tcp.of(pod.namespace)))
    return tuple(made)


def _any_host_isolation(snapshot: Snapshot) -> bool:
    nodes: Iterable[Node] = snapshot.list(Node)
    return any(
        n.metadata.annotations.get(ANNOTATION_NODE_ISOLATION) == ISOLATION_HOST for n in nodes
    )
