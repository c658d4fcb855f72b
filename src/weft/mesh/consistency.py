"""Whether a model holds together: used as an assertion in tests and after each simulated step."""

from collections import Counter
from collections.abc import Iterator

from weft.mesh.model import (
    NOWHERE,
    GatewayListener,
    GatewayServer,
    MeshModel,
    NodeModel,
    RouteTable,
    ServiceListener,
    TcpRoute,
    Workload,
)


def problems(model: MeshModel | NodeModel) -> list[str]:
    """What is wrong with a model as such, whatever users wrote; empty when it is sound."""
    return [
        *_names(model),
        *_tables(model),
        *_references(model),
    ]


def _names(model: MeshModel | NodeModel) -> Iterator[str]:
    for what, names in (
        ("destination", [d.name for d in model.destinations]),
        ("route table", [t.name for t in model.route_tables]),
        ("workload", [w.uid for w in model.workloads]),
        ("gateway port", [_gateway_port(g) for g in model.gateways]),
        ("gateway server", [s.name for g in model.gateways for s in g.servers]),
        ("service listener", [_place(s) for s in model.service_listeners]),
    ):
        yield from (f"{what} {n!r} stands twice" for n, c in Counter(names).items() if c > 1)


def _tables(model: MeshModel | NodeModel) -> Iterator[str]:
    known = {d.name for d in model.destinations}
    for table in model.route_tables:
        yield from _domains(table)
        for host in table.virtual_hosts:
            for route in host.routes:
                where = f"route {route.name!r} of {host.name!r} in table {table.name!r}"
                actions = bool(route.destinations), route.redirect, route.direct_response
                if sum(1 for a in actions if a) != 1:
                    yield f"{where} has not exactly one action"
                if not route.matches:
                    yield f"{where} has no match"
                named = [d.destination for d in route.destinations]
                named += [m.destination for m in route.mirrors]
                yield from (f"{where} names unknown {n!r}" for n in named if n not in known)
                if route.destinations and not sum(d.weight for d in route.destinations):
                    yield f"{where} has no weight"


def _domains(table: RouteTable) -> Iterator[str]:
    where = f"table {table.name!r}"
    for what, values in (
        ("domain", [d for v in table.virtual_hosts for d in v.domains]),
        ("address", [a for v in table.virtual_hosts for a in v.addresses]),
        ("virtual host", [v.name for v in table.virtual_hosts]),
    ):
        yield from (
            f"{what} {d!r} stands twice in {where}" for d, n in Counter(values).items() if n > 1
        )
    for host in table.virtual_hosts:
        if not host.domains or not host.routes:
            yield f"virtual host {host.name!r} in {where} is empty"
        if any(d != d.lower() for d in host.domains):
            yield f"virtual host {host.name!r} in {where} has an upper case domain"


def _references(model: MeshModel | NodeModel) -> Iterator[str]:
    tables = {t.name for t in model.route_tables}
    known = {d.name for d in model.destinations}
    routes: dict[int, tuple[str, tuple[TcpRoute, ...]]] = {}
    for workload in model.workloads:
        for port in workload.outbound:
            if port.route_table not in tables:
                yield f"workload {workload.name!r} names unknown table {port.route_table!r}"
        for udp in workload.udp:
            if udp.destination not in known:
                yield f"workload {workload.name!r} names unknown destination {udp.destination!r}"
        routes[id(workload.tcp)] = (f"workload {workload.name!r}", workload.tcp)
        yield from _local(workload, tables)
        for local in workload.local:
            routes[id(local)] = (f"workload {workload.name!r}", (local.tcp,) if local.tcp else ())
    for listener in model.service_listeners:
        where = f"service listener {_place(listener)}"
        kinds = (listener.route_table or None, listener.tcp, listener.udp)
        if sum(1 for kind in kinds if kind is not None) != 1:
            yield f"{where} has not exactly one of a table, a connection route and a UDP route"
        if listener.udp is not None and listener.udp.destination not in {*known, ""}:
            yield f"{where} names unknown destination {listener.udp.destination!r}"
        if listener.route_table and listener.route_table not in tables:
            yield f"{where} names unknown table {listener.route_table!r}"
        routes[id(listener)] = (where, (listener.tcp,) if listener.tcp else ())
    for gateway in model.gateways:
        names = Counter(n for s in gateway.servers for n in _server_names(s))
        twice = [n for n, count in names.items() if count > 1]
        yield from (f"gateway port {gateway.port} has server name {n!r} twice" for n in twice)
        for server in gateway.servers:
            where = f"gateway server {server.name!r}"
            if bool(server.route_table) == (server.tcp is not None):
                yield f"{where} has not exactly one of a table and a connection route"
            if server.route_table and server.route_table not in tables:
                yield f"{where} names unknown table {server.route_table!r}"
            routes[id(server)] = (where, (server.tcp,) if server.tcp else ())
    for where, each in routes.values():
        yield from _connections(where, each, tables, known)


def _local(workload: Workload, tables: set[str]) -> Iterator[str]:
    for local in workload.local:
        where = f"{local.address}:{local.port} of workload {workload.name!r}"
        if bool(local.route_table) == (local.tcp is not None):
            yield f"{where} has not exactly one of a table and a connection route"
        if local.route_table and local.route_table not in tables:
            yield f"{where} names unknown table {local.route_table!r}"


def _place(listener: ServiceListener) -> str:
    transport = "udp" if listener.udp else "tcp"
    return f"{listener.owner} {listener.address}:{listener.port}/{transport}"


def _gateway_port(gateway: GatewayListener) -> str:
    transport = "udp" if gateway.protocol == "udp" else "tcp"
    return f"{gateway.binding}:{gateway.port}/{transport}{' egress' * gateway.egress}"


def _server_names(server: GatewayServer) -> tuple[str, ...]:
    """What tells the server from others of its port; plain HTTP is told apart by Host."""
    if server.tcp is not None:
        mark = "".join(f" from {network}" for network in server.tcp.source_networks)
        return tuple(f"{name}{mark}" for name in server.tcp.sni_hosts or ("",))
    return server.hosts if server.tls is not None else ()


def _connections(
    where: str, routes: tuple[TcpRoute, ...], tables: set[str], known: set[str]
) -> Iterator[str]:
    for route in routes:
        if route.http_table and route.http_table not in tables:
            yield f"{where} names unknown table {route.http_table!r}"
        for share in route.destinations:
            if share.destination not in known and share.destination != NOWHERE:
                yield f"{where} names unknown destination {share.destination!r}"
    keys = [
        (address, route.port, name, route.source_labels, route.source_networks)
        for route in routes
        for address in (route.addresses or ("",))
        for name in (route.sni_hosts or ("",))
    ]
    yield from (f"{where} routes {key} twice" for key, n in Counter(keys).items() if n > 1)
