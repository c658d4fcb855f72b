"""Routes of a Canary: a VirtualService, or an HTTPRoute, that divides calls by weight or by match.

The route itself keeps the weight of now: what is in force is what is read.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import re2
from msgspec import Struct
from msgspec.structs import replace

from weft.api.flagger.canary import Canary
from weft.api.gateway import http_route as gw
from weft.api.gateway.common import (
    BackendObjectReference,
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    ParentReference,
)
from weft.api.istio import virtual_service as vs
from weft.api.istio.common import PortSelector
from weft.api.istio.destination_rule import DestinationRule, DestinationRuleSpec
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import meta
from weft.controllers.canary_view import (
    FULL,
    KUBERNETES,
    Halt,
    View,
    canary_name,
    copied,
    owned,
    primary_name,
)
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch
from weft.runtime.plan import Action, Create

INGRESS_PROVIDERS = ("nginx", "skipper")


class Shares(Struct, frozen=True):
    """Who answers."""

    canary: int = 0
    """Percent."""
    mirrored: bool = False
    """The canary gets copies."""


def provider(canary: Canary) -> str:
    """istio, gatewayapi or kubernetes: weft's own mesh stands in for others, and its HTTPRoutes
    divide what Ingresses send to the Service."""
    word = canary.spec.provider.partition(":")[0]
    if word in INGRESS_PROVIDERS:
        return "gatewayapi"
    return word if word in ("gatewayapi", KUBERNETES) else "istio"


def read(view: View) -> Shares:
    """What is in force."""
    name = canary_name(view.canary.apex)
    route = found(view)
    if isinstance(route, vs.VirtualService):
        for rule in route.spec.http:
            for each in rule.route:
                if each.destination is not None and each.destination.host == name:
                    return Shares(each.weight or 0, rule.mirror is not None)
    elif route is not None:
        for http in route.spec.rules:
            for back in http.backend_refs:
                if back.name == name:
                    return Shares(back.weight, any(f.request_mirror for f in http.filters))
    return Shares()


def found(view: View) -> vs.VirtualService | gw.HTTPRoute | None:
    """The route."""
    name = view.canary.apex
    if provider(view.canary) == "gatewayapi":
        return view.snapshot.get(gw.HTTPRoute, name, view.space)
    if provider(view.canary) == KUBERNETES:
        return None
    return view.snapshot.get(vs.VirtualService, name, view.space)


def written(view: View, shares: Shares) -> list[Action]:
    """The route, and the rules of its two sides, as they shall be."""
    canary = view.canary
    if provider(canary) == KUBERNETES:
        return []
    service = canary.spec.service
    extra = service.apex
    metadata = _metadata(view, canary.apex)
    if extra is not None:
        metadata = replace(metadata, labels=extra.labels, annotations=copied(extra.annotations))
    actions: list[Action] = []
    made: vs.VirtualService | gw.HTTPRoute
    if provider(canary) == "gatewayapi":
        made = gw.HTTPRoute(
            api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute", metadata=metadata,
            spec=_http_route(canary, shares),
        )  # fmt: skip
    else:
        made = vs.VirtualService(
            api_version="networking.istio.io/v1", kind="VirtualService", metadata=metadata,
            spec=_virtual_service(canary, shares),
        )  # fmt: skip
    if service.traffic_policy is not None or provider(canary) == "istio":
        for name in (canary_name(canary.apex), primary_name(canary.apex)):
            rule = DestinationRule(
                api_version="networking.istio.io/v1", kind="DestinationRule",
                metadata=_metadata(view, name),
                spec=DestinationRuleSpec(host=name, traffic_policy=service.traffic_policy),
            )  # fmt: skip
            actions += _put(view, view.snapshot.get(DestinationRule, name, view.space), rule)
    return actions + _put(view, found(view), made)


def _put(view: View, old: Any, new: Any) -> list[Action]:
    if old is None:
        return [Create(new)]
    if not owned(view.canary, old):
        kind = type(new).__name__
        text = f"{kind} {meta(new).name}.{view.space} is not of this Canary: delete or rename it"
        raise Halt(f"{text}, the Canary makes it of what `spec.service` says")
    kept = replace(old.metadata, labels=new.metadata.labels, annotations=new.metadata.annotations)
    return [*object_patch(old, replace(new, metadata=kept, status=old.status))]


def _metadata(view: View, name: str) -> ObjectMeta:
    owner = owner_reference(view.canary)
    return ObjectMeta(name=name, namespace=view.space, owner_references=(owner,))


def settled(view: View) -> bool:
    """Whether every proxy has acknowledged the route as it is."""
    route = found(view)
    return provider(view.canary) == KUBERNETES or (route is not None and view.in_force(route))


# ------------------------------------------------------------------ VirtualServices


def _virtual_service(canary: Canary, shares: Shares) -> vs.VirtualServiceSpec:
    service, analysis = canary.spec.service, canary.analysis
    hosts = service.hosts
    if canary.apex not in hosts and "*" not in hosts:
        hosts = (*hosts, canary.apex)
    rule = vs.HTTPRoute(
        match=service.match,
        rewrite=vs.HTTPRewrite(uri=service.rewrite.uri, authority=service.rewrite.authority)
        if service.rewrite
        else None,
        timeout=service.timeout,
        retries=service.retries,
        cors_policy=service.cors_policy,
        headers=service.headers,
        route=(
            _destination(canary, primary_name(canary.apex), FULL - shares.canary),
            _destination(canary, canary_name(canary.apex), shares.canary),
        ),
    )
    if shares.mirrored:
        rule = replace(rule, mirror=vs.Destination(host=canary_name(canary.apex)))
        if analysis.mirror_weight:
            share = vs.PercentValue(value=float(analysis.mirror_weight))
            rule = replace(rule, mirror_percentage=share)
    rules: tuple[vs.HTTPRoute, ...] = (rule,)
    if analysis.match:
        first = replace(rule, match=_both(analysis.match, service.match))
        rest = (_destination(canary, primary_name(canary.apex), FULL),)
        rules = (first, replace(rule, route=rest, mirror=None, mirror_percentage=None))
    if service.delegation:
        return vs.VirtualServiceSpec(http=rules)
    return vs.VirtualServiceSpec(hosts, service.gateways or ("mesh",), rules)


def _destination(canary: Canary, host: str, weight: int) -> vs.HTTPRouteDestination:
    service = canary.spec.service
    several = service.port_discovery and (
        service.delegation or (service.gateways and service.gateways[0] != "mesh")
    )
    port = PortSelector(number=service.port) if several else None
    return vs.HTTPRouteDestination(vs.Destination(host=host, port=port), weight)


def _both(
    own: Sequence[vs.HTTPMatchRequest], every: Sequence[vs.HTTPMatchRequest]
) -> tuple[vs.HTTPMatchRequest, ...]:
    """Conditions of the test and of the service together."""
    if not every:
        return tuple(own)
    made = []
    for test, base in product(own, every):
        given = {
            name: getattr(test, name) for name in test.__struct_fields__ if getattr(test, name)
        }
        for name in ("headers", "query_params", "without_headers", "source_labels"):
            given[name] = {**getattr(base, name), **getattr(test, name)}
        made.append(replace(base, **given))
    return tuple(made)


# ------------------------------------------------------------------ HTTPRoutes


def _http_route(canary: Canary, shares: Shares) -> gw.HTTPRouteSpec:
    service, analysis = canary.spec.service, canary.analysis
    parents = service.gateway_refs or (
        ParentReference("", "Service", name=canary.apex, port=service.port),
    )
    every = tuple(_match(m) for m in service.match) or (gw.HTTPRouteMatch(),)
    steps = _filters(canary)
    back_ends = (
        gw.HTTPBackendRef(
            name=primary_name(canary.apex), port=service.port, weight=FULL - shares.canary
        ),
        gw.HTTPBackendRef(name=canary_name(canary.apex), port=service.port, weight=shares.canary),
    )
    limits = gw.HTTPRouteTimeouts(request=service.timeout, backend_request=service.backend_timeout)
    rule = gw.HTTPRouteRule(
        matches=every, filters=steps, backend_refs=back_ends, timeouts=limits
    )  # fmt: skip
    rules: tuple[gw.HTTPRouteRule, ...] = (rule,)
    if analysis.match:
        pairs = _both(analysis.match, service.match)
        primary = (replace(back_ends[0], weight=FULL),)
        rules = (
            replace(rule, matches=tuple(_match(m) for m in pairs)),
            replace(rule, backend_refs=primary),
        )
    if shares.mirrored:
        target = BackendObjectReference(name=canary_name(canary.apex), port=service.port)
        copy = HTTPRequestMirrorFilter(backend_ref=target, percent=analysis.mirror_weight or None)
        step = gw.HTTPRouteFilter(type="RequestMirror", request_mirror=copy)
        rules = (replace(rules[0], filters=(*steps, step)), *rules[1:])
    return gw.HTTPRouteSpec(parent_refs=parents, hostnames=service.hosts, rules=rules)


def _match(match: vs.HTTPMatchRequest) -> gw.HTTPRouteMatch:
    path = gw.HTTPPathMatch()
    if match.uri is not None:
        kind, value = _compared(match.uri, "PathPrefix")
        path = gw.HTTPPathMatch(type=kind, value=value)  # type: ignore[arg-type]
    headers = []
    for name, text in match.headers.items():
        kind, value = _compared(text, "")
        headers.append(gw.HTTPHeaderMatch(type=kind, name=name, value=value))  # type: ignore[arg-type]
    params = []
    for name, text in match.query_params.items():
        kind, value = _compared(text, "")
        params.append(gw.HTTPQueryParamMatch(type=kind, name=name, value=value))  # type: ignore[arg-type]
    method = match.method.exact if match.method is not None else ""
    return gw.HTTPRouteMatch(path, tuple(headers), tuple(params), method or "")  # type: ignore[arg-type]


def _compared(match: vs.StringMatch, prefix: str) -> tuple[str, str]:
    """How the Gateway API says it; `prefix` is its word for a prefix, if it has one."""
    if match.exact is not None:
        return "Exact", match.exact
    if match.prefix is not None and prefix:
        return prefix, match.prefix
    if match.prefix is not None:
        return "RegularExpression", f"{re2.escape(match.prefix)}.*"
    return "RegularExpression", match.regex or ".*"


def _filters(canary: Canary) -> tuple[gw.HTTPRouteFilter, ...]:
    service = canary.spec.service
    made = []
    headers = service.headers or vs.Headers()
    if headers.request is not None:
        step = _header_filter(headers.request)
        made.append(gw.HTTPRouteFilter(type="RequestHeaderModifier", request_header_modifier=step))
    if headers.response is not None:
        step = _header_filter(headers.response)
        made.append(
            gw.HTTPRouteFilter(type="ResponseHeaderModifier", response_header_modifier=step)
        )
    if service.rewrite is not None:
        path = None
        if service.rewrite.uri and service.rewrite.type == "ReplacePrefixMatch":
            path = gw.HTTPPathModifier(
                type="ReplacePrefixMatch", replace_prefix_match=service.rewrite.uri
            )
        elif service.rewrite.uri:
            path = gw.HTTPPathModifier(
                type="ReplaceFullPath", replace_full_path=service.rewrite.uri
            )
        rewrite = gw.HTTPURLRewriteFilter(hostname=service.rewrite.authority, path=path)
        made.append(gw.HTTPRouteFilter(type="URLRewrite", url_rewrite=rewrite))
    return tuple(made)


def _header_filter(change: vs.HeaderOperations) -> HTTPHeaderFilter:
    return HTTPHeaderFilter(
        set=tuple(HTTPHeader(k, v) for k, v in change.set.items()),
        add=tuple(HTTPHeader(k, v) for k, v in change.add.items()),
        remove=change.remove,
    )
