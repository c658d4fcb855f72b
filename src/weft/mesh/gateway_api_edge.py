"""Listeners of Gateways in mesh words: ports, server names, and where connections go."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_listeners import LAYERS
from weft.mesh.gateway_api_objects import Attached, Derived, Listener, Route
from weft.mesh.gateway_api_resolve import PlacedRules, Vias, way_of
from weft.mesh.gateway_api_rules import source
from weft.mesh.gateway_api_tables import distinct, table_name
from weft.mesh.model import GatewayListener, GatewayServer, TcpRoute, WeightedDestination
from weft.mesh.names import covers, specificity

Connections = dict[str, list["Connection"]]
"""Listener -> its routes, the oldest first."""


class Connection(Struct, frozen=True):
    """A route of connections or datagrams at a listener."""

    attached: Attached
    shares: tuple[WeightedDestination, ...]


class Edge(Struct, frozen=True):
    """Open ports, and destinations that only they need."""

    listeners: tuple[GatewayListener, ...] = ()
    derived: tuple[Derived, ...] = ()


def connections(
    rows: Iterable[tuple[Route, Sequence[ParentResult], PlacedRules]], vias: Vias
) -> Connections:
    """All routes that are not about requests, by listener."""
    found: Connections = {}
    for _, results, rules in rows:
        for each in distinct(results):
            shares = rules.at((way_of(each.listener, vias), 0)).shares
            if shares and each.listener.serves:
                found.setdefault(each.listener.name, []).append(Connection(each, shares))
    return found


def edge(listeners: Iterable[Listener], found: Connections) -> Edge:
    """A port for each number and transport of each Gateway."""
    groups: dict[tuple[str, str, int], list[Listener]] = {}
    for each in listeners:
        if each.serves:
            place = (each.gateway_name, each.transport, each.port)
            groups.setdefault(place, []).append(each)
    made: list[GatewayListener] = []
    derived: list[Derived] = []
    for (gateway, _, port), group in sorted(groups.items()):
        layer = LAYERS[group[0].spec.protocol]
        servers = list(_servers(group, found, derived))
        protocol = "https" if layer == "tls" and any(s.route_table for s in servers) else layer
        if servers:
            made.append(GatewayListener(port, protocol, tuple(servers), gateway))  # type: ignore[arg-type]
    return Edge(tuple(made), tuple(derived))


def _servers(
    group: Sequence[Listener], found: Connections, derived: list[Derived]
) -> Iterator[GatewayServer]:
    for each in group:
        if each.spec.protocol in ("HTTP", "HTTPS"):
            yield GatewayServer(each.name, (each.host,), table_name(each), tls=each.tls)
        elif each.spec.protocol == "UDP":
            yield from _datagrams(each, found.get(each.name, ()), derived)
        else:
            yield from _streams(each, group, found.get(each.name, ()))


def _datagrams(
    listener: Listener, found: Sequence[Connection], derived: list[Derived]
) -> Iterator[GatewayServer]:
    """Datagrams go where the oldest route says. Several back ends are one destination with
    weights, since a proxy of datagrams knows one only."""
    if not found:
        return
    first = found[0]
    shares = first.shares
    if len(shares) > 1:
        name = f"udp|{listener.name}"
        parts = tuple((share.destination, share.weight) for share in shares)
        derived.append(Derived(name, parts, source=source(first.attached.route)))
        shares = (WeightedDestination(name),)
    yield _server(listener, listener.name, ("*",), first, shares)


def _streams(
    listener: Listener, group: Sequence[Listener], found: Sequence[Connection]
) -> Iterator[GatewayServer]:
    """Connections by server name: each name goes to the route that names it most narrowly, the
    oldest of several. A name that a narrower listener of the port has is left to that one."""
    owners: dict[str, tuple[tuple[bool, int], int]] = {}
    for number, each in enumerate(found):
        for host, written in zip(each.attached.hosts, each.attached.written, strict=True):
            claim = (specificity(written), -number)
            owners[host] = max(owners.get(host, claim), claim)
    for number, each in enumerate(found):
        own = (h for h in each.attached.hosts if owners[h][1] == -number)
        hosts = tuple(h for h in own if _owns(listener, group, h))
        if hosts:
            name = f"{listener.name}.{number}" if number else listener.name
            yield _server(listener, name, hosts, each, each.shares)


def _server(
    listener: Listener,
    name: str,
    hosts: tuple[str, ...],
    connection: Connection,
    shares: tuple[WeightedDestination, ...],
) -> GatewayServer:
    route = TcpRoute(
        addresses=(),
        port=listener.port,
        destinations=shares,
        sni_hosts=() if "*" in hosts else hosts,
        source=source(connection.attached.route),
    )
    return GatewayServer(name, hosts, "", tcp=route, tls=listener.tls)


def _owns(listener: Listener, group: Sequence[Listener], host: str) -> bool:
    return not any(
        covers(other.host, host) and specificity(other.host) > specificity(listener.host)
        for other in group
    )
