"""Route tables for calls inside the mesh: one for each port that speaks HTTP.

All callers share the tables. A short host name means another service in each namespace, so its
virtual host has routes that hold for callers of one namespace only.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from weft.mesh.directory import Directory
from weft.mesh.gateway_api_objects import ServiceRoutes
from weft.mesh.hosts import Host, HostPort
from weft.mesh.istio_matches import MESH
from weft.mesh.istio_routes import DEFAULT_RETRY, Place, for_callers, http_routes
from weft.mesh.mesh_index import MeshIndex
from weft.mesh.model import (
    HttpMatch,
    HttpRoute,
    OutboundPort,
    RouteTable,
    ServiceListener,
    TcpRoute,
    VirtualHost,
    WeightedDestination,
)
from weft.mesh.names import SERVICE_SUFFIX, destination_name, with_port
from weft.mesh.protocols import HTTP

HTTP_PORT = 80
PROXY_TABLE = "proxy"
"""Table of pods' own HTTP proxy listeners (host isolation): all ports in one, told apart by the
port in the request's authority."""
MATCH_ANY = (HttpMatch(),)


class MeshRouting:
    """Routes of every host and port, made once and used in several tables."""

    def __init__(
        self,
        directory: Directory,
        index: MeshIndex,
        service_routes: ServiceRoutes = ServiceRoutes(),  # noqa: B008 - a frozen value
    ) -> None:
        self.service_routes = service_routes
        self.directory = directory
        self.index = index
        self._callers: dict[str, tuple[HttpMatch, ...]] = {}

    def routes(self, host: Host, port: HostPort) -> tuple[HttpRoute, ...]:
        """Routes for every caller, those of callers with rules of their own first."""
        entries = self.index.entries(host.host)
        general = self._for_client(host, port, "")
        clients = set(self.directory.all_clients() if entries else self.directory.clients(host))
        clients.update(ns for entry in entries for ns in entry.callers)
        clients.update(self.service_routes.clients(host.host, port.number))
        special = (
            for_callers(found, (client,))
            for client in sorted(clients)
            if (found := self._for_client(host, port, client)) != general
        )
        return (*(r for routes in special for r in routes), *general)

    def routes_for(self, host: Host, port: HostPort, namespace: str) -> tuple[HttpRoute, ...]:
        """Routes for callers of one namespace only."""
        if not (self.index.entries(host.host) or self.service_routes.has(host.host, port.number)):
            matches = self._callers.setdefault(
                namespace, (HttpMatch(source_namespaces=(namespace,)),)
            )
            return (self._default(host, port, namespace, matches),)
        return for_callers(self._for_client(host, port, namespace), (namespace,))

    def _for_client(self, host: Host, port: HostPort, client: str) -> tuple[HttpRoute, ...]:
        """What callers of a namespace get: the first VirtualService that they see and that says
        something about the port, else routes that name the Service as parent, else the host
        itself."""
        for entry in self.index.entries(host.host):
            if entry.callers and client not in entry.callers:
                continue
            if routes := http_routes(entry.obj, Place(MESH, port.number, client), self.directory):
                return routes
        if routes := self.service_routes.find(host.host, port.number, client):
            return routes
        if port.protocol not in HTTP or not host.source:
            return ()
        return (self._default(host, port, client, MATCH_ANY),)

    def _default(
        self, host: Host, port: HostPort, client: str, matches: tuple[HttpMatch, ...]
    ) -> HttpRoute:
        target = self.directory.own_target(host, port, client)
        return HttpRoute(
            name="default",
            matches=matches,
            destinations=(WeightedDestination(target),),
            retry=DEFAULT_RETRY,
            source=host.source,
        )


class TableBuilder:
    """Collects virtual hosts by port; a domain goes to who claims it first."""

    def __init__(self, routing: MeshRouting) -> None:
        self.routing = routing
        self.hosts: dict[int, list[VirtualHost]] = {}
        self._taken: dict[int, set[str]] = {}
        self._short: dict[tuple[int, str], list[tuple[str, tuple[HttpRoute, ...]]]] = {}

    def add_host(self, host: Host) -> None:
        """A host with all its HTTP ports."""
        for port in host.ports:
            if port.protocol not in HTTP:
                continue
            addresses = tuple(a for a in host.addresses if "/" not in a)
            self._add(
                port.number,
                f"{host.host}:{port.number}",
                with_port(host.domains, port.number),
                for_callers(self.routing.routes(host, port), host.visible_in),
                addresses,
            )
            if host.short_name and (not host.visible_in or host.namespace in host.visible_in):
                routes = self.routing.routes_for(host, port, host.namespace)
                self.add_short(port.number, host.short_name, host.namespace, routes)
            served = {e.address for e in port.endpoints}
            for pod in host.pods:
                if pod.names and pod.address in served:
                    self._add_pod(host, port, pod.host, pod.names)

    def add_short(
        self, port: int, name: str, namespace: str, routes: tuple[HttpRoute, ...]
    ) -> None:
        """What a short name means to callers of one namespace."""
        self._short.setdefault((port, name), []).append((namespace, routes))

    def add_routed_host(self, host: str) -> None:
        """A host that only a VirtualService knows: it is routed on every HTTP port."""
        name, namespace = _service_of(host)
        domains = (host, f"{name}.{namespace}.svc", f"{name}.{namespace}") if name else (host,)
        unknown = Host(host=host, namespace=namespace, name=host, source="")
        for number in sorted({*self.hosts, HTTP_PORT}):
            port = HostPort(number, "", "http")
            routes = self.routing.routes(unknown, port)
            if not routes:
                continue
            self._add(number, f"{host}:{number}", with_port(domains, number), routes, ())
            if name:
                own = self.routing.routes_for(unknown, port, namespace)
                self.add_short(number, name, namespace, own)

    def tables(self) -> tuple[RouteTable, ...]:
        """All tables, by port."""
        self._finish_short()
        return tuple(
            RouteTable(name=str(port), virtual_hosts=tuple(self.hosts[port]))
            for port in sorted(self.hosts)
        )

    def _finish_short(self) -> None:
        for (port, name), owners in sorted(self._short.items()):
            routes = tuple(r for _, found in sorted(owners, key=lambda o: o[0]) for r in found)
            self._add(port, f"{name}:{port}", with_port((name,), port), routes, ())
        self._short.clear()

    def _add_pod(self, host: Host, port: HostPort, name: str, names: tuple[str, ...]) -> None:
        route = HttpRoute(
            name="default",
            destinations=(WeightedDestination(destination_name(port.number, name)),),
            retry=DEFAULT_RETRY,
            source=host.source,
        )
        domains = with_port(names, port.number)
        self._add(port.number, f"{name}:{port.number}", domains, (route,), ())

    def _add(
        self,
        port: int,
        name: str,
        domains: tuple[str, ...],
        routes: tuple[HttpRoute, ...],
        addresses: tuple[str, ...],
    ) -> None:
        taken = self._taken.setdefault(port, set())
        if not taken.isdisjoint(domains):
            domains = tuple(d for d in domains if d not in taken)
        if domains and routes:
            taken.update(domains)
            free = tuple(a for a in addresses if a in domains)
            self.hosts.setdefault(port, []).append(VirtualHost(name, domains, routes, free))


def outbound_ports(hosts: Iterable[Host], tables: Iterable[RouteTable]) -> tuple[OutboundPort, ...]:
    """Which ports are routed by which table."""
    declared = {p.number for h in hosts for p in h.ports if p.protocol in HTTP - {"auto"}}
    return tuple(OutboundPort(int(t.name), t.name, int(t.name) in declared) for t in tables)


def proxy_table(tables: Iterable[RouteTable]) -> RouteTable:
    """All tables in one, for callers that name the port in the authority."""
    hosts = []
    for table in tables:
        suffix = f":{table.name}"
        for host in table.virtual_hosts:
            with_suffix = tuple(d for d in host.domains if d.endswith(suffix))
            domains = host.domains if int(table.name) == HTTP_PORT else with_suffix
            if domains:
                hosts.append(VirtualHost(host.name, domains, host.routes))
    return RouteTable(PROXY_TABLE, tuple(hosts))


def service_listeners(
    hosts: Iterable[Host], tables: Iterable[RouteTable], tcp: Iterable[TcpRoute]
) -> tuple[tuple[ServiceListener, ...], tuple[RouteTable, ...]]:
    """Host isolation: the node proxy listens on service addresses itself. Every connection to one
    is for that service, whatever its Host says, so each has a table of its own."""
    by_name: Mapping[str, VirtualHost] = {
        v.name: v for t in tables for v in t.virtual_hosts if v.addresses
    }
    by_address = {(a, r.port): r for r in tcp for a in r.addresses if not r.sni_hosts}
    listeners: list[ServiceListener] = []
    made: list[RouteTable] = []
    for host in hosts:
        for port in host.ports:
            found = by_name.get(f"{host.host}:{port.number}")
            name = f"{port.number}|{host.host}"
            if port.protocol in HTTP and found is not None:
                made.append(
                    RouteTable(name, (VirtualHost(found.name, ("*",), found.routes),), False)
                )
            for address in host.addresses:
                route = by_address.get((address, port.number))
                if route is not None and route.http_table:
                    route = replace(route, http_table=name)
                if route is not None:
                    listeners.append(
                        ServiceListener(address, port.number, tcp=route, host=host.host)
                    )
                elif port.protocol in HTTP and found is not None:
                    listeners.append(ServiceListener(address, port.number, name, host=host.host))
    return tuple(listeners), tuple(made)


def _service_of(host: str) -> tuple[str, str]:
    """(name, namespace) of a Kubernetes service's full name, else empty."""
    if not host.endswith(SERVICE_SUFFIX) or host.startswith("*"):
        return "", ""
    name, _, namespace = host.removesuffix(SERVICE_SUFFIX).rpartition(".")
    return name, namespace
