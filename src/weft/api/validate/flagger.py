"""Rules of Flagger's kinds beyond their schemas, and what weft has not."""

import re
from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.flagger.templates import PLACEHOLDER, PLACEHOLDERS
from weft.api.validate.analyses import duration

Json = Mapping[str, Any]
_SPEC: Location = ("spec",)
MESHES = ("", "istio", "linkerd", "osm", "kuma", "smi")
"""Meshes that weft's own stands in for."""
INGRESSES = ("nginx", "skipper")
"""Routers of Ingresses: HTTPRoutes divide what Ingresses send to the Service."""
BUILT_IN = ("request-success-rate", "request-duration")
_PROVIDERS = (
    "leave it out or write istio (weft's own mesh and its gateways divide the calls), "
    "gatewayapi:v1, nginx, skipper (Ingresses), or kubernetes"
)
_NOT_HTTP_ROUTE = ("gateways", "delegation", "retries", "corsPolicy")
_NOT_VIRTUAL_SERVICE = ("gatewayRefs", "backendTimeout")
_MATCHED = ("uri", "method", "headers", "queryParams", "name")
"""Conditions that an HTTPRoute has words for."""
_REFUSED_REFS = {
    "routeRef": "weft has no APISIX: it divides calls in the mesh",
    "upstreamRef": "weft has no Gloo: it divides calls in the mesh",
}
_REFUSED_SERVICE = {
    "headless": "calls to a headless Service go to its pods: nobody can divide them",
    "meshName": "weft has no App Mesh",
    "backends": "weft has no App Mesh",
}


def validate_canary(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _references(spec)
    word = str(spec.get("provider") or "").partition(":")[0]
    if spec.get("ingressRef") and word not in INGRESSES:
        text = "only with provider nginx or skipper; an HTTPRoute (gatewayapi:v1) divides what "
        errors.append(forbidden((*_SPEC, "ingressRef"), f"{text}Ingresses send to the Service"))
    if word not in (*MESHES, *INGRESSES, "gatewayapi", "kubernetes"):
        text = f"weft has no such router; {_PROVIDERS}"
        errors.append(invalid((*_SPEC, "provider"), spec["provider"], text))
    http_route = word in ("gatewayapi", *INGRESSES)
    errors += _service(spec.get("service") or {}, http_route=http_route)
    analysis = spec.get("analysis") or {}
    return errors + _analysis(spec, analysis, plain=word == "kubernetes", http_route=http_route)


def _references(spec: Json) -> list[FieldError]:
    target = spec.get("targetRef") or {}
    errors: list[FieldError] = []
    if target.get("kind") != "Deployment":
        text = "weft rolls out Deployments; a DaemonSet has its own updateStrategy, and a Service "
        text += "is divided by an HTTPRoute"
        errors.append(invalid((*_SPEC, "targetRef", "kind"), target.get("kind"), text))
    scaler = spec.get("autoscalerRef") or {}
    if scaler and scaler.get("kind") != "HorizontalPodAutoscaler":
        text = "weft has no ScaledObjects: use a HorizontalPodAutoscaler"
        errors.append(invalid((*_SPEC, "autoscalerRef", "kind"), scaler.get("kind"), text))
    if scaler.get("primaryScalerQueries"):
        at = (*_SPEC, "autoscalerRef", "primaryScalerQueries")
        errors.append(forbidden(at, "only ScaledObjects have queries"))
    for field, text in _REFUSED_REFS.items():
        if spec.get(field):
            errors.append(forbidden((*_SPEC, field), text))
    return errors


def _service(service: Json, *, http_route: bool) -> list[FieldError]:
    at: Location = (*_SPEC, "service")
    errors = [
        forbidden((*at, field), text) for field, text in _REFUSED_SERVICE.items()
        if service.get(field)
    ]  # fmt: skip
    if str(service.get("appProtocol") or "").lower() == "tcp":
        text = "a Canary divides requests; connections are divided by a Rollout with a TCPRoute"
        errors.append(forbidden((*at, "appProtocol"), text))
    absent = _NOT_HTTP_ROUTE if http_route else _NOT_VIRTUAL_SERVICE
    kind = "an HTTPRoute" if http_route else "a VirtualService"
    for field in absent:
        if service.get(field):
            errors.append(forbidden((*at, field), f"{kind} has no such field: change `provider`"))
    if service.get("delegation"):
        for field in ("hosts", "gateways"):
            if service.get(field):
                text = "a VirtualService that another one delegates to has none"
                errors.append(forbidden((*at, field), text))
    if http_route:
        errors += _matches(service.get("match") or (), (*at, "match"))
    for field in ("timeout", "backendTimeout"):
        errors += duration(service, at, field)
    return errors


def _matches(matches: Any, at: Location) -> list[FieldError]:
    return [
        forbidden((*at, index, field), "an HTTPRoute has no such condition: use provider istio")
        for index, match in enumerate(matches)
        for field in match
        if field not in _MATCHED
    ]


def _analysis(spec: Json, analysis: Json, *, plain: bool, http_route: bool) -> list[FieldError]:
    at: Location = (*_SPEC, "analysis")
    errors = duration(analysis, at, "interval")
    if analysis.get("sessionAffinity"):
        text = "weft keeps no sessions at a version: use an A/B test (`match` on a cookie)"
        errors.append(forbidden((*at, "sessionAffinity"), text))
    iterations = analysis.get("iterations")
    if analysis.get("match") and not iterations:
        errors.append(required((*at, "iterations"), "an A/B test has a number of steps"))
    if plain and analysis.get("match"):
        text = "provider kubernetes divides no calls: leave `provider` out"
        errors.append(forbidden((*at, "match"), text))
    if plain and analysis.get("mirror"):
        text = "provider kubernetes copies no calls: leave `provider` out"
        errors.append(forbidden((*at, "mirror"), text))
    steps = analysis.get("stepWeight") or analysis.get("stepWeights")
    if not (iterations or steps or plain or spec.get("skipAnalysis")):
        text = "one of `stepWeight`, `stepWeights`, `iterations` says how a version is tried"
        errors.append(required((*at, "stepWeight"), text))
    weights = list(analysis.get("stepWeights") or ())
    if weights != sorted(set(weights)):
        errors.append(invalid((*at, "stepWeights"), weights, "must grow from step to step"))
    if http_route:
        errors += _matches(analysis.get("match") or (), (*at, "match"))
    for index, metric in enumerate(analysis.get("metrics") or ()):
        errors += _metric(spec, metric, (*at, "metrics", index))
    for index, hook in enumerate(analysis.get("webhooks") or ()):
        here: Location = (*at, "webhooks", index)
        errors += duration(hook, here, "timeout")
        errors += _url(hook.get("url"), (*here, "url"))
    return errors


def _metric(spec: Json, metric: Json, at: Location) -> list[FieldError]:
    errors = duration(metric, at, "interval")
    if metric.get("query") and not spec.get("metricsServer"):
        text = "needs `spec.metricsServer`, the Prometheus that is asked; or a templateRef"
        errors.append(forbidden((*at, "query"), text))
    errors += _placeholders(str(metric.get("query") or ""), (*at, "query"))
    asks = metric.get("query") or metric.get("templateRef")
    if not asks and metric.get("name") not in BUILT_IN:
        text = f"is neither {' nor '.join(BUILT_IN)}, and has neither templateRef nor query"
        errors.append(invalid((*at, "name"), metric.get("name"), text))
    return errors


def _url(url: Any, at: Location) -> list[FieldError]:
    if str(url).startswith(("http://", "https://")):
        return []
    return [invalid(at, url, "must be an http or https URL")]


def _placeholders(query: str, at: Location) -> list[FieldError]:
    errors = []
    for each in re.findall(r"\{\{.*?\}\}", query):
        match = PLACEHOLDER.fullmatch(each)
        if match is None or (match[1] not in PLACEHOLDERS and match[1] != "variables"):
            text = f"weft fills in {', '.join(PLACEHOLDERS)} and variables.NAME"
            errors.append(invalid(at, each, text))
    return errors


def validate_template(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    asks = spec.get("provider") or {}
    at: Location = (*_SPEC, "provider")
    errors: list[FieldError] = []
    if asks.get("type") != "prometheus":
        text = "weft asks Prometheus (and what speaks its API) only"
        errors.append(invalid((*at, "type"), asks.get("type"), text))
    if asks.get("region"):
        errors.append(forbidden((*at, "region"), "Prometheus has no regions"))
    if not spec.get("query"):
        errors.append(required((*_SPEC, "query"), "a metric asks something"))
    errors += _url(asks.get("address"), (*at, "address"))
    return errors + _placeholders(str(spec.get("query") or ""), (*_SPEC, "query"))


def validate_provider(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    if spec.get("type") not in ("slack", "discord", "rocket", "gchat"):
        text = "weft speaks to slack, discord, rocket and gchat"
        errors.append(invalid((*_SPEC, "type"), spec.get("type"), text))
    if spec.get("proxy"):
        errors.append(forbidden((*_SPEC, "proxy"), "weft sends alerts without a proxy"))
    if spec.get("address"):
        errors += _url(spec["address"], (*_SPEC, "address"))
    elif not spec.get("secretRef"):
        text = "one of `address`, `secretRef` says where alerts go"
        errors.append(required((*_SPEC, "address"), text))
    return errors
