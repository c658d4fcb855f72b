"""What the references of a route lead to, and its rules at each place where it is attached."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_backend_tls import NOTHING_SHOWN, BackendTls, Via
from weft.mesh.gateway_api_mesh import ServicePlace
from weft.mesh.gateway_api_objects import Listener, Route
from weft.mesh.gateway_api_refs import Backend, BackendReference, References
from weft.mesh.gateway_api_rules import Rules, connection_rules, http_rules
from weft.mesh.names import service_host

AS_IT_IS = "as it is"
"""Way of calls that no Gateway is part of, or that it passes on as it gets them."""
Vias = Mapping[str, Via]
"""Gateway -> what it shows to back ends, for those that show something."""
Key = tuple[str, str, str, str, int]
Place = tuple[str, int]
"""(way, port); the port is 0 where it makes no difference."""
Resolved = tuple[tuple[str, tuple[tuple[Key, Backend], ...]], ...]
"""(way, what references lead to on it)."""


class Lookups(Struct, frozen=True):
    """Where references are looked up."""

    references: References
    tls: BackendTls
    vias: Vias


class PlacedRules(Struct, frozen=True):
    """The rules of a route at all places where it is attached."""

    by_place: tuple[tuple[Place, Rules], ...] = ()
    general: Rules = Rules()
    """Those of the first place: what is wrong with a route is wrong everywhere."""

    def at(self, place: Place) -> Rules:
        return next((rules for where, rules in self.by_place if where == place), Rules())


def resolve(
    route: Route,
    results: Sequence[ParentResult],
    mesh: Sequence[ServicePlace],
    lookups: Lookups,
) -> Resolved:
    """Every reference of a route, on every way that its requests come. Short and cheap, so that
    reading rules need not be repeated when a Service somewhere changes."""
    kind, namespace = type(route).__name__, route.metadata.namespace
    refs = {_key(ref): ref for ref in references(route)}
    find, vias = lookups.references.backend, lookups.vias
    found = {key: find(ref, kind, namespace) for key, ref in refs.items()}
    made: list[tuple[str, tuple[tuple[Key, Backend], ...]]] = []
    streams = not isinstance(route, gw.HTTPRoute | gw.GRPCRoute)
    for way in ways(results, mesh, vias):
        if way == AS_IT_IS:
            own = {key: _parents_own(ref, namespace, mesh) for key, ref in refs.items()}
            near = {
                key: find(refs[key], kind, own[key]) if own[key] else found[key] for key in refs
            }
            made.append((way, tuple(near.items())))
            continue
        via = vias.get(way, NOTHING_SHOWN)
        applied = ((key, lookups.tls.applied(b, via, streams)) for key, b in found.items())
        made.append((way, tuple(applied)))
    return tuple(made)


def placed_rules(
    route: Route,
    results: Sequence[ParentResult],
    mesh: Sequence[ServicePlace],
    resolved: Resolved,
    vias: Vias,
) -> PlacedRules:
    """The rules wherever the route is attached."""
    by_way = {way: dict(found) for way, found in resolved}
    made: dict[Place, Rules] = {}
    for place in places(route, results, mesh, vias):
        way, port = place
        if place not in made:
            made[place] = _rules(route, port, by_way[way], bool(mesh) and way == AS_IT_IS)
    if not made:
        first = next(iter(by_way.values()), {})
        return PlacedRules((), _rules(route, 0, first, False))
    return PlacedRules(tuple(made.items()), next(iter(made.values())))


def _parents_own(ref: BackendReference, namespace: str, mesh: Iterable[ServicePlace]) -> str:
    """The namespace of a back end that is a Service which the route is about: callers reach it
    anyhow, so no ReferenceGrant is needed (GEP-1426)."""
    where = ref.namespace or namespace
    own = service_host(ref.name, where)
    is_service = ref.group == "" and ref.kind == "Service"
    return where if is_service and any(place.host == own for place in mesh) else ""


def _rules(route: Route, port: int, found: Mapping[Key, Backend], in_mesh: bool) -> Rules:
    def lookup(ref: BackendReference) -> Backend:
        return found[_key(ref)]

    if isinstance(route, gw.HTTPRoute | gw.GRPCRoute):
        return http_rules(route, port, lookup, in_mesh)
    return connection_rules(route, lookup)


def ways(
    results: Iterable[ParentResult], mesh: Sequence[ServicePlace], vias: Vias
) -> tuple[str, ...]:
    """On which ways a route's requests come; one at least, so that references are judged."""
    found = [way_of(a.listener, vias) for r in results for a in r.attached]
    return tuple(dict.fromkeys([*found, *([AS_IT_IS] if mesh else [])])) or ("",)


def places(
    route: Route, results: Iterable[ParentResult], mesh: Iterable[ServicePlace], vias: Vias
) -> Iterator[Place]:
    """Where the rules of a route apply."""
    for result in results:
        for each in result.attached:
            way = way_of(each.listener, vias)
            yield way, port_of(route, each.listener.port)
    for place in mesh:
        yield AS_IT_IS, port_of(route, place.port)


def way_of(listener: Listener, vias: Vias) -> str:
    """Gateways that show nothing to back ends are one way."""
    if listener.passes:
        return AS_IT_IS
    return listener.gateway_name if listener.gateway_name in vias else ""


def port_of(route: Route, port: int) -> int:
    """The port where it makes a difference: only redirects name the one that was asked."""
    if not isinstance(route, gw.HTTPRoute):
        return 0
    for rule in route.spec.rules:
        for step in (*rule.filters, *(f for ref in rule.backend_refs for f in ref.filters)):
            if step.request_redirect is not None:
                return port
    return 0


def references(route: Route) -> Iterator[BackendReference]:
    """All back ends that a route names, also in its filters."""
    for rule in route.spec.rules:
        yield from rule.backend_refs
        if isinstance(rule, gw.HTTPRouteRule | gw.GRPCRouteRule):
            for step in (*rule.filters, *(f for ref in rule.backend_refs for f in ref.filters)):
                if step.request_mirror is not None:
                    yield step.request_mirror.backend_ref
                if isinstance(step, gw.HTTPRouteFilter) and step.external_auth is not None:
                    yield step.external_auth.backend_ref


def _key(ref: BackendReference) -> Key:
    return ref.group, ref.kind, ref.namespace, ref.name, ref.port or 0
