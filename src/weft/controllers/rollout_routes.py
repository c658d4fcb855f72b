"""weft's own HTTPRoute, which divides the calls to a Rollout's Service: made beside that Service
where no route is named, or one of a router that weft has not.
"""

from collections.abc import Mapping, Sequence

import re2
from msgspec.structs import replace

from weft.api import conditions
from weft.api.argo.strategy import StringMatch
from weft.api.gateway import v1 as gw
from weft.api.gateway.common import BackendObjectReference, HTTPRequestMirrorFilter, ParentReference
from weft.api.gateway.http_route import (
    HTTPBackendRef,
    HTTPHeaderMatch,
    HTTPPathMatch,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
)
from weft.api.k8s.core_v1 import Service, ServicePort
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import controller_of
from weft.controllers.rollout_traffic import Managed, Wish, destinations, routing_of
from weft.controllers.rollout_view import Draft
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch
from weft.runtime.plan import Action, Create

OTHER_ROUTERS: Mapping[str, str] = {
    "nginx": "nginx", "alb": "alb", "smi": "smi", "ambassador": "ambassador",
    "app_mesh": "appMesh", "traefik": "traefik", "apisix": "apisix",
}  # fmt: skip
"""Routers that weft stands in for, by attribute."""


def stood_in_for(draft: Draft) -> list[str]:
    """Routers that the Rollout names and weft divides the calls for."""
    canary = draft.view.canary
    if canary is None:
        return []
    routing = routing_of(canary)
    return [word for name, word in OTHER_ROUTERS.items() if getattr(routing, name) is not None]


def own(draft: Draft, wish: Wish) -> list[Action]:
    """An HTTPRoute for each port of the Service that is called, made when it is first needed."""
    view = draft.view
    namespace = view.rollout.metadata.namespace
    called = [n for n in _called(draft, wish) if n]
    services = [view.snapshot.get(Service, name, namespace) for name in called]
    there = [s for s in services if s is not None]
    if not there:
        for name in called:
            draft.fail(f"the Service {name} does not exist")
        return []
    idle = not wish.weights.canary.weight and not wish.managed and not wish.weights.additional
    actions: list[Action] = []
    refused = []
    ports = [p for p in there[0].spec.ports if p.protocol in ("", "TCP") and p.port]
    for number, port in enumerate(ports):
        name = view.rollout.metadata.name + (f"-{port.port}" if number else "")
        found = view.snapshot.get(gw.HTTPRoute, name, namespace)
        if found is None and idle:
            continue
        made = _own_route(draft, wish, name, (port, called))
        if found is None:
            actions.append(Create(made))
            _tell(draft, name, called)
        elif (owner := controller_of(found)) is None or owner.uid != view.rollout.metadata.uid:
            draft.fail(f"the HTTPRoute {name} is not of this Rollout; rename it")
        else:
            actions += object_patch(found, replace(found, spec=made.spec), conditional=True)
            refused.append(_refused(found))
    if refused and len(refused) == len(ports) and all(refused):
        draft.fail(f"requests cannot be divided: {refused[0]}; name the port `http`")
    return actions


def _called(draft: Draft, wish: Wish) -> Sequence[str]:
    """The Services whose calls are divided: the root that an `alb` or `smi` names; ping and pong;
    else the stable one. The root of an `alb` may be the name of an action of an Ingress only; then
    the others are called, too."""
    canary = draft.view.canary
    if canary is None:
        return ()
    routing = routing_of(canary)
    found = [str((each or {}).get("rootService") or "") for each in (routing.alb, routing.smi)]
    roots = tuple(dict.fromkeys(root for root in found if root))
    namespace = draft.view.rollout.metadata.namespace
    if roots and all(draft.view.snapshot.get(Service, r, namespace) is not None for r in roots):
        return roots
    turns = canary.ping_pong
    if turns is not None and wish.stable_service in (turns.ping_service, turns.pong_service):
        return (turns.ping_service, turns.pong_service, *roots)
    return (wish.stable_service, *roots)


def _tell(draft: Draft, route: str, called: Sequence[str]) -> None:
    routers = stood_in_for(draft)
    if routers:
        text = f"weft has no {', '.join(routers)}: the mesh divides calls to {' and '.join(called)}"
        draft.event("TrafficDividedByMesh", f"{text}, and of Ingresses to it (HTTPRoute {route})")


def _refused(route: gw.HTTPRoute) -> str:
    """Why no parent takes the route; "" when one does, or when nobody looked yet."""
    told = [conditions.condition(p.conditions, "Accepted") for p in route.status.parents]
    bad = [c for c in told if c is not None and c.status == "False"]
    return bad[0].message if bad and len(bad) == len(told) else ""


def _own_route(
    draft: Draft, wish: Wish, name: str, place: tuple[ServicePort, Sequence[str]]
) -> gw.HTTPRoute:
    port, called = place
    backends = tuple(
        HTTPBackendRef(name=service, port=_port(draft, service, port), weight=weight)
        for service, weight in destinations(wish).items()
    )
    at = _port(draft, wish.canary_service, port)
    rules = [managed_rule(m, wish, backends, at) for m in wish.managed]
    rollout = draft.view.rollout
    return gw.HTTPRoute(
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        metadata=ObjectMeta(
            name=name,
            namespace=rollout.metadata.namespace,
            owner_references=(owner_reference(rollout),),
        ),
        spec=HTTPRouteSpec(
            parent_refs=tuple(
                ParentReference("", "Service", name=each, port=_port(draft, each, port))
                for each in called
            ),
            rules=(*rules, HTTPRouteRule(backend_refs=backends)),
        ),
    )


def _port(draft: Draft, service: str, port: ServicePort) -> int:
    """The port of a Service that stands for this one of another: of the same number, else of the
    same name, else its only one."""
    found = draft.view.snapshot.get(Service, service, draft.view.rollout.metadata.namespace)
    ports = found.spec.ports if found is not None else ()
    number = port.port or 0
    if any(p.port == number for p in ports):
        return number
    alike = [p for p in ports if p.name and p.name == port.name] or (
        ports if len(ports) == 1 else ()
    )
    return next((p.port for p in alike if p.port), number)


def managed_rule(
    managed: Managed, wish: Wish, backends: Sequence[HTTPBackendRef], port: int | None
) -> HTTPRouteRule:
    """The rule of a header route or mirror route."""
    if managed.header is not None:
        headers = tuple(header_match(m.header_name, m.header_value) for m in managed.header.match)
        canary = HTTPBackendRef(name=wish.canary_service, port=port)
        return HTTPRouteRule(
            name=managed.name, matches=(HTTPRouteMatch(headers=headers),), backend_refs=(canary,)
        )
    mirror = managed.mirror
    matches = tuple(
        HTTPRouteMatch(
            path=_path(m.path),
            method=(m.method.exact if m.method else "") or "",  # type: ignore[arg-type]
            headers=tuple(header_match(k, v) for k, v in m.headers.items()),
        )
        for m in (mirror.match if mirror else ())
    )
    target = BackendObjectReference(name=wish.canary_service, port=port)
    percent = mirror.percentage if mirror else None
    copy = HTTPRequestMirrorFilter(backend_ref=target, percent=percent)
    filters = (HTTPRouteFilter(type="RequestMirror", request_mirror=copy),)
    return HTTPRouteRule(
        name=managed.name, matches=matches, filters=filters, backend_refs=tuple(backends)
    )


def header_match(name: str, value: StringMatch | None) -> HTTPHeaderMatch:
    match = value or StringMatch()
    if match.exact:
        return HTTPHeaderMatch(name=name, value=match.exact)
    regex = match.regex or f"{re2.escape(match.prefix)}.*"
    return HTTPHeaderMatch(type="RegularExpression", name=name, value=regex)


def _path(match: StringMatch | None) -> HTTPPathMatch:
    if match is None:
        return HTTPPathMatch()
    if match.exact:
        return HTTPPathMatch(type="Exact", value=match.exact)
    if match.prefix:
        return HTTPPathMatch(type="PathPrefix", value=match.prefix)
    return HTTPPathMatch(type="RegularExpression", value=match.regex)
