"""The part of the mesh that one node's proxy needs."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from weft.lib.ports import bindable_ports
from weft.mesh.caller_limits import with_caller_limits
from weft.mesh.entrances import entrances, peers_of, through_gates
from weft.mesh.exposure import on_node
from weft.mesh.memo import Memo
from weft.mesh.model import (
    AdaptiveConcurrency,
    Destination,
    HttpRoute,
    Login,
    MeshModel,
    NodeModel,
    NodeSettings,
    RouteTable,
    ServiceListener,
    TcpRoute,
    VirtualHost,
    Workload,
)

LOOPBACK = "127."


def scope(model: MeshModel, node: NodeSettings, memo: Memo | None = None) -> NodeModel:
    """The node's workloads, and what they and the gateways can reach. Pass the same `memo` each
    time, and of long tables only what changed is read.

    Routes for callers of namespaces that have no workload on the node are left out, and so is
    every table and destination that nothing here refers to.
    """
    memo = memo or Memo()
    workloads = tuple(w for w in model.workloads if w.node == node.name)
    host = node.isolation == "host"
    inside = tuple(each for each in model.service_listeners if not each.owner)
    listeners = _bindable(inside, node.first_port) if host else ()
    outward = tuple(each for each in model.service_listeners if each.owner)
    outside, health = on_node(outward, node, model.destinations)
    listeners = (*listeners, *outside)
    servers = [server for gateway in model.gateways for server in gateway.servers]
    tcp = [
        *_workload_routes(workloads),
        *(each.tcp for w in workloads for each in w.local if each.tcp is not None),
        *(listener.tcp for listener in listeners if listener.tcp is not None),
        *(server.tcp for server in servers if server.tcp is not None),
    ]
    outbound = {id(w.outbound): w.outbound for w in workloads}
    names = {port.route_table for ports in outbound.values() for port in ports}
    names.update(listener.route_table for listener in listeners)
    names.update(server.route_table for server in servers)
    names.update(route.http_table for route in tcp)
    callers = {w.namespace for w in workloads}
    tables = tuple(_for_callers(t, callers) for t in model.route_tables if t.name in names)
    tables = (*tables, *health)
    used = _destination_names(tables, tcp, node.name, memo)
    used |= _udp_destinations(workloads, listeners)
    used.update(table.unknown.proxy for table in tables)
    used.update(workload.unknown.proxy for workload in workloads)
    used.update(each.destination for each in model.authorizers)
    logins = logins_of(tables)
    used.update(each.oidc.token_destination for each in logins.values() if each.oidc)
    node = replace(
        node,
        authorizers=tuple(each.name for each in model.authorizers),
        logins=tuple(sorted(logins)),
        adaptive=_adaptive(tables, node.name, memo),
    )
    peers = peers_of(model, node.name)
    kept = zip(_with_key_servers(model.destinations, tables, used))
    destinations = memo.mapped(("gates", node.name), through_gates, kept, node.name, peers)
    found = NodeModel(
        node=replace(node, localities=model.localities, peers=peers),
        trust_domain=model.trust_domain,
        patches=model.patches,
        workloads=workloads,
        destinations=destinations,
        route_tables=tables,
        service_listeners=listeners,
        gateways=model.gateways,
        authorizers=model.authorizers,
        gateway_reporting=model.gateway_reporting,
        entrances=entrances(model, node.name, workloads, memo) if peers.address else (),
        logins=tuple(logins[name] for name in sorted(logins)),
    )
    return with_caller_limits(found)


def _bindable(
    listeners: tuple[ServiceListener, ...], first_port: int
) -> tuple[ServiceListener, ...]:
    """The listeners that the proxy can have: on this machine's loopback addresses (it has no other
    service addresses), and above the ports that it may not bind."""
    listeners = tuple(each for each in listeners if each.address.startswith(LOOPBACK))
    if not first_port:
        return listeners
    ports: dict[str, list[int]] = {}
    for listener in listeners:
        ports.setdefault(listener.address, []).append(listener.port)
    bound = {address: bindable_ports(p, first_port) for address, p in ports.items()}
    return tuple(replace(each, port=bound[each.address][each.port]) for each in listeners)


def _workload_routes(workloads: Iterable[Workload]) -> Iterator[TcpRoute]:
    """Connection routes of all workloads. Most share one tuple, which is read once."""
    distinct = {id(w.tcp): w.tcp for w in workloads}
    return (route for routes in distinct.values() for route in routes)


def _udp_destinations(
    workloads: Iterable[Workload], listeners: Iterable[ServiceListener]
) -> set[str]:
    distinct = {id(w.udp): w.udp for w in workloads}
    names = {route.destination for routes in distinct.values() for route in routes}
    return names | {each.udp.destination for each in listeners if each.udp is not None}


def _for_callers(table: RouteTable, callers: set[str]) -> RouteTable:
    if table.ignore_port:
        return table  # a Gateway's: its callers are no workloads
    kept = tuple(found for v in table.virtual_hosts if (found := _virtual_host(v, callers)))
    return table if kept == table.virtual_hosts else replace(table, virtual_hosts=kept)


def _virtual_host(host: VirtualHost, callers: set[str]) -> VirtualHost | None:
    # There are thousands, and hardly any is for few callers.
    if not any([m.source_namespaces for r in host.routes for m in r.matches]):  # noqa: C419
        return host
    kept = tuple(route for route in host.routes if _holds_for(route, callers))
    if len(kept) == len(host.routes):
        return host
    return replace(host, routes=kept) if kept else None


def _holds_for(route: HttpRoute, callers: set[str]) -> bool:
    return any(
        not m.source_namespaces or not callers.isdisjoint(m.source_namespaces)
        for m in route.matches
    )


def logins_of(tables: Iterable[RouteTable]) -> dict[str, Login]:
    """The logins of some tables that send browsers to a provider, by name."""
    return {
        route.login.name: route.login
        for table in tables
        if table.ignore_port
        for host in table.virtual_hosts
        for route in host.routes
        if route.login is not None and route.login.oidc is not None
    }


def _adaptive(
    tables: Iterable[RouteTable], node: str, memo: Memo
) -> tuple[AdaptiveConcurrency, ...]:
    """The limits that the tables' routes follow, by name."""
    found: set[AdaptiveConcurrency] = set()
    for table in tables:
        rows = zip(table.virtual_hosts)
        found.update(*set(memo.mapped(("adaptive", node, table.name), _followed, rows)))
    return tuple(sorted(found, key=lambda each: each.name))


def _followed(host: VirtualHost) -> frozenset[AdaptiveConcurrency]:
    return frozenset(r.adaptive for r in host.routes if r.adaptive is not None)


def _with_key_servers(
    destinations: tuple[Destination, ...], tables: Iterable[RouteTable], used: set[str]
) -> tuple[Destination, ...]:
    """The destinations in use, and those that the keys for their callers' tokens come from."""
    kept = tuple(d for d in destinations if d.name in used)
    asked = {d.authentication for d in kept if d.authentication}
    asked |= {t.authentication for t in tables if t.authentication}
    servers = {issuer.key_set_destination for each in asked for issuer in each.issuers}
    if servers <= used | {""}:
        return kept
    return tuple(d for d in destinations if d.name in used or d.name in servers)


def _destination_names(
    tables: Iterable[RouteTable], tcp: Iterable[TcpRoute], node: str, memo: Memo
) -> set[str]:
    names = {d.destination for route in tcp for d in route.destinations}
    for table in tables:
        rows = zip(table.virtual_hosts)
        names.update(*set(memo.mapped(("called", node, table.name), _called, rows)))
    return names


def _called(host: VirtualHost) -> frozenset[str]:
    names = {d.destination for route in host.routes for d in route.destinations}
    return frozenset(names.union(m.destination for r in host.routes for m in r.mirrors))
