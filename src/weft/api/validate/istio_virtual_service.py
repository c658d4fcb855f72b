"""Rules of VirtualService. Source: the public Istio reference and its published constraints."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api import registry
from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.schema import schema_for
from weft.api.validate import istio_common as common
from weft.api.validate import names

Json = Mapping[str, Any]

MESH_GATEWAY = "mesh"
_HTTP_ACTIONS = ("route", "redirect", "directResponse", "delegate")
_WITHOUT_FORWARDING = ("rewrite", "retries", "mirror", "mirrors", "timeout")
_STRING_MATCH = ("exact", "prefix", "regex")
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "*")
DURATION_MIN_SECONDS = 0.001


def validate(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind = registry.find("networking.istio.io", "v1", "VirtualService")
    assert kind is not None
    errors = _hosts(spec) + common.formats(schema_for(kind), obj, ())
    errors += common.export_to(spec)
    for index, name in enumerate(spec.get("gateways") or ()):
        if problem := _gateway_problem(name or ""):
            errors.append(invalid(("spec", "gateways", index), name, problem))
    if not any(spec.get(key) for key in ("http", "tls", "tcp")):
        text = "a virtual service needs routes: `http`, `tls` or `tcp`"
        errors.append(required(("spec", "http"), text))
    for index, route in enumerate(spec.get("http") or ()):
        errors += _http_route(route, ("spec", "http", index))
    for key in ("tls", "tcp"):
        for index, route in enumerate(spec.get(key) or ()):
            errors += _l4_route(route, ("spec", key, index), tls=key == "tls")
    return errors


def _hosts(spec: Json) -> list[FieldError]:
    """Without hosts it is a delegate, which has HTTP rules only and no gateways of its own."""
    at: Location = ("spec", "hosts")
    found = spec.get("hosts") or ()
    if not found:
        delegate = spec.get("http") and not any(spec.get(k) for k in ("gateways", "tls", "tcp"))
        hint = "name the service whose requests are routed, such as `- reviews`"
        return [] if delegate and "hosts" not in spec else [required(at, suggestion=hint)]
    errors = common.hosts(found, at)
    gateways = spec.get("gateways") or (MESH_GATEWAY,)
    for index, host in enumerate(found):
        if host == "*" and MESH_GATEWAY in gateways:
            text = "wildcard host * is not allowed for virtual services bound to the mesh gateway"
            hint = "name a gateway in `gateways`, or the service in `hosts`"
            errors.append(invalid((*at, index), host, text, hint))
    return errors


def _gateway_problem(name: str) -> str:
    namespace, _, short = name.rpartition("/")
    if namespace and namespace != "." and (problem := names.label_problem(namespace)):
        return problem
    return names.subdomain_problem(short)


# ------------------------------------------------------------------ HTTP


def _http_route(route: Json, at: Location) -> list[FieldError]:
    errors = common.one_of(route, at, _HTTP_ACTIONS)
    for index, match in enumerate(route.get("match") or ()):
        errors += _http_match(match or {}, (*at, "match", index))
    errors += _destinations(route.get("route") or (), (*at, "route"))
    if route.get("redirect") or route.get("directResponse"):
        action = "redirect" if route.get("redirect") else "directResponse"
        for key in _WITHOUT_FORWARDING:
            if route.get(key):
                errors.append(forbidden((*at, key), f"may not be used together with `{action}`"))
    errors += _redirect(route.get("redirect"), (*at, "redirect"))
    errors += _direct_response(route.get("directResponse"), (*at, "directResponse"))
    errors += _rewrite(route.get("rewrite"), (*at, "rewrite"))
    errors += _retries(route.get("retries") or {}, (*at, "retries"))
    errors += _fault(route.get("fault") or {}, (*at, "fault"))
    errors += _mirrors(route, at) + _cors(route.get("corsPolicy") or {}, (*at, "corsPolicy"))
    return errors + common.at_least(route, at, "timeout", DURATION_MIN_SECONDS, zero=True)


def _http_match(match: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("uri", "scheme", "method", "authority"):
        if match.get(key) is not None:
            errors += common.one_of(match[key], (*at, key), _STRING_MATCH)
    for key in ("headers", "withoutHeaders", "queryParams"):
        for name, value in (match.get(key) or {}).items():
            if not name:
                errors.append(invalid((*at, key), name, "a name must not be empty"))
            errors += common.one_of(value or {}, (*at, key, name), _STRING_MATCH, needed=False)
    errors += names.labels(match.get("sourceLabels"), (*at, "sourceLabels"))
    return errors


def _destinations(routes: Sequence[Json], at: Location) -> list[FieldError]:
    """Weights count against their sum; alone, a weight has no meaning."""
    errors: list[FieldError] = []
    for index, route in enumerate(routes):
        if route.get("destination") is not None:
            errors += _destination(route["destination"], (*at, index, "destination"))
    complete = all(route.get("destination") is not None for route in routes)
    if len(routes) > 1 and complete and not sum(route.get("weight") or 0 for route in routes):
        hint = "give each destination a `weight`, such as 90 and 10"
        errors.append(invalid(at, 0, "the sum of all weights must be greater than 0", hint))
    return errors


def _destination(destination: Json, at: Location) -> list[FieldError]:
    host = destination.get("host") or ""
    errors: list[FieldError] = []
    if not host:
        errors += [required((*at, "host"))] if "host" in destination else []
    elif problem := common.host_problem(host, wildcard=False):
        errors.append(invalid((*at, "host"), host, problem))
    subset = destination.get("subset") or ""
    if subset and (problem := names.label_problem(subset.lower())):
        errors.append(invalid((*at, "subset"), subset, problem))
    port = destination.get("port")
    if port is not None and not port.get("number"):
        errors.append(required((*at, "port", "number")))
    return errors


def _redirect(redirect: Json | None, at: Location) -> list[FieldError]:
    if redirect is None:
        return []
    errors: list[FieldError] = []
    if redirect.get("uri") and redirect.get("prefixRewrite"):
        text = "`uri` replaces the whole path, `prefixRewrite` its matched prefix: give one"
        return [invalid((*at, "prefixRewrite"), redirect["prefixRewrite"], text)]
    changes = ("uri", "prefixRewrite", "authority", "scheme", "port", "derivePort", "redirectCode")
    if not any(redirect.get(key) for key in changes):
        errors.append(required(at, "must change `uri`, `authority`, `scheme` or `port`"))
    code = redirect.get("redirectCode")
    if code is not None and not 300 <= code <= 399:
        errors.append(invalid((*at, "redirectCode"), code, "must be between 300 and 399"))
    return errors + common.one_of(redirect, at, ("port", "derivePort"), needed=False)


def _direct_response(response: Json | None, at: Location) -> list[FieldError]:
    if response is None:
        return []
    errors = common.one_of(response.get("body") or {}, (*at, "body"), ("string", "bytes"), False)
    status = response.get("status")
    if status is not None and not 200 <= status <= 599:
        errors.append(invalid((*at, "status"), status, "must be between 200 and 599"))
    return errors


def _rewrite(rewrite: Json | None, at: Location) -> list[FieldError]:
    if rewrite is None:
        return []
    if not any(rewrite.get(key) for key in ("uri", "authority", "uriRegexRewrite")):
        return [required(at, "must specify `uri`, `authority` or `uriRegexRewrite`")]
    return common.one_of(rewrite, at, ("uri", "uriRegexRewrite"), needed=False)


def _retries(retries: Json, at: Location) -> list[FieldError]:
    errors = common.at_least(retries, at, "perTryTimeout", DURATION_MIN_SECONDS)
    if retries.get("attempts") == 0:
        for key in ("perTryTimeout", "retryOn"):
            if retries.get(key):
                text = "may not be set when `attempts` is 0, which switches retries off"
                errors.append(forbidden((*at, key), text))
    return errors


def _fault(fault: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    delay, abort = fault.get("delay"), fault.get("abort")
    if delay is not None:
        if not delay.get("fixedDelay"):
            errors.append(required((*at, "delay", "fixedDelay")))
        errors += common.at_least(delay, (*at, "delay"), "fixedDelay", DURATION_MIN_SECONDS)
    if abort is not None:
        here = (*at, "abort")
        errors += common.one_of(abort, here, ("httpStatus", "grpcStatus", "http2Error"))
        status = abort.get("httpStatus")
        if status is not None and not 200 <= status <= 599:
            errors.append(invalid((*here, "httpStatus"), status, "must be between 200 and 599"))
    return errors


def _mirrors(route: Json, at: Location) -> list[FieldError]:
    errors = common.one_of(route, at, ("mirror", "mirrors"), needed=False)
    if route.get("mirror") is not None:
        errors += _destination(route["mirror"], (*at, "mirror"))
    for index, policy in enumerate(route.get("mirrors") or ()):
        errors += _destination(
            policy.get("destination") or {}, (*at, "mirrors", index, "destination")
        )
    return errors


def _cors(cors: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, origin in enumerate(cors.get("allowOrigins") or ()):
        errors += common.one_of(origin or {}, (*at, "allowOrigins", index), _STRING_MATCH)
    for index, method in enumerate(cors.get("allowMethods") or ()):
        if method not in _METHODS:
            text = "must be an HTTP method in capital letters"
            errors.append(invalid((*at, "allowMethods", index), method, text))
    return errors


# ------------------------------------------------------------------ TLS, TCP


def _l4_route(route: Json, at: Location, tls: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if not route.get("route"):
        errors.append(required((*at, "route")))
    errors += _destinations(route.get("route") or (), (*at, "route"))
    for index, match in enumerate(route.get("match") or ()):
        here = (*at, "match", index)
        if tls:
            errors += common.hosts(match.get("sniHosts") or (), (*here, "sniHosts"))
            if match.get("sniHosts") is not None and not match["sniHosts"]:
                errors.append(required((*here, "sniHosts")))
        for place, block in enumerate(match.get("destinationSubnets") or ()):
            if problem := names.cidr_problem(block):
                errors.append(invalid((*here, "destinationSubnets", place), block, problem))
        errors += names.labels(match.get("sourceLabels"), (*here, "sourceLabels"))
    return errors


# ------------------------------------------------------------------ hints


def destination_hint(obj: Json, at: Location) -> str:
    """How to write a share of traffic whose `destination` is missing, from what stands there.

    `at` is the place of the missing `destination`, below `route`.
    """
    routes: Any = obj
    for step in at[:-2]:
        routes = routes[step]
    entry = routes[at[-2]]
    known = [r["destination"]["host"] for r in routes if (r.get("destination") or {}).get("host")]
    host = entry.get("host") or (known[0] if known else "my-service")
    subset = entry.get("subset")
    inner = f"host: {host}, subset: {subset}" if subset else f"host: {host}"
    weight = entry.get("weight")
    tail = "" if weight is None else f", weight: {weight}"
    return f"a weight belongs to a destination: `- {{destination: {{{inner}}}{tail}}}`"
