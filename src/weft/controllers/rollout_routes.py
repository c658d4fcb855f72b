"""Routes of the Gateway API that divide the requests to a Rollout: weft's own, made beside the
stable Service, and those that a user names (plugin argoproj-labs/gatewayAPI).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import re2
from msgspec import Struct
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
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import controller_of
from weft.controllers.rollout_traffic import Managed, Wish, changed, destinations
from weft.controllers.rollout_view import Draft
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch
from weft.runtime.plan import Action, Create

_KINDS: Mapping[str, type[Struct]] = {
    "httpRoute": gw.HTTPRoute, "grpcRoute": gw.GRPCRoute, "tcpRoute": gw.TCPRoute,
}  # fmt: skip
"""What the plugin's configuration may name, one or (with an s) a list of {name}."""


# ------------------------------------------------------------------ weft's own


def own(draft: Draft, wish: Wish) -> list[Action]:
    """An HTTPRoute for each port of the stable Service, made when it is first needed."""
    view = draft.view
    namespace = view.rollout.metadata.namespace
    service = view.snapshot.get(Service, wish.stable_service, namespace)
    if service is None:
        return []
    idle = not wish.weights.canary.weight and not wish.managed and not wish.weights.additional
    actions: list[Action] = []
    refused = []
    ports = [p for p in service.spec.ports if p.protocol in ("", "TCP") and p.port]
    for number, port in enumerate(ports):
        name = view.rollout.metadata.name + (f"-{port.port}" if number else "")
        found = view.snapshot.get(gw.HTTPRoute, name, namespace)
        if found is None and idle:
            continue
        made = _own_route(draft, wish, name, port.port or 0)
        if found is None:
            actions.append(Create(made))
        elif (owner := controller_of(found)) is None or owner.uid != view.rollout.metadata.uid:
            draft.fail(f"the HTTPRoute {name} is not of this Rollout; rename it")
        else:
            actions += object_patch(found, replace(found, spec=made.spec), conditional=True)
            refused.append(_refused(found))
    if refused and len(refused) == len(ports) and all(refused):
        draft.fail(f"requests cannot be divided: {refused[0]}; name the port `http`")
    return actions


def _refused(route: gw.HTTPRoute) -> str:
    """Why no parent takes the route; "" when one does, or when nobody looked yet."""
    told = [conditions.condition(p.conditions, "Accepted") for p in route.status.parents]
    bad = [c for c in told if c is not None and c.status == "False"]
    return bad[0].message if bad and len(bad) == len(told) else ""


def _own_route(draft: Draft, wish: Wish, name: str, port: int) -> gw.HTTPRoute:
    backends = _backends(wish, port)
    rules = [_managed_rule(m, wish, backends, port) for m in wish.managed]
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
            parent_refs=(ParentReference("", "Service", name=wish.stable_service, port=port),),
            rules=(*rules, HTTPRouteRule(backend_refs=backends)),
        ),
    )


def _backends(wish: Wish, port: int) -> tuple[HTTPBackendRef, ...]:
    return tuple(
        HTTPBackendRef(name=service, port=port, weight=weight)
        for service, weight in destinations(wish).items()
    )


def _managed_rule(
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


# ------------------------------------------------------------------ those of users


def named(draft: Draft, wish: Wish, config: Any) -> list[Action]:
    """Weights in the routes that the plugin's configuration names."""
    actions: list[Action] = []
    namespace = draft.view.rollout.metadata.namespace
    if not isinstance(config, Mapping) or not list(_names(config)):
        draft.fail("argoproj-labs/gatewayAPI names no route: write `httpRoute: NAME`")
        return []
    for kind, name in _names(config):
        found: Any = draft.view.snapshot.get(kind, name, config.get("namespace") or namespace)
        if found is None:
            draft.fail(f"the {kind.__name__} {name} does not exist")
            continue
        rules = [r for r in found.spec.rules if getattr(r, "name", "") not in wish.names]
        if not any(_divides(rule, wish) for rule in rules):
            text = f"no rule of the {kind.__name__} {name} has both {wish.stable_service}"
            draft.fail(f"{text} and {wish.canary_service}")
            continue
        after = [_weighted(rule, wish) for rule in rules]
        if kind is gw.HTTPRoute:
            after = [*_managed_of(after, wish), *after]
        actions += object_patch(found, changed(found, rules=tuple(after)), conditional=True)
    return actions


def _names(config: Mapping[str, Any]) -> Iterable[tuple[type[Struct], str]]:
    for word, kind in _KINDS.items():
        if config.get(word):
            yield kind, str(config[word])
        for item in config.get(f"{word}s") or ():
            if isinstance(item, Mapping) and item.get("name"):
                yield kind, str(item["name"])


def _divides(rule: Any, wish: Wish) -> bool:
    names = {b.name for b in rule.backend_refs}
    return {wish.stable_service, wish.canary_service} <= names


def _weighted(rule: Any, wish: Wish) -> Any:
    if not _divides(rule, wish):
        return rule
    shares = destinations(wish)
    refs = [replace(b, weight=shares.get(b.name, b.weight)) for b in rule.backend_refs]
    return replace(rule, backend_refs=tuple(refs))


def _managed_of(rules: Sequence[Any], wish: Wish) -> list[Any]:
    """For each rule that is divided, its like for each managed route."""
    found = []
    for managed in wish.managed:
        for rule in rules:
            if not _divides(rule, wish):
                continue
            port = next(b.port for b in rule.backend_refs if b.name == wish.canary_service)
            made = _managed_rule(managed, wish, rule.backend_refs, port)
            if managed.header is not None:
                headers = made.matches[0].headers
                matches = [replace(m, headers=(*m.headers, *headers)) for m in rule.matches]
                made = replace(made, matches=tuple(matches))
            found.append(replace(made, filters=(*rule.filters, *made.filters)))
    return found
