"""Connections that are forwarded as bytes: by address and port, and by TLS server name."""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.directory import Directory, Reference
from weft.mesh.hosts import Host, HostPort
from weft.mesh.istio_matches import MESH, applies
from weft.mesh.istio_routes import source
from weft.mesh.mesh_index import MeshIndex
from weft.mesh.model import TcpRoute, WeightedDestination
from weft.mesh.names import destination_name
from weft.mesh.protocols import BYTES
from weft.mesh.values import network

_Match = istio.L4MatchAttributes | istio.TLSMatchAttributes
_Callers = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
"""Labels and networks of callers."""
_Claim = tuple[str, int, str, _Callers]
"""Address, port, server name, callers."""


class ConnectionMatch(Struct, frozen=True):
    """A condition on a connection, in mesh words."""

    addresses: tuple[str, ...] = ()
    sni_hosts: tuple[str, ...] = ()
    source_labels: tuple[tuple[str, str], ...] = ()
    source_networks: tuple[str, ...] = ()


def tcp_routes(
    hosts: Iterable[Host], directory: Directory, index: MeshIndex, client: str
) -> tuple[TcpRoute, ...]:
    """All connection routes for callers of a namespace ("" is any that has no rules of its own)."""
    made: list[TcpRoute] = []
    claimed: set[_Claim] = set()
    for host in hosts:
        for port in host.ports:
            if port.protocol not in BYTES:
                continue
            for route in _port_routes(host, port, directory, index, client):
                free = _claim(route, claimed)
                if free is not None:
                    made.append(free)
    return tuple(made)


def connection_route(
    host: Host, port: HostPort, directory: Directory, index: MeshIndex, client: str
) -> TcpRoute:
    """Where a connection goes that is known to be for a port of a host."""
    routes = _port_routes(host, port, directory, index, client)
    found = next((r for r in routes if not r.sni_hosts), None)
    shares = (
        found.destinations
        if found is not None
        else (WeightedDestination(directory.own_target(host, port, client)),)
    )
    return TcpRoute((), port.number, shares, source=found.source if found else host.source)


class _Reader(Struct, frozen=True):
    """A VirtualService's connection routes at one place."""

    obj: istio.VirtualService
    gateway: str
    port: int
    client: str
    directory: Directory


def connection_routes(
    obj: istio.VirtualService, gateway: str, port: int, directory: Directory, client: str = ""
) -> Iterator[tuple[ConnectionMatch, tuple[WeightedDestination, ...]]]:
    """The tls and tcp routes of an object that hold at a gateway (or `mesh`) and port, in order."""
    reader = _Reader(obj, gateway, port, client, directory)
    for index, tls in enumerate(obj.spec.tls):
        yield from _connection_route(reader, f"spec.tls[{index}]", tls.match, tls.route)
    for index, tcp in enumerate(obj.spec.tcp):
        yield from _connection_route(reader, f"spec.tcp[{index}]", tcp.match, tcp.route)


def _connection_route(
    reader: _Reader,
    path: str,
    wanted: tuple[_Match, ...],
    shares: tuple[istio.RouteDestination, ...],
) -> Iterator[tuple[ConnectionMatch, tuple[WeightedDestination, ...]]]:
    matches = list(_matches(reader, wanted))
    if wanted and not matches:
        return
    destinations = _destinations(reader, path, shares)
    if destinations:
        for match in matches or [ConnectionMatch()]:
            yield match, destinations


def _port_routes(
    host: Host, port: HostPort, directory: Directory, index: MeshIndex, client: str
) -> Iterator[TcpRoute]:
    if host.visible_in and client not in host.visible_in:
        return
    auto = port.protocol == "auto"
    for entry in index.entries(host.host):
        if entry.callers and client not in entry.callers:
            continue
        routed = connection_routes(entry.obj, MESH, port.number, directory, client)
        for match, destinations in routed:
            addresses = match.addresses or host.addresses
            if not addresses and not match.sni_hosts:
                continue
            yield TcpRoute(
                addresses=addresses,
                port=port.number,
                destinations=destinations,
                sni_hosts=match.sni_hosts,
                source_labels=match.source_labels,
                source_networks=match.source_networks,
                server_first=port.protocol == "tcp" and not match.sni_hosts,
                http_table=str(port.number) if auto and not match.sni_hosts else "",
                source=source(entry.obj),
            )
    own = (WeightedDestination(directory.own_target(host, port, client)),)
    sni = (host.host,) if port.protocol == "tls" and not host.addresses and host.external else ()
    if host.addresses or sni:
        yield TcpRoute(
            addresses=host.addresses,
            port=port.number,
            destinations=own,
            sni_hosts=sni,
            server_first=port.protocol == "tcp",
            http_table=str(port.number) if auto else "",
            source=host.source,
        )
    served = {e.address for e in port.endpoints}
    for pod in host.pods:
        if pod.address in served:
            yield TcpRoute(
                addresses=(pod.address,),
                port=port.number,
                destinations=(WeightedDestination(destination_name(port.number, pod.host)),),
                server_first=port.protocol == "tcp",
                http_table=str(port.number) if auto else "",
                source=host.source,
            )


def _claim(route: TcpRoute, claimed: set[_Claim]) -> TcpRoute | None:
    """The route with what no earlier one took: a proxy refuses two for one address, port and
    server name. Routes for some callers' labels do not take anything from the others."""
    places, labels = route.addresses or ("",), (route.source_labels, route.source_networks)
    if route.sni_hosts:
        free = tuple(
            n
            for n in dict.fromkeys(route.sni_hosts)
            if all((a, route.port, n, labels) not in claimed for a in places)
        )
        claimed.update((a, route.port, n, labels) for a in places for n in free)
        return replace(route, sni_hosts=free) if free else None
    left = tuple(a for a in dict.fromkeys(places) if (a, route.port, "", labels) not in claimed)
    claimed.update((a, route.port, "", labels) for a in left)
    if not left:
        return None
    return route if left == places else replace(route, addresses=left)


def _matches(reader: _Reader, matches: tuple[_Match, ...]) -> Iterator[ConnectionMatch]:
    obj = reader.obj
    for match in matches:
        subnet = match.source_subnet if isinstance(match, istio.L4MatchAttributes) else ""
        if match.source_labels and reader.gateway != MESH:
            continue
        if not applies(match.gateways, obj.metadata.namespace, reader.gateway):
            continue
        if match.port is not None and match.port != reader.port:
            continue
        if match.source_namespace and match.source_namespace != reader.client:
            continue
        sni = match.sni_hosts if isinstance(match, istio.TLSMatchAttributes) else ()
        labels = tuple(sorted(match.source_labels.items()))
        addresses = tuple(network(each) for each in match.destination_subnets)
        yield ConnectionMatch(addresses, sni, labels, (network(subnet),) if subnet else ())


def _destinations(
    reader: _Reader, path: str, shares: tuple[istio.RouteDestination, ...]
) -> tuple[WeightedDestination, ...]:
    obj, report = reader.obj, reader.directory.report
    made = []
    for index, share in enumerate(shares):
        where = f"{path}.route[{index}]"
        if share.destination is None or not share.destination.host:
            report.add(f.DESTINATION_MISSING, obj, where)
            continue
        namespace = obj.metadata.namespace
        ref = Reference(obj, f"{where}.destination", namespace, reader.port, reader.client)
        target = reader.directory.target(share.destination, ref)
        weight = share.weight if len(shares) > 1 else 1
        if weight:
            made.append(WeightedDestination(target.name, weight))
    if not made and shares:
        report.add(f.WEIGHTS_ZERO, obj, f"{path}.route")
    return tuple(made)
