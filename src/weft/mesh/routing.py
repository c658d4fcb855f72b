"""How calls are routed: all of the model that does not depend on which pods serve.

Endpoints change all the time, routes seldom, so this part is one function of few values.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Secret
from weft.api.objects import key_of
from weft.api.snapshot import NOT_OBSERVED, Observed
from weft.mesh.auto_passthrough import PASSED, passed_rules
from weft.mesh.client_tls import with_credentials
from weft.mesh.directory import Directory
from weft.mesh.exposure import Exposed, exposed_services
from weft.mesh.findings import Findings
from weft.mesh.gateway_api_objects import ServiceRoutes
from weft.mesh.hosts import Host
from weft.mesh.istio_gateways import gateway_parts
from weft.mesh.istio_policies import ROOT_NAMESPACE, HostRule, read_rules
from weft.mesh.mesh_index import MeshIndex
from weft.mesh.model import (
    PASS_UNKNOWN,
    Destination,
    EnvoyPatch,
    GatewayListener,
    OutboundPort,
    RouteTable,
    ServiceListener,
    TcpRoute,
    UdpRoute,
    UnknownHosts,
)
from weft.mesh.route_memo import RouteMemo
from weft.mesh.scoped_routing import ScopedRouting, mesh_tables, scopes_routing, with_own_clusters
from weft.mesh.secrets import Secrets
from weft.mesh.sidecars import Scope
from weft.mesh.tables import outbound_ports, proxy_table, service_listeners
from weft.mesh.tcp_routes import tcp_routes
from weft.mesh.udp_routes import udp_listeners, udp_routes

T = TypeVar("T", bound=Struct)
ClientRules = tuple[tuple[str, HostRule | None], ...]
"""The DestinationRule for callers of each namespace that has one of its own; "" is all others."""
NO_RULES: ClientRules = (("", None),)


class RoutingObjects(Struct, frozen=True):
    """Everything that routing is made of, besides hosts."""

    virtual_services: Sequence[istio.VirtualService] = ()
    destination_rules: Sequence[istio.DestinationRule] = ()
    gateways: Sequence[istio.Gateway] = ()
    secrets: Sequence[Secret] = ()
    missing_files: frozenset[str] = frozenset()
    service_routes: ServiceRoutes = ServiceRoutes()
    """Routes of the Gateway API with a Service as parent."""
    service_listeners: bool = False
    """Some node has host isolation."""
    scopes: tuple[Scope, ...] = ()
    unknown: UnknownHosts = PASS_UNKNOWN
    """What becomes of calls to unknown hosts, of workloads that are in no scope."""
    patches: tuple[EnvoyPatch, ...] = ()


class Routing(Struct, frozen=True):
    """Routes, and the rules for the destinations that they name."""

    rules: Mapping[str, ClientRules]
    """By host; NO_RULES for those that are not here."""
    missing: tuple[Destination, ...]
    """What routes name and nothing provides."""
    tables: tuple[RouteTable, ...]
    """Of calls inside the mesh, then of gateways, then of host isolation."""
    outbound: tuple[OutboundPort, ...]
    tcp: tuple[TcpRoute, ...]
    """Connection routes of callers in general."""
    tcp_special: Mapping[str, tuple[TcpRoute, ...]]
    """Those of the namespaces that differ."""
    udp: tuple[UdpRoute, ...]
    udp_special: Mapping[str, tuple[UdpRoute, ...]]
    gateways: tuple[GatewayListener, ...]
    listeners: tuple[ServiceListener, ...]
    findings: tuple[Diagnostic, ...]
    exposed: Exposed = Exposed()
    """Services that nodes listen for, for callers from outside."""
    scopes: Mapping[str, ScopedRouting] = {}
    """By name of the scope, which is that of some workloads."""


def shape(host: Host) -> Host:
    """A host without its endpoints. Those of headless services stay: each has routes of its own."""
    if host.pods or not any(p.endpoints for p in (*host.ports, *host.udp_ports)):
        return host
    return replace(
        host,
        ports=tuple(replace(p, endpoints=(), coming=()) for p in host.ports),
        udp_ports=tuple(replace(p, endpoints=(), coming=()) for p in host.udp_ports),
    )


def route(
    shapes: tuple[Host, ...], objects: RoutingObjects, memo: RouteMemo | None = None
) -> Routing:
    """The routing of hosts without their endpoints."""
    if memo is not None:
        memo.begin(shapes, objects.destination_rules, objects.secrets)
    report = Findings()
    hosts = {host.host: host for host in shapes}
    secrets = Secrets(objects.secrets, report)
    rules = read_rules(
        objects.destination_rules,
        hosts,
        report,
        lambda obj, read: with_credentials(obj, read, secrets),
    )
    directory = Directory(hosts, rules, report, objects.virtual_services, memo)
    index = MeshIndex(directory.virtual_services, directory)
    edge = _Listed(
        {
            istio.Gateway: objects.gateways,
            Secret: objects.secrets,
        }
    )
    gateways, gateway_tables = gateway_parts(edge, directory, objects.missing_files)
    tables = mesh_tables(hosts.values(), directory, index, objects.service_routes)
    tables = tuple(replace(table, unknown=objects.unknown) for table in tables)
    exported = {namespace for host in shapes for namespace in host.visible_in}
    special = {*directory.all_clients(), *index.source_namespaces(), *exported}
    tcp, udp = tcp_routes(shapes, directory, index, ""), udp_routes(shapes, directory, "")
    listeners, own_tables = (
        service_listeners(shapes, tables, tcp) if objects.service_listeners else ((), ())
    )
    datagrams = udp_listeners(udp) if objects.service_listeners else ()
    proxy_tables = (
        (replace(proxy_table(tables), unknown=objects.unknown),)
        if objects.service_listeners
        else ()
    )
    scopes = scopes_routing(
        objects.scopes, shapes, directory, objects.service_routes, objects.service_listeners
    )
    scopes = {name: with_own_clusters(name, each, objects.patches) for name, each in scopes.items()}
    scoped_tables = (table for scope in scopes.values() for table in scope.tables)
    exposed = exposed_services(shapes, tables, tcp, udp)
    return Routing(
        rules=_all_rules(shapes, directory, objects.scopes, objects.gateways),
        tables=(
            *tables,
            *gateway_tables,
            *proxy_tables,
            *own_tables,
            *exposed.tables,
            *scoped_tables,
        ),
        outbound=outbound_ports(shapes, tables),
        tcp=tcp,
        tcp_special={ns: tcp_routes(shapes, directory, index, ns) for ns in sorted(special)},
        udp=udp,
        udp_special={ns: udp_routes(shapes, directory, ns) for ns in sorted(special)},
        gateways=gateways,
        listeners=(*listeners, *datagrams),
        missing=tuple(directory.missing.values()),
        findings=report.all(),
        exposed=exposed,
        scopes=scopes,
    )


class _Listed:
    """A snapshot of a few classes, listed by whoever had them all in order already."""

    def __init__(self, listed: Mapping[type[Struct], Sequence[Any]]) -> None:
        self._listed = listed

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        return next((o for o in self.list(cls, namespace) if key_of(o)[1] == name), None)

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        found = self._listed.get(cls, ())
        if namespace is None:
            return found
        return [obj for obj in found if key_of(obj)[0] == namespace]

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        return ()

    def observed(self, cls: type[Struct], name: str, namespace: str = "") -> Observed:
        return NOT_OBSERVED


def _all_rules(
    hosts: tuple[Host, ...],
    directory: Directory,
    scopes: Iterable[Scope],
    gateways: Sequence[istio.Gateway],
) -> Mapping[str, ClientRules]:
    """By host, what holds for callers of namespaces, for workloads that rules select, and for
    connections that gateways pass on."""
    found = {h.host: rules for h in hosts if (rules := _rules(h, directory)) != NO_RULES}
    selected = {(s.namespace, s.rules) for s in scopes if s.rules}
    at_edge = (directory.rules.selected(ROOT_NAMESPACE, g.spec.selector) for g in gateways)
    selected.update((ROOT_NAMESPACE, names) for names in at_edge if names)
    for namespace, names in sorted(selected):
        own = directory.rules.of_workloads(namespace, names)
        for host in hosts:
            mark, known = own.mark(host, namespace), found.get(host.host, NO_RULES)
            if "/" in mark and mark not in dict(known):
                found[host.host] = (*known, (mark, own.find(host, namespace)))
    for name, rule in passed_rules(hosts, gateways, directory.rules):
        found[name] = (*found.get(name, NO_RULES), (PASSED, rule))
    return found


def _rules(host: Host, directory: Directory) -> ClientRules:
    clients = ("", *directory.clients(host))
    return tuple((client, directory.rules.find(host, client)) for client in clients)
