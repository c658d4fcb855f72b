"""Gateways and the VirtualServices bound to them: what the mesh receives from outside.

Every Gateway is served by the gateway of the nodes' proxies, whatever its selector.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.api.snapshot import Snapshot
from weft.mesh import auto_passthrough
from weft.mesh import findings as f
from weft.mesh.auto_passthrough import passing_servers, server_host
from weft.mesh.directory import Directory
from weft.mesh.findings import Findings
from weft.mesh.istio_matches import MESH, full_gateway
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.istio_routes import Place, own_http_routes, source
from weft.mesh.model import (
    GatewayListener,
    GatewayServer,
    GatewayTls,
    HttpRoute,
    Redirect,
    RouteTable,
    TcpRoute,
    VirtualHost,
)
from weft.mesh.names import intersection, specificity
from weft.mesh.secrets import Place as SecretPlace
from weft.mesh.server_certificates import Certificates, server_tls
from weft.mesh.server_tls import mutual_in_mesh
from weft.mesh.tcp_routes import connection_routes

HTTP_PROTOCOLS = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
BYTE_PROTOCOLS = ("TCP", "MONGO", "MYSQL", "REDIS")
EGRESS_SUFFIX = ".egress"
"""Of the names of egress gateways' tables: their ports are not those of ingress gateways."""
Kind = str


class _Server(Struct, frozen=True):
    """A server of a Gateway that is in force."""

    gateway: istio.Gateway
    index: int
    port: int
    kind: Kind
    """http, https (HTTP inside TLS), tls (passed through), auto (passed through to what the server
    name says) or tcp."""
    hosts: tuple[tuple[str, str], ...]
    """(namespace of the VirtualService or "", host pattern)."""
    tls: GatewayTls | None = None
    redirect: bool = False
    bind: str = ""
    """The address that it names."""

    @property
    def place(self) -> tuple[bool, str, int]:
        """Servers of one place share a listener."""
        return self.egress, "" if self.egress else self.bind, self.port

    @property
    def name(self) -> str:
        return f"{self.gateway_name}/{self.index}"

    @property
    def gateway_name(self) -> str:
        meta = self.gateway.metadata
        return f"{meta.namespace}/{meta.name}"

    @property
    def egress(self) -> bool:
        return istio.is_egress(self.gateway)

    @property
    def path(self) -> str:
        return f"spec.servers[{self.index}]"


class _Edge(Struct, frozen=True):
    """What the servers of all ports have in common."""

    bound: Mapping[str, Sequence[istio.VirtualService]]
    """VirtualServices by the gateway that they name."""
    directory: Directory
    selected: dict[tuple[str, ...], Directory] = {}
    """By the DestinationRules for gateways of some labels."""

    def rules_of(self, gateway: istio.Gateway) -> tuple[str, Directory]:
        """(client, directory) of a Gateway: its proxies run in the root namespace, and rules there
        may be for them alone."""
        names = self.directory.rules.selected(ROOT_NAMESPACE, gateway.spec.selector)
        if not names:
            return "", self.directory
        if names not in self.selected:
            self.selected[names] = self.directory.of_workloads(ROOT_NAMESPACE, names)
        return ROOT_NAMESPACE, self.selected[names]


def gateway_parts(
    snapshot: Snapshot, directory: Directory, missing_files: frozenset[str] = frozenset()
) -> tuple[tuple[GatewayListener, ...], tuple[RouteTable, ...]]:
    """Listeners and their route tables."""
    gateways = sorted(
        snapshot.list(istio.Gateway),
        key=lambda g: (g.metadata.creation_timestamp, g.metadata.namespace, g.metadata.name),
    )
    bound = _bound(directory, gateways)
    source_of = Certificates(snapshot, missing_files, directory.report)
    servers = [s for g in gateways for s in _servers(g, source_of)]
    by_place: dict[tuple[bool, str, int], list[_Server]] = {}
    for server in _without_conflicts(servers, directory.report):
        by_place.setdefault(server.place, []).append(server)
    listeners: list[GatewayListener] = []
    tables: list[RouteTable] = []
    edge = _Edge(bound, directory)
    for (egress, bind, port), group in sorted(by_place.items()):
        suffix = EGRESS_SUFFIX if egress else f".{bind}" if bind else ""
        listener, made = _listener(port, group, edge, suffix)
        listener = replace(listener, egress=egress, bind=bind)
        listeners.append(listener)
        tables.extend(made)
    _report_unmatched(edge, servers)
    return tuple(listeners), tuple(tables)


def _bound(
    directory: Directory, gateways: Iterable[istio.Gateway]
) -> Mapping[str, Sequence[istio.VirtualService]]:
    """VirtualServices by the gateway that they name."""
    known = {f"{g.metadata.namespace}/{g.metadata.name}" for g in gateways}
    found: dict[str, list[istio.VirtualService]] = {}
    objects = directory.virtual_services
    named = directory.memo.each("gateways", _gateways_of, objects)
    for obj, names in zip(objects, named, strict=True):
        for number, gateway in names:
            if gateway in known:
                found.setdefault(gateway, []).append(obj)
                continue
            hint = f.suggest(gateway, known, "known gateways")
            directory.report.add(
                f.GATEWAY_UNKNOWN, obj, f"spec.gateways[{number}]", hint, gateway=gateway
            )
    return found


def _gateways_of(obj: istio.VirtualService) -> tuple[tuple[int, str], ...]:
    """Place in the list and full name of each gateway that an object names."""
    return tuple(
        (number, full_gateway(name, obj.metadata.namespace))
        for number, name in enumerate(obj.spec.gateways)
        if name != MESH
    )


def _servers(gateway: istio.Gateway, certificates: Certificates) -> Iterator[_Server]:
    report = certificates.report
    for index, server in enumerate(gateway.spec.servers):
        path = f"spec.servers[{index}]"
        if server.port is None or not server.port.number:
            report.add(f.PORT_MISSING, gateway, f"{path}.port.number")
            continue
        if not server.hosts:
            report.add(f.HOSTS_MISSING, gateway, f"{path}.hosts")
            continue
        if server.default_endpoint:
            report.add(
                f.SIDECAR_PART, gateway, f"{path}.defaultEndpoint", field="defaultEndpoint",
                consequence="VirtualServices say where requests go",
            )  # fmt: skip
        if istio.bind_address(server) is None:
            report.add(f.BIND_INVALID, gateway, f"{path}.bind", bind=server.bind)
            continue
        made = _server(gateway, index, server, certificates)
        if made is not None:
            yield made


def _server(
    gateway: istio.Gateway,
    index: int,
    server: istio.Server,
    certificates: Certificates,
) -> _Server | None:
    report = certificates.report
    path = f"spec.servers[{index}]"
    port = server.port or istio.ServicePort()
    protocol = port.protocol.upper()
    namespace = gateway.metadata.namespace
    base = _Server(
        gateway=gateway,
        index=index,
        port=port.number or 0,
        kind="http",
        hosts=tuple(server_host(h, namespace) for h in server.hosts),
        redirect=bool(server.tls and server.tls.https_redirect),
        bind=istio.bind_address(server) or "",
    )
    if protocol in HTTP_PROTOCOLS:
        return base
    if protocol in BYTE_PROTOCOLS:
        return replace(base, kind="tcp")
    if protocol not in ("HTTPS", "TLS"):
        report.add(
            f.VALUE_INVALID,
            gateway,
            f"{path}.port.protocol",
            "one of HTTP, HTTPS, GRPC, HTTP2, TCP, TLS",
            problem=f"`{port.protocol}` is no protocol of a gateway",
            part="server",
        )
        return None
    if server.tls is None:
        report.add(f.TLS_MISSING, gateway, f"{path}.tls", protocol=protocol)
        return None
    mode = server.tls.mode or "SIMPLE"
    if mode == "PASSTHROUGH":
        return replace(base, kind="tls")
    if mode == auto_passthrough.MODE:
        return replace(base, kind="auto")
    if mode == "ISTIO_MUTUAL" and base.egress:
        # Calls within a node come without TLS; whose they are is known all the same.
        return replace(base, kind="http" if protocol == "HTTPS" else "tcp")
    place = SecretPlace(gateway, namespace, f"{path}.tls", "this server is closed")
    tls = (
        mutual_in_mesh(server.tls)
        if mode == "ISTIO_MUTUAL"
        else server_tls(place, server.tls, certificates)
    )
    if tls is None:
        return None
    return replace(base, kind="https" if protocol == "HTTPS" else "tls", tls=tls)


def _without_conflicts(servers: Iterable[_Server], report: Findings) -> Iterator[_Server]:
    """A port is plain HTTP, or TLS, or bytes: the first server on it decides."""
    first: dict[tuple[bool, str, int], _Server] = {}
    for server in servers:
        known = first.setdefault(server.place, server)
        if _layer(known.kind) == _layer(server.kind) and (known is server or server.kind != "tcp"):
            yield server
            continue
        port = known.gateway.spec.servers[known.index].port
        report.add(
            f.GATEWAY_PORT_CONFLICT,
            server.gateway,
            f"{server.path}.port",
            port=server.port,
            other_protocol=port.protocol if port else "",
            other=f"Gateway {known.gateway_name}",
        )


def _layer(kind: Kind) -> str:
    return "tls" if kind in ("https", "tls", "auto") else kind


def _listener(
    port: int,
    servers: list[_Server],
    edge: _Edge,
    suffix: str,
) -> tuple[GatewayListener, list[RouteTable]]:
    tables: list[RouteTable] = []
    made: list[GatewayServer] = []
    plain = [s for s in servers if s.kind == "http"]
    if plain:
        name = f"http.{port}{suffix}"
        tables.append(_table(name, plain, edge))
        made.extend(_http_server(s, name) for s in plain)
    taken: dict[str, _Server] = {}
    claimed: set[str] = set()
    for server in sorted(servers, key=lambda s: s.kind != "https"):
        if server.kind == "http":
            continue
        if server.kind == "auto":
            directory = edge.directory
            made.extend(passing_servers(server, directory.hosts.values(), directory.rules, claimed))
            continue
        hosts = _free_hosts(server, taken, edge.directory.report)
        if not hosts:
            continue
        if server.kind == "https":
            claimed.update(hosts)
            name = f"https.{port}.{server.name.replace('/', '.')}{suffix}"
            tables.append(_table(name, [server], edge))
            made.append(GatewayServer(server.name, hosts, name, tls=server.tls))
        else:
            made.extend(_byte_servers(server, hosts, edge, claimed))
    kinds = {s.kind for s in servers}
    protocol = "https" if "https" in kinds else _layer(servers[0].kind)
    return GatewayListener(port, protocol, tuple(made)), tables  # type: ignore[arg-type]


def _http_server(server: _Server, table: str) -> GatewayServer:
    return GatewayServer(
        name=server.name,
        hosts=tuple(dict.fromkeys(h for _, h in server.hosts)),
        route_table=table,
        https_redirect=server.redirect,
    )


def _free_hosts(server: _Server, taken: dict[str, _Server], report: Findings) -> tuple[str, ...]:
    """The server names that no earlier server of the port has: each can be answered once only."""
    free = []
    for _, host in server.hosts:
        owner = taken.setdefault(host, server)
        if owner is server:
            if host not in free:
                free.append(host)
            continue
        report.add(
            f.GATEWAY_HOST_TAKEN,
            server.gateway,
            f"{server.path}.hosts",
            host=host,
            port=server.port,
            other=f"Gateway {owner.gateway_name}",
        )
    return tuple(free)


def _table(
    name: str,
    servers: list[_Server],
    edge: _Edge,
) -> RouteTable:
    """One table for servers that share a connection; routes of several objects for one host are
    joined, oldest first."""
    memo = edge.directory.memo
    routes: dict[str, tuple[HttpRoute, ...]] = {}
    for server in servers:
        if server.redirect:
            to_https = (_redirect(server),)
            own = (host for _, host in server.hosts)
            for domain in chain(chain.from_iterable(d for _, d in _domains(server, edge)), own):
                routes.setdefault(domain, to_https)
            continue
        _add_routes(routes, server, edge)
    names = list(routes)
    known_names, ordered = memo.last(("order", name), ([""], [""]))
    if names != known_names:
        ordered = sorted(names, key=lambda d: (not specificity(d)[0], -len(d), d))
    memo.note(("order", name), (names, ordered))
    known = memo.last(("hosts", name), dict[str, VirtualHost]())
    made: dict[str, VirtualHost] = {}
    for domain in ordered:
        host, wanted = known.get(domain), routes[domain]
        if host is None or host.routes != wanted:
            host = VirtualHost(f"{domain}:{servers[0].port}", (domain,), wanted)
        if wanted:
            made[domain] = host
    memo.note(("hosts", name), made)
    return RouteTable(name, tuple(made.values()), passthrough=False, ignore_port=True)


def _add_routes(routes: dict[str, tuple[HttpRoute, ...]], server: _Server, edge: _Edge) -> None:
    client, directory = edge.rules_of(server.gateway)
    place = Place(server.gateway_name, server.port, client)
    domains = [(obj, found) for obj, found in _domains(server, edge) if found]
    objects = tuple(obj for obj, _ in domains)
    every = directory.each_remembered(objects, place, own_http_routes(place))
    for (_, found), made in zip(domains, every, strict=True):
        for domain in found:
            before = routes.get(domain)
            if before is None:
                routes[domain] = made
                continue
            known = {r.name for r in before}
            routes[domain] = (*before, *(r for r in made if r.name not in known))


def _redirect(server: _Server) -> HttpRoute:
    return HttpRoute(
        name="https-redirect",
        redirect=Redirect(scheme="https", code=301),
        source=f"Gateway {server.gateway_name}",
    )


def _domains(
    server: _Server, edge: _Edge
) -> Iterable[tuple[istio.VirtualService, tuple[str, ...]]]:
    """VirtualServices of the server's Gateway, with the hosts that both it and they name: the
    narrower of the two."""
    objects = edge.bound.get(server.gateway_name, ())

    def shared(obj: istio.VirtualService) -> tuple[str, ...]:
        patterns = [p for ns, p in server.hosts if not ns or ns == obj.metadata.namespace]
        found = (intersection(p, host.lower()) for p in patterns for host in obj.spec.hosts)
        return tuple(dict.fromkeys(domain for domain in found if domain is not None))

    key = ("domains", server.gateway_name, server.hosts)
    return zip(objects, edge.directory.memo.each(key, shared, objects), strict=True)


def _byte_servers(
    server: _Server,
    hosts: tuple[str, ...],
    edge: _Edge,
    claimed: set[str],
) -> Iterator[GatewayServer]:
    """TCP and TLS servers: one for each connection route, told apart by server name."""
    number = 0
    client, directory = edge.rules_of(server.gateway)
    for obj in (obj for obj, domains in _domains(server, edge) if domains):
        routed = connection_routes(obj, server.gateway_name, server.port, directory, client)
        for match, destinations in routed:
            wanted = match.sni_hosts or (hosts if server.kind == "tls" else ("*",))
            networks = match.source_networks
            names = tuple(
                n
                for n in dict.fromkeys(wanted)
                if n not in claimed and "|".join((n, *networks)) not in claimed
            )
            if not names:
                continue
            claimed.update("|".join((n, *networks)) for n in names)
            route = TcpRoute(
                addresses=(),
                port=server.port,
                destinations=destinations,
                sni_hosts=() if "*" in names else names,
                source_networks=networks,
                source=source(obj),
            )
            suffix = f".{number}" if number else ""
            yield GatewayServer(f"{server.name}{suffix}", names, "", tcp=route, tls=server.tls)
            number += 1


def _report_unmatched(
    edge: _Edge,
    servers: list[_Server],
) -> None:
    served: dict[str, list[str]] = {}
    used: dict[str, set[int]] = {}
    """Gateway -> VirtualServices (by identity) that share a host with it, be the server in force
    or not."""
    for server in servers:
        here = used.setdefault(server.gateway_name, set())
        here.update(id(obj) for obj, domains in _domains(server, edge) if domains)
        served.setdefault(server.gateway_name, []).extend(h for _, h in server.hosts)
    for gateway, hosts in served.items():
        for obj in edge.bound.get(gateway, ()):
            if id(obj) not in used[gateway]:
                edge.directory.report.add(
                    f.GATEWAY_HOST_UNMATCHED,
                    obj,
                    "spec.hosts",
                    gateway=gateway,
                    hosts=f.quoted(obj.spec.hosts),
                    served=f.quoted(dict.fromkeys(hosts)),
                )
