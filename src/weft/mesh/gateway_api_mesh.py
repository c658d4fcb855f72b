"""Routes with a Service as parent: calls inside the mesh (GAMMA).

A route in the Service's own namespace is for all callers, one in another namespace for the callers
of that namespace only.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.destinations import named
from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_objects import Route, ServiceRoutes
from weft.mesh.gateway_api_refs import References
from weft.mesh.gateway_api_rules import NOTHING_ATTACHED, PARENT, Ranked
from weft.mesh.hosts import HostPort
from weft.mesh.model import HttpRoute, WeightedDestination
from weft.mesh.names import service_host
from weft.mesh.protocols import HTTP


class ServicePlace(Struct, frozen=True):
    """A port of a Service that a route is about."""

    host: str
    port: int
    client: str
    """Namespace of the callers; empty for all."""


class InMesh(Struct, frozen=True):
    """How a route fares with the Services that it names as parents."""

    results: tuple[ParentResult, ...] = ()
    places: tuple[ServicePlace, ...] = ()


NOWHERE_IN_MESH = InMesh()


def in_mesh(route: Route, references: References) -> InMesh:
    """The Services that a route is about."""
    if not isinstance(route, gw.HTTPRoute | gw.GRPCRoute):
        return NOWHERE_IN_MESH
    parents = [p for p in route.spec.parent_refs if p.group == "" and p.kind == "Service"]
    if not parents:
        return NOWHERE_IN_MESH
    found = [_attach(route, parent, references) for parent in parents]
    places = [place for _, own in found for place in own]
    return InMesh(tuple(result for result, _ in found), tuple(dict.fromkeys(places)))


def service_routes(
    found: Iterable[tuple[tuple[ServicePlace, ...], tuple[tuple[Ranked, ...], ...]]],
) -> ServiceRoutes:
    """All routes of Services, from each route's places and its rules there."""
    by_place: dict[tuple[str, int], dict[str, list[Ranked]]] = {}
    for places, rules in found:
        for place, ranked in zip(places, rules, strict=True):
            clients = by_place.setdefault((place.host, place.port), {})
            clients.setdefault(place.client, []).extend(_at(place, each) for each in ranked)
    return ServiceRoutes(
        {
            place: tuple((client, _ordered(client, r)) for client, r in sorted(clients.items()))
            for place, clients in by_place.items()
        }
    )


def _at(place: ServicePlace, ranked: Ranked) -> Ranked:
    """With the called Service in place of back ends that the rule does not name."""
    if ranked.route.destinations != (WeightedDestination(PARENT),):
        return ranked
    own = WeightedDestination(named(place.host, place.port, "", ""))
    return replace(ranked, route=replace(ranked.route, destinations=(own,)))


def _ordered(client: str, ranked: list[Ranked]) -> tuple[HttpRoute, ...]:
    routes = tuple(r.route for r in sorted(ranked, key=lambda r: r.key))
    # What callers with routes of their own ask for and these do not know is not found; without
    # this it would go to the routes for all.
    return (*routes, NOTHING_ATTACHED) if client else routes


def _attach(
    route: Route, parent: gw.ParentReference, references: References
) -> tuple[ParentResult, tuple[ServicePlace, ...]]:
    own = route.metadata.namespace
    namespace = parent.namespace or own
    host = references.hosts.get(service_host(parent.name, namespace))
    if host is None:
        return _refused(parent, f"Service `{namespace}/{parent.name}` does not exist"), ()
    ports = [port for port in host.ports if _wanted(parent, port)]
    if not ports:
        text = f"Service `{namespace}/{parent.name}` has no such port for HTTP"
        return _refused(parent, text), ()
    client = "" if own == host.namespace else own
    places = tuple(ServicePlace(host.host, port.number, client) for port in ports)
    return ParentResult(parent), places


def _wanted(parent: gw.ParentReference, port: HostPort) -> bool:
    named = parent.port in (None, port.number) and parent.section_name in ("", port.name)
    return named and port.protocol in HTTP


def _refused(parent: gw.ParentReference, message: str) -> ParentResult:
    return ParentResult(parent, refused="NoMatchingParent", message=message)
