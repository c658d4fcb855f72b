"""PeerAuthentication STRICT for callers of nodes' own addresses: they have no identity of the mesh,
so nothing of a workload that demands one is served to them. Where only some pods of a destination
demand it, the whole destination is closed.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.authentication import PeerRules
from weft.mesh.exposure import OUTSIDE
from weft.mesh.model import (
    NOWHERE,
    Destination,
    DirectResponse,
    HttpRoute,
    RouteTable,
    ServiceListener,
)

REFUSED = DirectResponse(403, "RBAC: access denied")
"""Envoy's own words."""


class Outward(Struct, frozen=True):
    listeners: tuple[ServiceListener, ...]
    tables: tuple[RouteTable, ...]


def with_strict_callees(
    listeners: tuple[ServiceListener, ...],
    tables: tuple[RouteTable, ...],
    destinations: Iterable[Destination],
    peers: PeerRules,
) -> Outward:
    """Listeners for callers from outside, and their tables, without what must not be served."""
    if peers == PeerRules() or not any(e.owner for e in listeners):
        return Outward(listeners, tables)
    strict = {d.name: by for d in destinations if (by := _demanding(d, peers))}
    return Outward(
        tuple(_listener(e, strict) if e.owner else e for e in listeners),
        tuple(_table(t, strict) if t.name.startswith(OUTSIDE) else t for t in tables),
    )


def _demanding(destination: Destination, peers: PeerRules) -> str:
    """The PeerAuthentication that does; empty when none does."""
    for pod in destination.endpoints:
        if pod.pod_uid and not destination.through_inbound:
            rule = peers.of_pod(pod.namespace, pod.labels)
            if by := dict(rule.ports).get(pod.own_port or pod.port, rule.required):
                return by
    return ""


def _listener(listener: ServiceListener, strict: Mapping[str, str]) -> ServiceListener:
    tcp, udp = listener.tcp, listener.udp
    if udp is not None and udp.destination in strict:
        return replace(listener, udp=replace(udp, destination=""))
    if tcp is None:
        return listener
    shares = tuple(
        replace(s, destination=NOWHERE, closed_by=strict[s.destination])
        if s.destination in strict
        else s
        for s in tcp.destinations
    )
    return replace(listener, tcp=replace(tcp, destinations=shares))


def _table(table: RouteTable, strict: Mapping[str, str]) -> RouteTable:
    return replace(
        table,
        virtual_hosts=tuple(
            replace(host, routes=tuple(_route(r, strict) for r in host.routes))
            for host in table.virtual_hosts
        ),
    )


def _route(route: HttpRoute, strict: Mapping[str, str]) -> HttpRoute:
    by = next((strict[s.destination] for s in route.destinations if s.destination in strict), "")
    if not by:
        return route
    return HttpRoute(
        route.name, route.matches, direct_response=REFUSED, source=route.source, closed_by=by
    )
