"""The Gateway API part of the mesh: listeners, route tables, mesh routes, statuses.

One changed route among thousands must cost little: all that is done for each route is a pure
function of that route and of few other values, and is taken over while these are the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import Namespace
from weft.mesh.gateway_api_attach import Labels, ParentResult, Parents, attach
from weft.mesh.gateway_api_backend_tls import BackendTls, Target, Via, backend_certificate
from weft.mesh.gateway_api_certificates import Certificates, Found
from weft.mesh.gateway_api_edge import connections, edge
from weft.mesh.gateway_api_listeners import judged
from weft.mesh.gateway_api_mesh import InMesh, ServicePlace, in_mesh, service_routes
from weft.mesh.gateway_api_objects import (
    Derived,
    GatewayApi,
    GatewayApiObjects,
    Listener,
    ObjectStatus,
    Route,
    age_key,
)
from weft.mesh.gateway_api_policy_status import policy_status
from weft.mesh.gateway_api_refs import References
from weft.mesh.gateway_api_resolve import (
    AS_IT_IS,
    Lookups,
    PlacedRules,
    placed_rules,
    port_of,
    resolve,
)
from weft.mesh.gateway_api_rules import Ranked
from weft.mesh.gateway_api_sets import ListenerSets
from weft.mesh.gateway_api_status import (
    class_status,
    gateway_refusal,
    gateway_status,
    listener_set_status,
    route_status,
)
from weft.mesh.gateway_api_tables import distinct, entries, tables
from weft.mesh.hosts import Host
from weft.mesh.memo import Memo

_Row = tuple[Route, tuple[ParentResult, ...], InMesh, PlacedRules]


class _Gateways(Struct, frozen=True):
    """Our Gateways with their listeners."""

    gateways: tuple[gw.Gateway, ...]
    sets: ListenerSets
    listeners: Mapping[str, tuple[Listener, ...]]
    """By Gateway, those of its ListenerSets included."""
    parents: Parents
    vias: Mapping[str, Via]
    shown: Mapping[str, Found]
    """Gateway -> what is wrong with what it shows to back ends."""

    def all(self) -> tuple[Listener, ...]:
        return tuple(each for found in self.listeners.values() for each in found)


def gateway_api(objects: GatewayApiObjects, hosts: tuple[Host, ...], memo: Memo) -> GatewayApi:
    """What the objects mean; `hosts` without their endpoints."""
    if not objects.gateways and not objects.classes and not objects.any_routes():
        return GatewayApi()
    references = memo("references", References, hosts, objects.grants)
    certificates = memo(
        "certificates", Certificates, objects.secrets, objects.config_maps, references
    )
    tls = memo("backend tls", BackendTls, objects.tls_policies, certificates)
    labels = memo("namespaces", _labels, objects.namespaces)
    ours = memo(
        "gateways", _gateways, objects.classes, objects.gateways, objects.listener_sets,
        certificates, labels,
    )  # fmt: skip
    routes = memo("routes", _by_age, *objects.routes_by_kind())
    attached = memo.mapped("attached", attach, zip(routes), ours.parents, labels)
    meshed = memo.mapped("in mesh", in_mesh, zip(routes), references)
    places = tuple(each.places for each in meshed)
    rows = tuple(zip(routes, attached, places, strict=True))
    lookups = memo("lookups", Lookups, references, tls, ours.vias)
    resolved = memo.mapped("resolved", resolve, rows, lookups)
    ruled = tuple((*row, found) for row, found in zip(rows, resolved, strict=True))
    rules = memo.mapped("rules", placed_rules, ruled, ours.vias)
    made = tuple(zip(routes, attached, meshed, rules, strict=True))
    return _assembled(objects, ours, made, tls, memo)


def _assembled(
    objects: GatewayApiObjects,
    ours: _Gateways,
    rows: tuple[_Row, ...],
    tls: BackendTls,
    memo: Memo,
) -> GatewayApi:
    listeners = ours.all()
    attached = [(route, results, rules) for route, results, _, rules in rows]
    found = memo.mapped("entries", entries, attached, ours.vias)
    streams = [r for r in attached if not isinstance(r[0], gw.HTTPRoute | gw.GRPCRoute)]
    opened = edge(listeners, connections(streams, ours.vias))
    meshed = [_in_mesh(route, here, rules) for route, _, here, rules in rows if here.places]
    return GatewayApi(
        listeners=memo.keep("listeners", opened.listeners),
        tables=tables(listeners, found, memo),
        service_routes=memo.keep("service routes", service_routes(meshed)),
        derived=memo.keep("derived", (*_derived(rows, memo), *opened.derived)),
        statuses=(
            *(class_status(c, objects.bundle) for c in objects.classes if _is_ours(c)),
            *_gateway_statuses(ours, _attachments(rows, memo)),
            *memo.mapped("statuses", route_status, rows),
            *(policy_status(p, _ancestors(p.targets, rows)) for p in tls.judged),
        ),
    )


def _is_ours(each: gw.GatewayClass) -> bool:
    return each.spec.controller_name == gw.CONTROLLER_NAME


def _labels(namespaces: Sequence[Namespace]) -> Labels:
    return {n.metadata.name: n.metadata.labels for n in namespaces}


def _by_age(*kinds: Sequence[Route]) -> tuple[Route, ...]:
    """All routes, oldest first; equal times by namespace and name."""
    return tuple(sorted((route for kind in kinds for route in kind), key=age_key))


def _gateways(
    classes: Sequence[gw.GatewayClass],
    gateways: Sequence[gw.Gateway],
    sets: Sequence[gw.ListenerSet],
    certificates: Certificates,
    labels: Labels,
) -> _Gateways:
    names = {c.metadata.name for c in classes if _is_ours(c)}
    own = [g for g in gateways if g.spec.gateway_class_name in names]
    own.sort(key=age_key)
    taken = ListenerSets(own, sets, labels)
    listeners: dict[str, tuple[Listener, ...]] = {}
    parents: dict[tuple[str, str, str], tuple[Listener, ...] | None] = {}
    vias: dict[str, Via] = {}
    shown: dict[str, Found] = {}
    for gateway in own:
        space, short = gateway.metadata.namespace, gateway.metadata.name
        name = f"{space}/{short}"
        refused = bool(gateway_refusal(gateway)[0])
        added = () if refused else taken.of(name)
        found = judged(gateway, added, certificates)
        if refused:
            found = tuple(_closed(each) for each in found)
        listeners[name] = found
        parents["Gateway", space, short] = tuple(x for x in found if x.set is None)
        for each in (*taken.of(name), *taken.refused_by(name)):
            meta = each.metadata
            mine = tuple(x for x in found if x.set is each)
            parents["ListenerSet", meta.namespace, meta.name] = mine or None
        certificate = backend_certificate(gateway, certificates)
        if isinstance(certificate, Found):
            shown[name] = certificate
        else:
            vias[name] = Via(name, certificate)
    return _Gateways(tuple(own), taken, listeners, parents, vias, shown)


def _closed(listener: Listener) -> Listener:
    """A listener of a Gateway that is not accepted."""
    text = "the Gateway is not accepted"
    return Listener(
        listener.gateway, listener.spec, kinds=listener.kinds, refused="Invalid",
        refused_message=text,
    )  # fmt: skip


def _in_mesh(
    route: Route, here: InMesh, rules: PlacedRules
) -> tuple[tuple[ServicePlace, ...], tuple[tuple[Ranked, ...], ...]]:
    ports = (port_of(route, place.port) for place in here.places)
    return here.places, tuple(rules.at((AS_IT_IS, port)).ranked for port in ports)


def _derived(rows: Iterable[_Row], memo: Memo) -> tuple[Derived, ...]:
    """Destinations of routes, each once."""
    each_route = memo.mapped("derived by route", _derived_of, zip(row[3] for row in rows))
    found = {each.name: each for each in chain.from_iterable(each_route)}
    return tuple(found[name] for name in sorted(found))


def _derived_of(rules: PlacedRules) -> tuple[Derived, ...]:
    return tuple(each for _, placed in rules.by_place for each in placed.derived)


def _attachments(rows: Iterable[_Row], memo: Memo) -> Counter[str]:
    """Listener -> how many routes it has that are accepted."""
    short = ((route, results, rules) for route, results, _, rules in rows)
    return Counter(chain.from_iterable(memo.mapped("attachments", _attached_to, short)))


def _attached_to(
    _route: Route, results: tuple[ParentResult, ...], rules: PlacedRules
) -> tuple[str, ...]:
    if not rules.general.accepted:
        return ()
    return tuple(each.listener.name for each in distinct(results))


def _gateway_statuses(ours: _Gateways, count: Counter[str]) -> Iterable[ObjectStatus]:
    for gateway in ours.gateways:
        name = f"{gateway.metadata.namespace}/{gateway.metadata.name}"
        found = ours.listeners[name]
        own = [each for each in found if each.set is None]
        sets = [
            listener_set_status(each, gateway, [x for x in found if x.set is each], count)
            for each in ours.sets.of(name)
        ]
        refused = [
            listener_set_status(each, gateway, None, count) for each in ours.sets.refused_by(name)
        ]
        attached = sum(1 for _, accepted in sets if accepted)
        yield gateway_status(gateway, own, count, ours.shown.get(name, Found()), attached)
        yield from (status for status, _ in (*sets, *refused))


def _ancestors(targets: Sequence[Target], rows: Iterable[_Row]) -> tuple[str, ...]:
    """The Gateways with routes to these Services, or ports of theirs."""
    ports = frozenset(targets)
    hosts = {host for host, port in targets if not port}
    found = {
        each.listener.gateway_name
        for _, results, _, rules in rows
        if any(s in ports or s[0] in hosts for s in rules.general.services)
        for each in distinct(results)
    }
    return tuple(sorted(found))
