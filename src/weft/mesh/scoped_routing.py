"""The routing of a scope: of the workloads that a Sidecar is for."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.directory import Directory, Reference
from weft.mesh.findings import Findings
from weft.mesh.gateway_api_objects import ServiceRoutes
from weft.mesh.hosts import Host
from weft.mesh.mesh_index import MeshIndex
from weft.mesh.model import (
    EnvoyPatch,
    HttpRoute,
    LocalListener,
    OutboundPort,
    RouteTable,
    TcpRoute,
    UdpRoute,
    UnknownHosts,
    VirtualHost,
    WeightedDestination,
)
from weft.mesh.names import full_host
from weft.mesh.sidecars import Scope
from weft.mesh.tables import MeshRouting, TableBuilder, outbound_ports, proxy_table
from weft.mesh.tcp_routes import connection_route, tcp_routes
from weft.mesh.udp_routes import udp_routes

PROXY_PORT = 0
"""The outbound port of a pod that calls through its own HTTP proxy listener."""


class ScopedRouting(Struct, frozen=True):
    """How the calls of some workloads are routed."""

    tables: tuple[RouteTable, ...]
    outbound: tuple[OutboundPort, ...]
    tcp: tuple[TcpRoute, ...]
    udp: tuple[UdpRoute, ...]
    unknown: UnknownHosts
    proxied: tuple[OutboundPort, ...] = ()
    """Instead of `outbound`, for pods that call through their own HTTP proxy listener."""
    local: tuple[LocalListener, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    """Destinations of which the scope has its own: (name, name of the copy)."""


def with_own_clusters(
    name: str, routing: ScopedRouting, patches: Iterable[EnvoyPatch]
) -> ScopedRouting:
    """The routing with destinations of its own where patches change them for this scope only."""
    wanted = [p for p in patches if p.apply_to == "CLUSTER" and name in p.scopes]
    if not wanted:
        return routing
    routes = [r for t in routing.tables for v in t.virtual_hosts for r in v.routes]
    shares = [d for r in routes for d in r.destinations]
    shares += [d for r in routing.tcp for d in r.destinations]
    shares += [d for each in routing.local if each.tcp for d in each.tcp.destinations]
    names = {d.destination for d in shares} | {m.destination for r in routes for m in r.mirrors}
    copies = {
        old: f"{old}@{name}"
        for old in sorted(names)
        if any(patch.matches_cluster(old) for patch in wanted)
    }

    def own(shares: tuple[WeightedDestination, ...]) -> tuple[WeightedDestination, ...]:
        return tuple(
            replace(d, destination=copies.get(d.destination, d.destination)) for d in shares
        )

    def changed(route: HttpRoute) -> HttpRoute:
        mirrors = (
            replace(m, destination=copies.get(m.destination, m.destination)) for m in route.mirrors
        )
        return replace(route, destinations=own(route.destinations), mirrors=tuple(mirrors))

    tables = (
        replace(
            table,
            virtual_hosts=tuple(
                replace(host, routes=tuple(map(changed, host.routes)))
                for host in table.virtual_hosts
            ),
        )
        for table in routing.tables
    )
    tcp = (replace(route, destinations=own(route.destinations)) for route in routing.tcp)
    local = (
        replace(each, tcp=replace(each.tcp, destinations=own(each.tcp.destinations)))
        if each.tcp is not None
        else each
        for each in routing.local
    )
    return replace(
        routing,
        tables=tuple(tables),
        tcp=tuple(tcp),
        local=tuple(local),
        copies=tuple(copies.items()),
    )


def mesh_tables(
    hosts: Iterable[Host],
    directory: Directory,
    index: MeshIndex,
    service_routes: ServiceRoutes,
) -> tuple[RouteTable, ...]:
    """The tables of calls to these hosts, and to those that only VirtualServices know."""
    builder = TableBuilder(MeshRouting(directory, index, service_routes))
    for host in hosts:
        builder.add_host(host)
    for name in index.hosts():
        if name not in directory.hosts:
            builder.add_routed_host(name)
    return builder.tables()


def scoped_routing(
    scope: Scope,
    hosts: Iterable[Host],
    directory: Directory,
    service_routes: ServiceRoutes,
    with_proxy: bool,
) -> ScopedRouting:
    """The routing of a scope's workloads: of what they can reach, and of nothing else.

    `directory` knows all hosts, because a route may lead to what callers cannot reach by name.
    """
    if scope.rules:
        directory = directory.of_workloads(scope.namespace, scope.rules)
    visible = [narrow for host in hosts if (narrow := scope.narrowed(host)) is not None]
    objects = [
        obj
        for obj in directory.virtual_services
        if any(
            scope.sees(
                obj.metadata.namespace, full_host(h, obj.metadata.namespace, directory.hosts)
            )
            for h in obj.spec.hosts
        )
    ]
    index = MeshIndex(objects, directory)
    unknown = _unknown(scope, directory)
    tables = mesh_tables(visible, directory, index, service_routes)
    own = tuple(
        narrowed
        for table in tables
        if (narrowed := _for_namespace(table, scope.namespace)).virtual_hosts
    )
    rename = _renamer(scope.name)
    outbound = tuple(
        replace(port, route_table=rename(port.route_table)) for port in outbound_ports(visible, own)
    )
    tcp = tuple(
        replace(route, http_table=rename(route.http_table)) if route.http_table else route
        for route in tcp_routes(visible, directory, index, scope.namespace)
    )
    known = {port.route_table for port in outbound}
    tcp = tuple(r if not r.http_table or r.http_table in known else _bytes(r) for r in tcp)
    proxy = replace(proxy_table(own), unknown=unknown) if with_proxy else None
    made = tuple(replace(t, name=rename(t.name), unknown=unknown) for t in own)
    if proxy is not None:
        made = (*made, replace(proxy, name=rename(proxy.name)))
    proxied = (OutboundPort(PROXY_PORT, rename(proxy.name)),) if proxy is not None else ()
    udp = udp_routes(visible, directory, scope.namespace)
    local = tuple(_local(scope, visible, directory, index, known))
    return ScopedRouting(made, outbound, tcp, udp, unknown, proxied, local)


def _local(
    scope: Scope,
    hosts: Iterable[Host],
    directory: Directory,
    index: MeshIndex,
    tables: Container[str],
) -> Iterator[LocalListener]:
    """The addresses that a Sidecar has its workloads' proxies listen on. Requests are told apart
    by the host that they name; other connections are for the first host with the port."""
    taken: set[tuple[str, int]] = set()
    for each in scope.listeners:
        if not each.bind or (each.bind, each.port) in taken:
            continue
        table = _renamer(scope.name)(str(each.port))
        if each.http:
            found = LocalListener(each.bind, each.port, table) if table in tables else None
        else:
            route = next(
                (
                    connection_route(host, port, directory, index, scope.namespace)
                    for host in hosts
                    if each.holds(host.namespace, host.host)
                    and (port := host.port(each.port)) is not None
                ),
                None,
            )
            found = LocalListener(each.bind, each.port, tcp=route) if route else None
        if found is not None:
            taken.add((each.bind, each.port))
            yield found


def scopes_routing(
    scopes: Iterable[Scope],
    hosts: tuple[Host, ...],
    directory: Directory,
    service_routes: ServiceRoutes,
    with_proxy: bool,
) -> Mapping[str, ScopedRouting]:
    """By scope. What is wrong with routes is reported for the whole mesh, not again here."""
    quiet = directory.reporting_to(Findings())
    return {
        scope.name: scoped_routing(
            scope, hosts, directory if scope.proxy else quiet, service_routes, with_proxy
        )
        for scope in scopes
    }


def _unknown(scope: Scope, directory: Directory) -> UnknownHosts:
    if scope.proxy is None or not scope.proxy.host:
        return scope.unknown
    path = "spec.outboundTrafficPolicy.egressProxy"
    namespace = scope.sidecar.metadata.namespace
    ref = Reference(scope.sidecar, path, namespace, 0, scope.namespace)
    return replace(scope.unknown, proxy=directory.target(scope.proxy, ref).name)


def _renamer(scope: str) -> Callable[[str], str]:
    return lambda name: f"{name}@{scope}"


def _bytes(route: TcpRoute) -> TcpRoute:
    """A port of protocol `auto` for which the scope has no table."""
    return replace(route, http_table="")


def _for_namespace(table: RouteTable, namespace: str) -> RouteTable:
    hosts = (
        VirtualHost(host.name, host.domains, routes, host.addresses)
        for host in table.virtual_hosts
        if (routes := tuple(r for r in host.routes if _holds(r, namespace)))
    )
    return replace(table, virtual_hosts=tuple(hosts))


def _holds(route: HttpRoute, namespace: str) -> bool:
    return any(not m.source_namespaces or namespace in m.source_namespaces for m in route.matches)
