"""Rules of AuthorizationPolicy, PeerAuthentication and RequestAuthentication. Source: the public
Istio reference. A policy that cannot be enforced as written is refused: nobody may believe that
it protects something."""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from weft.api import registry
from weft.api.cel import conditions
from weft.api.field_errors import FieldError, Location, forbidden, invalid, not_supported, required
from weft.api.istio.security import CEL_KEY
from weft.api.schema import schema_for
from weft.api.suggest import nearest
from weft.api.validate import istio_common as common
from weft.api.validate import names

Json = Mapping[str, Any]

PORT_MAX = 65535
RULES_MAX = 512
TARGET_KINDS = ("Service", "Gateway", "GatewayClass", "ServiceEntry")
PLAIN_KEYS = (
    "source.ip", "remote.ip", "source.namespace", "source.principal", "source.serviceAccount",
    "request.auth.principal", "request.auth.audiences", "request.auth.presenter",
    "destination.ip", "destination.port", "connection.sni",
)  # fmt: skip
HEADER_KEY = re.compile(r"request\.headers\[([-!#$%&'*+.^_`|~0-9A-Za-z]+)\]")
CLAIM_KEY = re.compile(r"request\.auth\.claims((?:\[[^\[\]]+\])+)")
ADDRESS_FIELDS = ("ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks")
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TEMPLATE = re.compile(r"\{[^{}]*\}")
_OPERATORS = ("{*}", "{**}")


def validate_authorization(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _targets(obj)
    action = spec.get("action") or "ALLOW"
    provider = (spec.get("provider") or {}).get("name")
    if action == "CUSTOM" and not provider:
        errors.append(required(("spec", "provider", "name"), "is needed when `action` is CUSTOM"))
    elif action != "CUSTOM" and spec.get("provider") is not None:
        errors.append(forbidden(("spec", "provider"), "may only be set when `action` is CUSTOM"))
    rules = spec.get("rules") or ()
    if action in ("DENY", "AUDIT", "CUSTOM") and not rules:
        text = f"a policy of action {action} without rules matches no request"
        errors.append(required(("spec", "rules"), text))
    if len(rules) > RULES_MAX:
        errors.append(invalid(("spec", "rules"), len(rules), f"at most {RULES_MAX} rules"))
    for index, rule in enumerate(rules):
        errors += _rule(rule or {}, ("spec", "rules", index))
    return errors


def validate_peer_authentication(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    labels = (spec.get("selector") or {}).get("matchLabels")
    errors = names.labels(labels, ("spec", "selector", "matchLabels"))
    ports = spec.get("portLevelMtls") or {}
    if ports and not labels:
        text = "is needed with `portLevelMtls`"
        errors.append(required(("spec", "selector", "matchLabels"), text))
    for port in ports:
        errors += _port(port, ("spec", "portLevelMtls", port))
    return errors


def validate_jwt(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind = registry.find("security.istio.io", "v1", "RequestAuthentication")
    assert kind is not None
    errors = common.formats(schema_for(kind), obj, ()) + _targets(obj)
    for index, rule in enumerate(spec.get("jwtRules") or ()):
        errors += _jwt_rule(rule or {}, ("spec", "jwtRules", index))
    return errors


def _targets(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    labels = (spec.get("selector") or {}).get("matchLabels")
    errors = names.labels(labels, ("spec", "selector", "matchLabels"))
    errors += common.one_of(spec, ("spec",), ("selector", "targetRef", "targetRefs"), needed=False)
    single = spec.get("targetRef")
    refs: list[tuple[Location, Json]] = [(("spec", "targetRef"), single)] if single else []
    many = spec.get("targetRefs") or ()
    refs += [(("spec", "targetRefs", i), ref or {}) for i, ref in enumerate(many)]
    for at, ref in refs:
        if ref.get("kind") and ref["kind"] not in TARGET_KINDS:
            errors.append(not_supported((*at, "kind"), ref["kind"], list(TARGET_KINDS)))
        own = (obj.get("metadata") or {}).get("namespace")
        if ref.get("namespace") and ref["namespace"] != own:
            text = "a policy is for objects of its own namespace; leave this out"
            errors.append(invalid((*at, "namespace"), ref["namespace"], text))
    return errors


def _rule(rule: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for part, inner in (("from", "source"), ("to", "operation")):
        given = rule.get(part)
        if given is not None and not given:
            errors.append(required((*at, part), "must not be empty: leave it out to match all"))
        for index, each in enumerate(given or ()):
            here = (*at, part, index, inner)
            found = (each or {}).get(inner) or {}
            if not any(found.values()):
                errors.append(required(here, "must have at least one field"))
            errors += _source(found, here) if part == "from" else _operation(found, here)
    for index, condition in enumerate(rule.get("when") or ()):
        errors += _condition(condition or {}, (*at, "when", index))
    return errors


def _source(source: Json, at: Location) -> list[FieldError]:
    errors = _not_blank(source, at)
    for field in ADDRESS_FIELDS:
        errors += _networks(source.get(field) or (), (*at, field))
    for accounts in ("serviceAccounts", "notServiceAccounts"):
        others = [f for f in ("principals", "namespaces", "notPrincipals", "notNamespaces")
                  if source.get(f)]  # fmt: skip
        if source.get(accounts) and others:
            text = f"may not be used together with `{others[0]}`"
            errors.append(forbidden((*at, accounts), text))
        for index, account in enumerate(source.get(accounts) or ()):
            if "*" in account or account.count("/") > 1:
                text = "must be `<namespace>/<service account>` or a service account's name"
                errors.append(invalid((*at, accounts, index), account, text))
    return errors


def _operation(operation: Json, at: Location) -> list[FieldError]:
    errors = _not_blank(operation, at)
    for field in ("ports", "notPorts"):
        for index, port in enumerate(operation.get(field) or ()):
            errors += _port(port, (*at, field, index))
    for field in ("paths", "notPaths"):
        for index, path in enumerate(operation.get(field) or ()):
            if problem := template_problem(path):
                errors.append(invalid((*at, field, index), path, problem))
    return errors


def template_problem(path: str) -> str:
    """What is wrong with the operators of a path template; most paths have none."""
    if "{" not in path and "}" not in path:
        return ""
    operators = _TEMPLATE.findall(path)
    if any(each not in _OPERATORS for each in operators) or re.search(
        r"[{}]", _TEMPLATE.sub("", path)
    ):
        return "the operators of path templates are `{*}` (one segment) and `{**}` (any number)"
    if "*" in _TEMPLATE.sub("", path):
        return "a path template may not have `*` outside of `{*}` and `{**}`"
    if any(each in part and each != part for part in path.split("/") for each in operators):
        return "`{*}` and `{**}` must stand for whole segments"
    if operators.count("{**}") > 1 or ("{**}" in operators and operators[-1] != "{**}"):
        return "`{**}` may stand once, as the last operator"
    return ""


def _condition(condition: Json, at: Location) -> list[FieldError]:
    key = condition.get("key") or ""
    values = condition.get("values") or ()
    excluded = condition.get("notValues") or ()
    errors: list[FieldError] = []
    if not values and not excluded:
        errors.append(required(at, "must have `values` or `notValues`"))
    if not key:
        return [*errors, required((*at, "key"))]
    if key == CEL_KEY:
        return [*errors, *_expressions(values, (*at, "values")),
                *_expressions(excluded, (*at, "notValues"))]  # fmt: skip
    if key not in PLAIN_KEYS and not HEADER_KEY.fullmatch(key) and not CLAIM_KEY.fullmatch(key):
        known = [*PLAIN_KEYS, CEL_KEY, "request.headers[NAME]", "request.auth.claims[NAME]"]
        near = nearest(key, known)
        hint = f"did you mean `{near}`?" if near else ""
        return [*errors, not_supported((*at, "key"), key, known, hint)]
    for field, found in (("values", values), ("notValues", excluded)):
        if key in ("source.ip", "remote.ip", "destination.ip"):
            errors += _networks(found, (*at, field))
        elif key == "destination.port":
            for index, port in enumerate(found):
                errors += _port(port, (*at, field, index))
        else:
            errors += _blank(found, (*at, field))
    return errors


def _expressions(values: Sequence[str], at: Location) -> list[FieldError]:
    found = ((index, value, conditions.problem(value)) for index, value in enumerate(values))
    return [invalid((*at, index), value, problem) for index, value, problem in found if problem]


def _not_blank(found: Json, at: Location) -> list[FieldError]:
    return [
        error for field, values in found.items() for error in _blank(values or (), (*at, field))
    ]


def _blank(values: Sequence[str], at: Location) -> list[FieldError]:
    text = "must not be empty"
    return [required((*at, i), text) for i, value in enumerate(values) if not value]


def _networks(values: Sequence[str], at: Location) -> list[FieldError]:
    errors = []
    for index, value in enumerate(values):
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            text = "must be an IP address or a CIDR block such as `10.0.0.0/8`"
            errors.append(invalid((*at, index), value, text))
    return errors


def _port(text: str, at: Location) -> list[FieldError]:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= PORT_MAX:
        return []
    return [invalid(at, text, f"must be a port, 1 to {PORT_MAX}")]


def _jwt_rule(rule: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    if "issuer" in rule and not rule["issuer"]:
        errors.append(required((*at, "issuer")))
    errors += common.one_of(rule, at, ("jwks", "jwksUri"), needed=False)
    errors += common.at_least(rule, at, "timeout", 0.001)
    if rule.get("jwksUri"):
        url = urlsplit(rule["jwksUri"])
        if url.scheme not in ("http", "https") or not url.hostname:
            text = "must be a URL of scheme http or https"
            errors.append(invalid((*at, "jwksUri"), rule["jwksUri"], text))
    if rule.get("jwks"):
        errors += _key_set(rule["jwks"], (*at, "jwks"))
    for index, header in enumerate(rule.get("fromHeaders") or ()):
        errors += _header((header or {}).get("name"), (*at, "fromHeaders", index, "name"))
    for index, claim in enumerate(rule.get("outputClaimToHeaders") or ()):
        here = (*at, "outputClaimToHeaders", index)
        errors += _header((claim or {}).get("header"), (*here, "header"))
    if rule.get("outputPayloadToHeader"):
        errors += _header(rule["outputPayloadToHeader"], (*at, "outputPayloadToHeader"))
    for field in ("audiences", "fromParams", "fromCookies"):
        errors += _blank(rule.get(field) or (), (*at, field))
    return errors


def _header(name: str | None, at: Location) -> list[FieldError]:
    if name and not _HEADER_NAME.fullmatch(name):
        return [invalid(at, name, "is no header name")]
    return []


def _key_set(text: str, at: Location) -> list[FieldError]:
    try:
        keys = json.loads(text).get("keys")
    except (ValueError, AttributeError, RecursionError):
        keys = None
    if isinstance(keys, list) and keys:
        return []
    return [invalid(at, "(not shown)", 'must be a JSON Web Key Set: `{"keys": [...]}`')]
