"""Rules of RateLimitPolicy and BackendPolicy beyond their schemas."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from weft.api import registry
from weft.api.field_errors import FieldError, Location, invalid, not_supported, required
from weft.api.schema import schema_for
from weft.api.validate import istio_common as common
from weft.api.validate import names

Json = Mapping[str, Any]

GROUP, VERSION = "policy.weft.dev", "v1alpha1"
GATEWAY_GROUPS = ("networking.istio.io", "gateway.networking.k8s.io")
RULES_MAX = 64
RETRIES_MAX = 100
REQUESTS_MAX = 1_000_000_000
REQUEST_BYTES_MAX = 1024 * 1024
"""What a proxy holds of one connection; a longer body would be cut off before."""
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
"""RFC 9110 section 5.6.2."""
_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")
_URL = re.compile(r"https?://[^\s/?#@]+(?:/[!-~]*)?")
_PATH = re.compile(r"/[-._~!$&'()*+,;=:@%/0-9A-Za-z]*")
_TEXT_KINDS = ("exact", "prefix", "regex")


def validate_rate_limit(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _formats("RateLimitPolicy", obj)
    errors += _target(spec, ("Service", "Gateway", "HTTPRoute", "GRPCRoute"))
    rules = spec.get("rules") or ()
    at: Location = ("spec", "rules")
    if not rules and not spec.get("bandwidth"):
        errors.append(required(at, "a policy without rules or `bandwidth` limits nothing"))
    if len(rules) > RULES_MAX:
        errors.append(invalid(at, len(rules), f"must have at most {RULES_MAX} items"))
    errors += names.unique(
        ((*at, i, "name"), rule["name"]) for i, rule in enumerate(rules) if rule.get("name")
    )
    for index, rule in enumerate(rules):
        errors += _rule(rule, (*at, index))
    return errors


def validate_backend(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _formats("BackendPolicy", obj) + _target(spec, ("Service",))
    for index, target in enumerate(spec.get("failover") or ()):
        if not target.get("service") and not target.get("subset"):
            here: Location = ("spec", "failover", index, "service")
            errors.append(required(here, "name a Service, or a `subset` of the same one"))
    errors += _retry(spec.get("retry") or {}, ("spec", "retry"))
    for field in ("request", "idle", "maxStream"):
        errors += common.at_least(spec.get("timeouts") or {}, ("spec", "timeouts"), field, 0.001)
    admission = spec.get("admissionControl") or {}
    here = ("spec", "admissionControl")
    errors += common.at_least(admission, here, "samplingWindow", 1.0)
    if admission.get("aggression") is not None and admission["aggression"] < 1:
        errors.append(invalid((*here, "aggression"), admission["aggression"], "must be at least 1"))
    errors += _adaptive(spec.get("adaptiveConcurrency") or {}, ("spec", "adaptiveConcurrency"))
    if (spec.get("maxRequestBytes") or 0) > REQUEST_BYTES_MAX:
        problem = f"must be at most {REQUEST_BYTES_MAX}"
        errors.append(invalid(("spec", "maxRequestBytes"), spec["maxRequestBytes"], problem))
    check = spec.get("healthCheck")
    if check is None:
        return errors
    at: Location = ("spec", "healthCheck")
    given = [kind for kind in ("http", "tcp", "grpc") if check.get(kind) is not None]
    if len(given) != 1:
        text = "exactly one of `http`, `tcp`, `grpc` says how endpoints are checked"
        errors.append(required(at, text) if not given else invalid(at, ", ".join(given), text))
    path = (check.get("http") or {}).get("path") or "/"
    if not path.startswith("/"):
        errors.append(invalid((*at, "http", "path"), path, "must start with `/`"))
    for field, text in (check.get("http") or {}).items():
        if isinstance(text, str) and not _VALUE.fullmatch(text):
            problem = "must not contain control characters"
            errors.append(invalid((*at, "http", field), text, problem))
    for field in ("interval", "timeout"):
        errors += common.at_least(check, at, field, 0.01)
    return errors


def _adaptive(given: Json, at: Location) -> list[FieldError]:
    errors = [
        *common.at_least(given, at, "updateInterval", 0.01),
        *common.at_least(given, at, "baselineInterval", 1.0),
    ]
    if given.get("percentile") == 0:
        errors.append(invalid((*at, "percentile"), 0, "must be at least 1"))
    least, most = given.get("minConcurrency") or 1, given.get("maxConcurrency")
    if most is not None and least > most:
        problem = f"must be at most `maxConcurrency`, {most}"
        errors.append(invalid((*at, "minConcurrency"), least, problem))
    return errors


def validate_authentication(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _formats("AuthenticationPolicy", obj)
    errors += _target(spec, ("Gateway", "HTTPRoute", "GRPCRoute"))
    if not any(spec.get(part) for part in ("apiKey", "basic", "oidc")):
        errors.append(required(("spec", "apiKey"), "one of `apiKey`, `basic`, `oidc` is needed"))
    key, at = spec.get("apiKey") or {}, ("spec", "apiKey")
    for field in ("headers", "clientHeader"):
        given = key.get(field) or ()
        for name in (given,) if isinstance(given, str) else given:
            if not _HEADER_NAME.fullmatch(name):
                errors.append(invalid((*at, field), name, "must be a header name"))
    oidc = spec.get("oidc") or {}
    for field in ("authorizationEndpoint", "tokenEndpoint", "endSessionEndpoint"):
        url = oidc.get(field) or ""
        if url and not _URL.fullmatch(url):
            errors.append(invalid(("spec", "oidc", field), url, "must be an http or https URL"))
    for field in ("redirectPath", "logoutPath"):
        path = oidc.get(field) or "/"
        if not _PATH.fullmatch(path):
            errors.append(invalid(("spec", "oidc", field), path, "must be a path, as `/logout`"))
    return errors


def _retry(retry: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    if (retry.get("attempts") or 0) > RETRIES_MAX:
        problem = f"must be at most {RETRIES_MAX}"
        errors.append(invalid((*at, "attempts"), retry["attempts"], problem))
    for name, text in (retry.get("retriableHeaders") or {}).items():
        if not _HEADER_NAME.fullmatch(name):
            errors.append(invalid((*at, "retriableHeaders"), name, "must be a header name"))
        here = (*at, "retriableHeaders", name)
        errors += common.one_of(text or {}, here, _TEXT_KINDS, needed=False)
    for index, each in enumerate(retry.get("retryAfter") or ()):
        name = each.get("header") or ""
        if not _HEADER_NAME.fullmatch(name):
            here = (*at, "retryAfter", index, "header")
            errors.append(invalid(here, name, "must be a header name"))
    for field in ("perTryTimeout", "backoff", "maxBackoff", "maxRetryAfter"):
        errors += common.at_least(retry, at, field, 0.001)
    return errors


def _formats(kind_name: str, obj: Json) -> list[FieldError]:
    kind = registry.find(GROUP, VERSION, kind_name)
    assert kind is not None
    return common.formats(schema_for(kind), obj, ())


def _target(spec: Json, kinds: tuple[str, ...]) -> list[FieldError]:
    target = spec.get("targetRef") or {}
    at: Location = ("spec", "targetRef")
    kind = target.get("kind") or ""
    errors: list[FieldError] = []
    if "name" in target and not target["name"]:
        errors.append(required((*at, "name")))
    if kind and kind not in kinds:
        errors.append(not_supported((*at, "kind"), kind, kinds))
    group = target.get("group") or ""
    if kind == "Service" and group not in ("", "core"):
        errors.append(invalid((*at, "group"), group, "a Service has no group"))
    if kind == "Gateway" and group not in ("", *GATEWAY_GROUPS):
        errors.append(not_supported((*at, "group"), group, GATEWAY_GROUPS))
    if kind in ("HTTPRoute", "GRPCRoute") and group not in ("", *GATEWAY_GROUPS[1:]):
        errors.append(not_supported((*at, "group"), group, GATEWAY_GROUPS[1:]))
    return errors


def _rule(rule: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    name = rule.get("name") or ""
    if name and (problem := names.label_problem(name)):
        errors.append(invalid((*at, "name"), name, problem))
    limit = rule.get("limit") or {}
    for field in ("requests", "burst"):
        if (limit.get(field) or 0) > REQUESTS_MAX:
            problem = f"must be at most {REQUESTS_MAX}"
            errors.append(invalid((*at, "limit", field), limit[field], problem))
    errors += _match(rule.get("match") or {}, (*at, "match"))
    for index, key in enumerate(rule.get("key") or ()):
        here = (*at, "key", index)
        if key.get("type") in ("header", "query") and not key.get("name"):
            errors.append(required((*here, "name"), f"name the {key['type']} to count by"))
        elif key.get("type") == "header" and not _HEADER_NAME.fullmatch(key["name"]):
            errors.append(invalid((*here, "name"), key["name"], "must be a header name"))
    return errors


def _match(match: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    if match.get("path") is not None:
        errors += common.one_of(match["path"], (*at, "path"), _TEXT_KINDS)
    for name, text in (match.get("headers") or {}).items():
        if not _HEADER_NAME.fullmatch(name):
            errors.append(invalid((*at, "headers"), name, "must be a header name"))
        errors += common.one_of(text or {}, (*at, "headers", name), _TEXT_KINDS, needed=False)
    for name, text in (match.get("queryParams") or {}).items():
        here = (*at, "queryParams", name)
        errors += common.one_of(text or {}, here, _TEXT_KINDS, needed=False)
    cidr = match.get("clientCIDR") or ""
    if cidr:
        try:
            ipaddress.ip_network(cidr)
        except ValueError as error:
            errors.append(invalid((*at, "clientCIDR"), cidr, str(error)))
    return errors
