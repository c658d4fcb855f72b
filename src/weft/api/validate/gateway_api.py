"""Rules of Gateway API kinds: what the CRDs of the API say in patterns and CEL expressions."""

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

Json = Mapping[str, Any]

LISTENERS_MAX = 64
RULES_MAX = 16
MATCHES_MAX = 128
"""Of all rules of a route together."""
REDIRECT_CODES = (301, 302, 303, 307, 308)
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_BAD_PATH = ("//", "/./", "/../", "%2f", "%2F", "#")
_FILTER_FIELDS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "CORS": "cors",
    "ExtensionRef": "extensionRef",
}
_REPEATABLE = ("RequestMirror", "ExtensionRef")


def validate_gateway_class_update(new: Json, old: Json) -> list[FieldError]:
    name = (new.get("spec") or {}).get("controllerName")
    if name == (old.get("spec") or {}).get("controllerName"):
        return []
    return [invalid(("spec", "controllerName"), name, "Value is immutable")]


def validate_gateway(obj: Json) -> list[FieldError]:
    listeners = (obj.get("spec") or {}).get("listeners") or ()
    at: Location = ("spec", "listeners")
    if not listeners:
        return [required(at, "a Gateway has at least one listener")]
    errors: list[FieldError] = []
    if len(listeners) > LISTENERS_MAX:
        errors.append(invalid(at, len(listeners), f"must have at most {LISTENERS_MAX} items"))
    for index, listener in enumerate(listeners):
        errors += _listener(listener, (*at, index))
    errors += names.unique(((*at, i, "name"), each.get("name")) for i, each in enumerate(listeners))
    seen: set[tuple[Any, ...]] = set()
    for index, each in enumerate(listeners):
        key = (each.get("port"), each.get("protocol"), each.get("hostname") or "")
        if key in seen:
            text = "port, protocol and hostname together must be unique among the listeners"
            errors.append(invalid((*at, index), each.get("name"), text))
        seen.add(key)
    return errors


def _listener(listener: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    name, protocol = listener.get("name") or "", listener.get("protocol") or ""
    errors += names.named(name, (*at, "name"), names.subdomain_problem(name))
    host, tls = listener.get("hostname") or "", listener.get("tls")
    errors += _hostname(host, (*at, "hostname"))
    if host and protocol in ("TCP", "UDP"):
        errors.append(forbidden((*at, "hostname"), f"is not possible for protocol {protocol}"))
    if tls is not None and protocol in ("HTTP", "TCP", "UDP"):
        errors.append(forbidden((*at, "tls"), f"is not possible for protocol {protocol}"))
    mode = (tls or {}).get("mode") or "Terminate"
    if protocol == "HTTPS" and mode != "Terminate":
        errors.append(invalid((*at, "tls", "mode"), mode, "must be Terminate for HTTPS"))
    if protocol == "TLS" and tls is None:
        errors.append(required((*at, "tls"), "protocol TLS needs `tls.mode`"))
    certificate = tls is None or tls.get("certificateRefs") or tls.get("options")
    if mode == "Terminate" and not certificate:
        hint = "name a Secret: `certificateRefs: [{name: my-certificate}]`"
        text = "a certificate is needed when `mode` is Terminate"
        errors.append(required((*at, "tls", "certificateRefs"), text, hint))
    spaces = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    if spaces.get("from") == "Selector" and spaces.get("selector") is None:
        where = (*at, "allowedRoutes", "namespaces", "selector")
        errors.append(required(where, "is needed when `from` is Selector"))
    return errors


def validate_reference_grant(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    return [required(("spec", key)) for key in ("from", "to") if key in spec and not spec[key]]


def validate_route(obj: Json) -> list[FieldError]:
    """HTTPRoute, GRPCRoute, TLSRoute, TCPRoute."""
    spec = obj.get("spec") or {}
    errors = _parents(spec.get("parentRefs") or ())
    for index, host in enumerate(spec.get("hostnames") or ()):
        errors += _hostname(host or "", ("spec", "hostnames", index))
    rules = spec.get("rules") or ()
    if len(rules) > RULES_MAX:
        text = f"must have at most {RULES_MAX} items"
        errors.append(invalid(("spec", "rules"), len(rules), text))
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
    errors: list[FieldError] = []
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
    errors: list[FieldError] = []
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
    for key in ("headers", "queryParams"):
        for index, each in enumerate(match.get(key) or ()):
            name = each.get("name") or ""
            if not _HEADER.fullmatch(name):
                text = "must be a token such as `x-user`"
                errors.append(invalid((*at, key, index, "name"), name, text))
        keyed = enumerate(match.get(key) or ())
        errors += names.unique(
            ((*at, key, i, "name"), n) for i, e in keyed if (n := e.get("name")) is not None
        )
    method = match.get("method")
    if isinstance(method, Mapping) and not (method.get("service") or method.get("method")):
        text = "One or both of 'service' or 'method' must be specified"
        errors.append(required((*at, "method"), text))
    return errors


def _path(value: str, at: Location) -> list[FieldError]:
    if not value.startswith("/"):
        return [invalid(at, value, "must be an absolute path and start with '/'")]
    for part in _BAD_PATH:
        if part in value:
            return [invalid(at, value, f"must not contain '{part}'")]
    if value.endswith(("/..", "/.")):
        return [invalid(at, value, "must not end with '/..' or '/.'")]
    return []


def _filters(filters: Sequence[Json], at: Location, alone: bool) -> list[FieldError]:
    errors: list[FieldError] = []
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
        errors += _hostname(found.get("hostname") or "", (*at, field, "hostname"), False)
    code = (step.get("requestRedirect") or {}).get("statusCode")
    if code is not None and code not in REDIRECT_CODES:
        where: Location = (*at, "requestRedirect", "statusCode")
        errors.append(not_supported(where, code, [str(c) for c in REDIRECT_CODES]))
    for field in ("requestHeaderModifier", "responseHeaderModifier"):
        errors += _header_changes(step.get(field) or {}, (*at, field))
    mirror = step.get("requestMirror") or {}
    if mirror.get("percent") is not None and mirror.get("fraction") is not None:
        text = "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"
        errors.append(invalid((*at, "requestMirror"), mirror["percent"], text))
    fraction = mirror.get("fraction") or {}
    if fraction.get("numerator", 0) > (fraction.get("denominator") or 100):
        text = "numerator must be less than or equal to denominator"
        where = (*at, "requestMirror", "fraction")
        errors.append(invalid(where, fraction["numerator"], text))
    if mirror:
        errors += _backend(mirror.get("backendRef") or {}, (*at, "requestMirror", "backendRef"))
    return errors


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


def _header_changes(changes: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("set", "add"):
        for index, header in enumerate(changes.get(key) or ()):
            name = header.get("name") or ""
            if not _HEADER.fullmatch(name):
                text = "must be a token such as `x-user`"
                errors.append(invalid((*at, key, index, "name"), name, text))
        listed = enumerate(changes.get(key) or ())
        errors += names.unique(((*at, key, i, "name"), h.get("name")) for i, h in listed)
    return errors


def _hostname(host: str, at: Location, wildcard: bool = True) -> list[FieldError]:
    if not host:
        return []
    rest = host[2:] if wildcard and host.startswith("*.") else host
    if not names.ip_problem(rest):
        return [invalid(at, host, "must be a DNS name, not an address")]
    problem = names.subdomain_problem(rest)
    return [invalid(at, host, problem)] if problem else []
