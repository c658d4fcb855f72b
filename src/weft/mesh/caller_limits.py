"""Limits on connections and requests, counted for each calling workload by itself.

A node's proxy serves many callers. If they shared a destination's limits, one greedy caller would
use them up for all; with a proxy per caller, which the limits' authors had in mind, it cannot. So a
destination with limits is there once for every workload that calls from the node, and each of them
is routed to its own. Callers that are no workloads (gateways, programs of the machine) share the
destination itself.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from weft.mesh.model import (
    ConnectionPool,
    Destination,
    HttpRoute,
    Mirror,
    NodeModel,
    RouteTable,
    TcpRoute,
    UdpRoute,
    VirtualHost,
    WeightedDestination,
    Workload,
)

_MARK = "#"
_Routes = tuple[tuple[TcpRoute, ...], tuple[UdpRoute, ...]]


def with_caller_limits(model: NodeModel) -> NodeModel:
    """The model with each caller's own destinations; the model itself when nothing is limited."""
    limited = {d.name: d for d in model.destinations if per_caller(d.pool)}
    callers = sorted({caller_of(w) for w in model.workloads})
    if not limited or not callers:
        return model
    in_mesh = _mesh_tables(model.workloads)
    kept: dict[tuple[str, int, int], _Routes] = {}
    workloads = tuple(_workload(w, limited, kept) for w in model.workloads)
    tables = tuple(
        _table(t, limited, callers) if t.name in in_mesh else t for t in model.route_tables
    )
    copies = (
        replace(destination, name=own_name(name, caller))
        for name, destination in limited.items()
        for caller in callers
    )
    return replace(
        model,
        workloads=workloads,
        destinations=(*model.destinations, *copies),
        route_tables=tables,
    )


def per_caller(pool: ConnectionPool) -> bool:
    """Whether a pool has limits that are counted for each caller."""
    limits = (pool.connections_max, pool.pending_requests_max, pool.requests_max, pool.retries_max)
    return not pool.shared and any(limit is not None for limit in limits)


def caller_of(workload: Workload) -> str:
    return f"{workload.namespace}/{workload.workload}"


def own_name(destination: str, caller: str) -> str:
    """The name of a caller's own destination."""
    return f"{destination}{_MARK}{caller}"


def common_name(destination: str) -> str:
    """The name of the destination that a caller's own one stands for, or its own name."""
    return destination.partition(_MARK)[0]


def _mesh_tables(workloads: Iterable[Workload]) -> set[str]:
    """The tables that workloads are routed by: at gateways no caller is known."""
    names: set[str] = set()
    for outbound in {id(w.outbound): w.outbound for w in workloads}.values():
        names.update(port.route_table for port in outbound)
    for routes in {id(w.tcp): w.tcp for w in workloads}.values():
        names.update(route.http_table for route in routes)
    return names


def _workload(
    workload: Workload,
    limited: dict[str, Destination],
    kept: dict[tuple[str, int, int], _Routes],
) -> Workload:
    """Connections and datagrams: a pod's listeners are its own, so no condition is needed."""
    caller = caller_of(workload)
    key = (caller, id(workload.tcp), id(workload.udp))
    if key not in kept:
        tcp = tuple(_tcp_route(route, limited, caller) for route in workload.tcp)
        udp = tuple(
            replace(route, destination=own_name(route.destination, caller))
            if route.destination in limited
            else route
            for route in workload.udp
        )
        kept[key] = (tcp, udp)
    tcp, udp = kept[key]
    denied = tuple(own_name(name, caller) for name in workload.denied if name in limited)
    local = tuple(
        replace(each, tcp=_tcp_route(each.tcp, limited, caller)) if each.tcp is not None else each
        for each in workload.local
    )
    return replace(workload, tcp=tcp, udp=udp, local=local, denied=workload.denied + denied)


def _tcp_route(route: TcpRoute, limited: dict[str, Destination], caller: str) -> TcpRoute:
    shares = _shares(route.destinations, limited, caller)
    return route if shares is route.destinations else replace(route, destinations=shares)


def _table(table: RouteTable, limited: dict[str, Destination], callers: list[str]) -> RouteTable:
    hosts = tuple(_virtual_host(host, limited, callers) for host in table.virtual_hosts)
    same = all(a is b for a, b in zip(hosts, table.virtual_hosts, strict=True))
    return table if same else replace(table, virtual_hosts=hosts)


def _virtual_host(
    host: VirtualHost, limited: dict[str, Destination], callers: list[str]
) -> VirtualHost:
    routes: list[HttpRoute] = []
    for route in host.routes:
        if _names(route, limited):
            own = (_own_route(route, limited, caller) for caller in callers)
            routes.extend(each for each in own if each.matches)
        routes.append(route)
    return host if len(routes) == len(host.routes) else replace(host, routes=tuple(routes))


def _names(route: HttpRoute, limited: dict[str, Destination]) -> bool:
    named = [part.destination for part in route.destinations]
    named += [mirror.destination for mirror in route.mirrors]
    return any(name in limited for name in named)


def _own_route(route: HttpRoute, limited: dict[str, Destination], caller: str) -> HttpRoute:
    namespace = caller.partition("/")[0]
    return replace(
        route,
        matches=tuple(
            replace(match, source_workload=caller)
            for match in route.matches
            if not match.source_namespaces or namespace in match.source_namespaces
        ),
        destinations=_shares(route.destinations, limited, caller),
        mirrors=tuple(_mirror(mirror, limited, caller) for mirror in route.mirrors),
    )


def _shares(
    shares: tuple[WeightedDestination, ...], limited: dict[str, Destination], caller: str
) -> tuple[WeightedDestination, ...]:
    if not any(share.destination in limited for share in shares):
        return shares
    return tuple(
        replace(share, destination=own_name(share.destination, caller))
        if share.destination in limited
        else share
        for share in shares
    )


def _mirror(mirror: Mirror, limited: dict[str, Destination], caller: str) -> Mirror:
    if mirror.destination not in limited:
        return mirror
    return replace(mirror, destination=own_name(mirror.destination, caller))
