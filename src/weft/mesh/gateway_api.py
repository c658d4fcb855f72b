"""The Gateway API part of the mesh: listeners, route tables, mesh routes, statuses."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.directory import Directory
from weft.mesh.gateway_api_attach import ParentResult, attach
from weft.mesh.gateway_api_edge import Edge
from weft.mesh.gateway_api_listeners import judged
from weft.mesh.gateway_api_mesh import service_routes
from weft.mesh.gateway_api_objects import (
    GatewayApi,
    GatewayApiObjects,
    Listener,
    ObjectStatus,
    Route,
)
from weft.mesh.gateway_api_refs import References
from weft.mesh.gateway_api_rules import Rules
from weft.mesh.gateway_api_status import class_status, gateway_status, route_status
from weft.mesh.model import GatewayListener, RouteTable, VirtualHost

_LAYER = {"http": "http", "https": "tls", "tls": "tls", "tcp": "tcp"}


def gateway_api(
    objects: GatewayApiObjects, directory: Directory, others: Sequence[GatewayListener]
) -> GatewayApi:
    """What the objects mean. `others` are listeners of Istio Gateways, which keep their ports."""
    if not objects.gateways and not objects.classes and not objects.routes():
        return GatewayApi()
    references = References(directory, objects.grants)
    classes = [c for c in objects.classes if c.spec.controller_name == gw.CONTROLLER_NAME]
    names = {c.metadata.name for c in classes}
    gateways = [g for g in objects.gateways if g.spec.gateway_class_name in names]
    taken = {each.port: _LAYER[each.protocol] for each in others}
    listeners = judged(gateways, objects.secrets, references, taken)
    by_gateway: dict[str, tuple[Listener, ...]] = {
        f"{g.metadata.namespace}/{g.metadata.name}": () for g in gateways
    }
    for each in listeners:
        by_gateway[each.gateway_name] += (each,)
    labels = {n.metadata.name: n.metadata.labels for n in objects.namespaces}
    routes = objects.routes()
    results = {id(route): attach(route, by_gateway, labels) for route in routes}
    attached = [a for found in results.values() for result in found for a in result.attached]
    edge = Edge(attached, references)
    made, tables = edge.parts(listeners)
    http = [r for r in routes if isinstance(r, gw.HTTPRoute | gw.GRPCRoute)]
    meshed, in_mesh = service_routes(http, references)
    count = Counter(name for _, name in {(id(a.route), a.listener.name) for a in attached})
    statuses: list[ObjectStatus] = [class_status(each) for each in classes]
    for gateway in gateways:
        name = f"{gateway.metadata.namespace}/{gateway.metadata.name}"
        statuses.append(gateway_status(gateway, by_gateway[name], count))
    for route in routes:
        found = [*results[id(route)], *in_mesh.get(id(route), ())]
        statuses.append(route_status(route, found, _rules(route, found, edge, references)))
    return GatewayApi(made, tables, meshed, tuple(statuses))


def _rules(
    route: Route, results: Iterable[ParentResult], edge: Edge, references: References
) -> Rules:
    """What reading a route's rules finds; the same whatever its parents."""
    if isinstance(route, gw.HTTPRoute | gw.GRPCRoute):
        port = next((a.listener.port for r in results for a in r.attached), 0)
        return edge.rules(route, port)
    kind, namespace = type(route).__name__, route.metadata.namespace
    refs = [ref for rule in route.spec.rules for ref in rule.backend_refs]
    found = [references.backend(ref, kind, namespace) for ref in refs]
    return Rules(unresolved=tuple((b.reason, b.message) for b in found if b.reason))


def merged(
    listeners: Iterable[GatewayListener],
    tables: Iterable[RouteTable],
    api: GatewayApi,
) -> tuple[tuple[GatewayListener, ...], tuple[RouteTable, ...]]:
    """Istio's listeners and tables with those of the Gateway API. On a port that both use, Istio's
    servers come first, and its routes for a host before those of Gateway API routes."""
    ports = {each.port: each for each in listeners}
    by_name = {table.name: table for table in tables}
    for listener in api.listeners:
        known = ports.get(listener.port)
        if known is None:
            ports[listener.port] = listener
            continue
        names = {name for server in known.servers for name in server.hosts}
        plain = listener.protocol == "http"
        more = tuple(s for s in listener.servers if plain or names.isdisjoint(s.hosts))
        ports[listener.port] = replace(known, servers=(*known.servers, *more))
    for table in api.tables:
        found = by_name.get(table.name)
        by_name[table.name] = table if found is None else _joined(found, table)
    return tuple(ports[port] for port in sorted(ports)), tuple(by_name.values())


def _joined(first: RouteTable, second: RouteTable) -> RouteTable:
    hosts = {host.domains: host for host in first.virtual_hosts}
    for host in second.virtual_hosts:
        known = hosts.get(host.domains)
        routes = host.routes if known is None else (*known.routes, *host.routes)
        hosts[host.domains] = VirtualHost(host.name, host.domains, routes)
    return replace(first, virtual_hosts=tuple(hosts.values()))
