"""Rules of routes of the Gateway API: what their CRDs say in patterns and CEL expressions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import (
    FieldError,
    Location,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from weft.api.validate import names
from weft.api.validate.gateway_api_gateways import hostname, too_many

Json = Mapping[str, Any]

RULES_MAX = 16
MATCHES_MAX = 128
"""Of all rules of a route together."""
RULE_MATCHES_MAX = 64
PARENTS_MAX = 32
HOSTNAMES_MAX = 16
BACKENDS_MAX = 16
FILTERS_MAX = 16
CONDITIONS_MAX = 16
HEADERS_MAX = 16
ASKED_HEADERS_MAX = 64
ORIGINS_MAX = 64
NAME_LENGTH_MAX = 256
HEADER_VALUE_LENGTH_MAX = 4096
QUERY_VALUE_LENGTH_MAX = 1024
PATH_LENGTH_MAX = 1024
ONE_RULE = ("TLSRoute", "TCPRoute", "UDPRoute")
REDIRECT_CODES = (301, 302, 303, 307, 308)
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+")
_GRPC_SERVICE = re.compile(r"\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*")
_GRPC_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_BAD_PATH = ("//", "/./", "/../", "%2f", "%2F", "#")
_FILTER_FIELDS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "CORS": "cors",
    "ExternalAuth": "externalAuth",
    "ExtensionRef": "extensionRef",
}
_REPEATABLE = ("RequestMirror", "ExtensionRef")


def validate_route(obj: Json) -> list[FieldError]:
    """HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute."""
    spec, kind = obj.get("spec") or {}, obj.get("kind") or ""
    errors = _parents(spec.get("parentRefs") or ())
    hosts, rules = spec.get("hostnames") or (), spec.get("rules") or ()
    errors += too_many(hosts, HOSTNAMES_MAX, ("spec", "hostnames"))
    for index, host in enumerate(hosts):
        errors += hostname(host or "", ("spec", "hostnames", index))
    errors += too_many(rules, 1 if kind in ONE_RULE else RULES_MAX, ("spec", "rules"))
    if kind in ONE_RULE and "rules" in spec and not rules:
        errors.append(required(("spec", "rules"), f"a {kind} has one rule"))
    if kind == "TLSRoute" and "hostnames" in spec and not hosts:
        errors.append(required(("spec", "hostnames"), "server names, such as `www.example.com`"))
    if sum(len(r.get("matches") or ()) for r in rules) > MATCHES_MAX:
        text = f"must have at most {MATCHES_MAX} matches in all rules together"
        errors.append(invalid(("spec", "rules"), len(rules), text))
    named = [
        (("spec", "rules", i, "name"), r["name"]) for i, r in enumerate(rules) if r.get("name")
    ]
    errors += names.unique(named)
    for index, rule in enumerate(rules):
        errors += _rule(rule, ("spec", "rules", index))
    return errors


def _parents(parents: Sequence[Json]) -> list[FieldError]:
    errors = too_many(parents, PARENTS_MAX, ("spec", "parentRefs"))
    seen: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
    for index, parent in enumerate(parents):
        keys = ("group", "kind", "namespace", "name")
        mine = (parent.get("sectionName") or "", parent.get("port") or 0)
        others = seen.setdefault(tuple(parent.get(k) or "" for k in keys), [])
        at: Location = ("spec", "parentRefs", index)
        if mine in others:
            errors.append(duplicate(at, parent.get("name")))
        elif others and (("", 0) in others or mine == ("", 0)):
            text = "several references to one parent must each name a `sectionName` or `port`"
            errors.append(invalid(at, parent.get("name"), text))
        others.append(mine)
    return errors


def _rule(rule: Json, at: Location) -> list[FieldError]:
    errors = too_many(rule.get("matches") or (), RULE_MATCHES_MAX, (*at, "matches"))
    errors += too_many(rule.get("backendRefs") or (), BACKENDS_MAX, (*at, "backendRefs"))
    prefixes = True
    for index, match in enumerate(rule.get("matches") or ()):
        errors += _match(match, (*at, "matches", index))
        prefixes &= (match.get("path") or {}).get("type", "PathPrefix") == "PathPrefix"
    alone = prefixes and len(rule.get("matches") or ()) == 1
    errors += _filters(rule.get("filters") or (), (*at, "filters"), alone)
    kinds = [f.get("type") for f in rule.get("filters") or ()]
    if "RequestRedirect" in kinds and rule.get("backendRefs"):
        text = "RequestRedirect must not be used together with backendRefs"
        errors.append(invalid((*at, "filters"), "RequestRedirect", text))
    for index, backend in enumerate(rule.get("backendRefs") or ()):
        where: Location = (*at, "backendRefs", index)
        errors += _backend(backend, where)
        errors += _filters(backend.get("filters") or (), (*where, "filters"), alone)
    timeouts = rule.get("timeouts") or {}
    limits = {key: _duration(timeouts.get(key), (*at, "timeouts", key), errors)
              for key in ("request", "backendRequest")}  # fmt: skip
    if limits["request"] and limits["backendRequest"] > limits["request"]:
        text = "must not be longer than `request`"
        where = (*at, "timeouts", "backendRequest")
        errors.append(invalid(where, timeouts["backendRequest"], text))
    _duration((rule.get("retry") or {}).get("backoff"), (*at, "retry", "backoff"), errors)
    return errors


def _duration(text: Any, at: Location, errors: list[FieldError]) -> float:
    """Seconds; 0.0 when absent or wrong, which is reported."""
    if not text:
        return 0.0
    if not _DURATION.fullmatch(text):
        hint = f"did you mean `{text}s`?" if str(text).isdigit() else ""
        errors.append(invalid(at, text, "must be a duration such as `10s` or `1m30s`", hint))
        return 0.0
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+)(ms|h|m|s)", text))


def _backend(backend: Json, at: Location) -> list[FieldError]:
    service = (backend.get("group") or "") == "" and backend.get("kind", "Service") == "Service"
    if service and not backend.get("port"):
        return [required((*at, "port"), "must be specified for Service")]
    return []


def _match(match: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    path = match.get("path") or {}
    value = path.get("value")
    if value is not None and path.get("type", "PathPrefix") in ("Exact", "PathPrefix"):
        errors += _path(value, (*at, "path", "value"))
    longest = {"headers": HEADER_VALUE_LENGTH_MAX, "queryParams": QUERY_VALUE_LENGTH_MAX}
    for key, most in longest.items():
        conditions = match.get(key) or ()
        errors += too_many(conditions, CONDITIONS_MAX, (*at, key))
        for index, each in enumerate(conditions):
            errors += _named(each, (*at, key, index), most)
        errors += names.unique(
            ((*at, key, i, "name"), n)
            for i, e in enumerate(conditions)
            if (n := _lower(e.get("name"), key)) is not None
        )
    method = match.get("method")
    return errors + (_grpc_method(method, (*at, "method")) if isinstance(method, Mapping) else [])


def _lower(name: Any, key: str) -> Any:
    """Names of headers are the same in any case."""
    return name.lower() if key == "headers" and isinstance(name, str) else name


def _named(each: Json, at: Location, longest: int) -> list[FieldError]:
    """A header or parameter: its name and value."""
    name, value = each.get("name") or "", each.get("value")
    errors: list[FieldError] = []
    if not _HEADER.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        text = f"must be a token of up to {NAME_LENGTH_MAX} characters, such as `x-user`"
        errors.append(invalid((*at, "name"), name, text))
    if value is not None and not 1 <= len(value) <= longest:
        text = f"must have 1 to {longest} characters"
        errors.append(invalid((*at, "value"), value, text))
    return errors


def _grpc_method(method: Json, at: Location) -> list[FieldError]:
    if not (method.get("service") or method.get("method")):
        return [required(at, "One or both of 'service' or 'method' must be specified")]
    errors: list[FieldError] = []
    if (method.get("type") or "Exact") != "Exact":
        return errors
    for field, pattern in (("service", _GRPC_SERVICE), ("method", _GRPC_METHOD)):
        value = method.get(field)
        if value and not pattern.fullmatch(value):
            text = "must be a name of Protocol Buffers, such as `shop.Cart`"
            errors.append(invalid((*at, field), value, text))
    return errors


def _path(value: str, at: Location) -> list[FieldError]:
    if not value.startswith("/"):
        return [invalid(at, value, "must be an absolute path and start with '/'")]
    for part in _BAD_PATH:
        if part in value:
            return [invalid(at, value, f"must not contain '{part}'")]
    if value.endswith(("/..", "/.")):
        return [invalid(at, value, "must not end with '/..' or '/.'")]
    if not _PATH.fullmatch(value):
        return [invalid(at, value, "must only contain characters that paths may have")]
    if len(value) > PATH_LENGTH_MAX:
        return [invalid(at, value, f"may have at most {PATH_LENGTH_MAX} characters")]
    return []


def _filters(filters: Sequence[Json], at: Location, alone: bool) -> list[FieldError]:
    errors = too_many(filters, FILTERS_MAX, at)
    kinds = [each.get("type") or "" for each in filters]
    for index, (each, kind) in enumerate(zip(filters, kinds, strict=True)):
        where: Location = (*at, index)
        field = _FILTER_FIELDS.get(kind, "")
        if field and each.get(field) is None:
            errors.append(required((*where, field), f"must be specified for {kind} filter.type"))
        extra = [f for f in _FILTER_FIELDS.values() if f != field and each.get(f) is not None]
        errors += [forbidden((*where, f), f"does not fit filter.type {kind}") for f in extra]
        if kind in kinds[:index] and kind not in _REPEATABLE:
            errors.append(invalid(where, kind, f"{kind} filter cannot be repeated"))
        errors += _filter(each, where, alone)
    if "RequestRedirect" in kinds and "URLRewrite" in kinds:
        text = "May specify either RequestRedirect or URLRewrite, but not both"
        errors.append(invalid(at, "RequestRedirect", text))
    return errors


def _filter(step: Json, at: Location, alone: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("requestRedirect", "urlRewrite"):
        found = step.get(field) or {}
        if found.get("path"):
            errors += _path_modifier(found["path"], (*at, field, "path"), alone)
        errors += hostname(found.get("hostname") or "", (*at, field, "hostname"), wildcard=False)
    code = (step.get("requestRedirect") or {}).get("statusCode")
    if code is not None and code not in REDIRECT_CODES:
        where: Location = (*at, "requestRedirect", "statusCode")
        errors.append(not_supported(where, code, [str(c) for c in REDIRECT_CODES]))
    for field in ("requestHeaderModifier", "responseHeaderModifier"):
        errors += _header_changes(step.get(field) or {}, (*at, field))
    errors += _cors(step.get("cors") or {}, (*at, "cors"))
    mirror = step.get("requestMirror") or {}
    if mirror.get("percent") is not None and mirror.get("fraction") is not None:
        text = "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"
        errors.append(invalid((*at, "requestMirror"), mirror["percent"], text))
    fraction = mirror.get("fraction") or {}
    if fraction.get("numerator", 0) > (fraction.get("denominator") or 100):
        text = "numerator must be less than or equal to denominator"
        where = (*at, "requestMirror", "fraction")
        errors.append(invalid(where, fraction["numerator"], text))
    errors += _external_auth(step.get("externalAuth") or {}, (*at, "externalAuth"))
    if mirror:
        errors += _backend(mirror.get("backendRef") or {}, (*at, "requestMirror", "backendRef"))
    return errors


def _external_auth(wanted: Json, at: Location) -> list[FieldError]:
    if not wanted:
        return []
    errors = _backend(wanted.get("backendRef") or {}, (*at, "backendRef"))
    protocol = wanted.get("protocol") or ""
    for kind, field in (("GRPC", "grpc"), ("HTTP", "http")):
        settings = wanted.get(field)
        if protocol == kind and settings is None:
            text = f"{field} must be specified when protocol is set to '{kind}'"
            errors.append(required((*at, field), text))
        elif protocol and protocol != kind and settings is not None:
            errors.append(forbidden((*at, field), f"protocol must be '{kind}' when {field} is set"))
        for key in ("allowedHeaders", "allowedResponseHeaders"):
            listed = (settings or {}).get(key) or ()
            errors += too_many(listed, ASKED_HEADERS_MAX, (*at, field, key))
            for index, name in enumerate(listed):
                if not _HEADER.fullmatch(name):
                    text = "must be the name of a header, such as `x-user`"
                    errors.append(invalid((*at, field, key, index), name, text))
    path = (wanted.get("http") or {}).get("path")
    return errors + (_path(path, (*at, "http", "path")) if path else [])


def _path_modifier(path: Json, at: Location, alone: bool) -> list[FieldError]:
    fields = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}
    kind = path.get("type") or ""
    wanted = fields.get(kind, "")
    errors: list[FieldError] = []
    if wanted and path.get(wanted) is None:
        errors.append(required((*at, wanted), f"must be specified when type is set to '{kind}'"))
    for other, field in fields.items():
        if field != wanted and path.get(field) is not None:
            errors.append(
                invalid((*at, "type"), kind, f"type must be '{other}' when {field} is set")
            )
    if kind == "ReplacePrefixMatch" and not alone:
        text = "needs exactly one match with path type PathPrefix in the rule"
        errors.append(invalid((*at, "type"), kind, text))
    return errors


def _cors(cors: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders"):
        values = cors.get(field) or ()
        errors += too_many(values, ORIGINS_MAX, (*at, field))
        if "*" in values and len(values) > 1:
            errors.append(invalid((*at, field), "*", "must stand alone"))
        errors += names.unique(((*at, field, i), v) for i, v in enumerate(values))
    for index, origin in enumerate(cors.get("allowOrigins") or ()):
        if origin != "*" and "://" not in origin:
            text = "must be a scheme and a host, such as `https://*.example.com`"
            errors.append(invalid((*at, "allowOrigins", index), origin, text))
    return errors


def _header_changes(changes: Json, at: Location) -> list[FieldError]:
    errors = too_many(changes.get("remove") or (), HEADERS_MAX, (*at, "remove"))
    for key in ("set", "add"):
        listed = changes.get(key) or ()
        errors += too_many(listed, HEADERS_MAX, (*at, key))
        for index, header in enumerate(listed):
            errors += _named(header, (*at, key, index), HEADER_VALUE_LENGTH_MAX)
        errors += names.unique(
            ((*at, key, i, "name"), _lower(h.get("name"), "headers")) for i, h in enumerate(listed)
        )
    return errors
