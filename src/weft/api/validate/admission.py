"""Admission policies, their bindings, webhook configurations. Source: Kubernetes' validation of
admissionregistration.k8s.io/v1."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from weft.api.cel.syntax import CelError
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
CONDITIONS_MAX = 64
VARIABLES = (
    "object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables",
)  # fmt: skip
_SPEC: Location = ("spec",)
_FAILURES = ("Fail", "Ignore")
_MATCHES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_ACTIONS = ("Audit", "Deny", "Warn")
_REINVOCATIONS = ("IfNeeded", "Never")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_SCOPES = ("*", "Cluster", "Namespaced")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
TIMEOUT_SECONDS_MAX = 30
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


# ------------------------------------------------------------------ policies


def validate_policy(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _one_of(spec, "failurePolicy", _FAILURES, _SPEC)
    errors += _param_kind(spec.get("paramKind"), (*_SPEC, "paramKind"))
    errors += _match(spec.get("matchConstraints"), (*_SPEC, "matchConstraints"), needed=True)
    errors += _conditions(spec.get("matchConditions") or (), (*_SPEC, "matchConditions"))
    errors += _variables(spec.get("variables") or ())
    validations, audits = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not audits:
        text = "validations or auditAnnotations must contain at least one item"
        errors.append(required((*_SPEC, "validations"), text))
    for index, item in enumerate(validations):
        at = (*_SPEC, "validations", index)
        errors += _expression(item, "expression", at)
        errors += _expression(item, "messageExpression", at, needed=False)
        errors += _one_of(item, "reason", _REASONS, at)
        if "\n" in str(item.get("message") or "").strip():
            errors.append(
                invalid((*at, "message"), item["message"], "must not contain line breaks")
            )
    for index, item in enumerate(audits):
        at = (*_SPEC, "auditAnnotations", index)
        if problem := names.qualified_name_problem(str(item.get("key") or "")):
            errors.append(invalid((*at, "key"), item.get("key"), problem))
        errors += _expression(item, "valueExpression", at)
    return errors


def validate_mutating_policy(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _one_of(spec, "failurePolicy", _FAILURES, _SPEC)
    errors += _param_kind(spec.get("paramKind"), (*_SPEC, "paramKind"))
    errors += _match(spec.get("matchConstraints"), (*_SPEC, "matchConstraints"), needed=True)
    errors += _conditions(spec.get("matchConditions") or (), (*_SPEC, "matchConditions"))
    errors += _variables(spec.get("variables") or ())
    if not spec.get("reinvocationPolicy"):
        errors.append(required((*_SPEC, "reinvocationPolicy")))
    errors += _one_of(spec, "reinvocationPolicy", _REINVOCATIONS, _SPEC)
    mutations = spec.get("mutations") or ()
    if not mutations:
        text = "mutations must contain at least one item"
        errors.append(required((*_SPEC, "mutations"), text))
    for index, item in enumerate(mutations):
        errors += _mutation(item, (*_SPEC, "mutations", index))
    return errors


def _mutation(item: Json, at: Location) -> list[FieldError]:
    how = item.get("patchType") or ""
    if how not in _PATCHES:
        if not how:
            return [required((*at, "patchType"))]
        return [not_supported((*at, "patchType"), how, tuple(_PATCHES))]
    errors: list[FieldError] = []
    for kind, field in _PATCHES.items():
        if kind == how and item.get(field) is None:
            errors.append(required((*at, field), f"must be specified when patchType is {how}"))
        elif kind == how:
            errors += _expression(item[field], "expression", (*at, field), mutating=True)
        elif item.get(field) is not None:
            text = f"must not be specified when patchType is not {kind}"
            errors.append(forbidden((*at, field), text))
    return errors


def validate_mutating_binding(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = [] if spec.get("policyName") else [required((*_SPEC, "policyName"))]
    errors += _param_ref(spec.get("paramRef"), (*_SPEC, "paramRef"))
    return errors + _match(spec.get("matchResources"), (*_SPEC, "matchResources"), needed=False)


def _param_kind(kind: Json | None, at: Location) -> list[FieldError]:
    if kind is None:
        return []
    return [required((*at, key)) for key in ("apiVersion", "kind") if not kind.get(key)]


def _variables(listed: Iterable[Json]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate(listed):
        at: Location = (*_SPEC, "variables", index)
        name = str(item.get("name") or "")
        if not _IDENTIFIER.fullmatch(name):
            errors.append(invalid((*at, "name"), name, "name is not a valid CEL identifier"))
        elif name in seen:
            errors.append(duplicate((*at, "name"), name))
        seen.add(name)
        errors += _expression(item, "expression", at)
    return errors


def _conditions(listed: Any, at: Location) -> list[FieldError]:
    if len(listed) > CONDITIONS_MAX:
        return [invalid(at, len(listed), f"must have at most {CONDITIONS_MAX} items")]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate(listed):
        name = str(item.get("name") or "")
        if problem := names.qualified_name_problem(name):
            errors.append(invalid((*at, index, "name"), name, problem))
        elif name in seen:
            errors.append(duplicate((*at, index, "name"), name))
        seen.add(name)
        errors += _expression(item, "expression", (*at, index))
    return errors


def _expression(
    item: Json, key: str, at: Location, *, needed: bool = True, mutating: bool = False
) -> list[FieldError]:
    source = str(item.get(key) or "")
    if not source.strip():
        return [required((*at, key), f"{key} is not specified")] if needed else []
    from weft.api.cel import authorizer, mutations  # noqa: PLC0415 - only where expressions are
    from weft.api.cel.program import compile_expression  # noqa: PLC0415

    try:
        types = mutations.MutationTypes() if mutating else None
        compile_expression(source, VARIABLES, authorizer.METHODS, types)
    except CelError as error:
        return [invalid((*at, key), source, f"compilation failed: ERROR: {error}")]
    return []


def validate_binding(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    if not spec.get("policyName"):
        errors.append(required((*_SPEC, "policyName")))
    actions = list(spec.get("validationActions") or ())
    at: Location = (*_SPEC, "validationActions")
    if not actions:
        errors.append(required(at, "at least one validation action is required"))
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.append(not_supported((*at, index), action, _ACTIONS))
        elif action in actions[:index]:
            errors.append(duplicate((*at, index), action))
    if {"Deny", "Warn"} <= set(actions):
        text = "must not contain both Deny and Warn (repeating the same validation failure "
        errors.append(invalid(at, actions, text + "information in the API response and headers "
                              "serves no purpose)"))  # fmt: skip
    errors += _param_ref(spec.get("paramRef"), (*_SPEC, "paramRef"))
    return errors + _match(spec.get("matchResources"), (*_SPEC, "matchResources"), needed=False)


def _param_ref(reference: Json | None, at: Location) -> list[FieldError]:
    if reference is None:
        return []
    errors: list[FieldError] = []
    named, selected = bool(reference.get("name")), reference.get("selector") is not None
    if named and selected:
        errors.append(forbidden((*at, "name"), "name and selector are mutually exclusive"))
    elif not named and not selected:
        errors.append(required(at, "one of name or selector must be specified"))
    if not reference.get("parameterNotFoundAction"):
        errors.append(required((*at, "parameterNotFoundAction"), "parameterNotFoundAction is "
                               "required"))  # fmt: skip
    return errors + _one_of(reference, "parameterNotFoundAction", ("Allow", "Deny"), at)


def _match(resources: Json | None, at: Location, *, needed: bool) -> list[FieldError]:
    if resources is None:
        return [required(at)] if needed else []
    errors = _one_of(resources, "matchPolicy", _MATCHES, at)
    if needed and not resources.get("resourceRules"):
        errors.append(required((*at, "resourceRules")))
    for key in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(key) or ()):
            errors += _rule(rule, (*at, key, index))
    return errors


def _rule(rule: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("apiGroups", "apiVersions", "resources", "operations"):
        values = list(rule.get(key) or ())
        if not values:
            errors.append(required((*at, key)))
        elif key != "resources" and "*" in values and len(values) > 1:
            text = "if '*' is present, must not specify other values"
            errors.append(invalid((*at, key), values, text))
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            errors.append(not_supported((*at, "operations", index), operation, _OPERATIONS))
    return errors + _one_of(rule, "scope", _SCOPES, at)


def _one_of(holder: Json, key: str, values: tuple[str, ...], at: Location) -> list[FieldError]:
    value = holder.get(key)
    return [] if not value or value in values else [not_supported((*at, key), value, values)]


# ------------------------------------------------------------------ webhooks


def validate_webhooks(obj: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        at: Location = ("webhooks", index)
        errors += _webhook(hook, at)
        name = hook.get("name") or ""
        if name in seen:
            errors.append(duplicate((*at, "name"), name))
        seen.add(name)
    return errors


def _webhook(hook: Json, at: Location) -> list[FieldError]:
    name = str(hook.get("name") or "")
    errors: list[FieldError] = []
    if not name:
        errors.append(required((*at, "name")))
    elif (problem := names.subdomain_problem(name)) or name.count(".") < 2:
        text = problem or "should be a domain with at least three segments separated by dots"
        errors.append(invalid((*at, "name"), name, text))
    versions = list(hook.get("admissionReviewVersions") or ())
    if not versions:
        text = "must specify one of v1, v1beta1"
        errors.append(required((*at, "admissionReviewVersions"), text))
    elif "v1" not in versions:
        text = "must include at least one of v1, v1beta1"
        errors.append(invalid((*at, "admissionReviewVersions"), versions, text))
    effects = hook.get("sideEffects")
    if effects not in _SIDE_EFFECTS:
        errors.append(not_supported((*at, "sideEffects"), effects or "", _SIDE_EFFECTS))
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= TIMEOUT_SECONDS_MAX:
        text = f"the timeout value must be between 1 and {TIMEOUT_SECONDS_MAX} seconds"
        errors.append(invalid((*at, "timeoutSeconds"), seconds, text))
    errors += _one_of(hook, "failurePolicy", _FAILURES, at)
    errors += _one_of(hook, "matchPolicy", _MATCHES, at)
    errors += _one_of(hook, "reinvocationPolicy", ("IfNeeded", "Never"), at)
    for index, rule in enumerate(hook.get("rules") or ()):
        errors += _rule(rule, (*at, "rules", index))
    errors += _conditions(hook.get("matchConditions") or (), (*at, "matchConditions"))
    return errors + client_config(hook.get("clientConfig") or {}, (*at, "clientConfig"))


def client_config(config: Json, at: Location) -> list[FieldError]:
    """Where a webhook is called; also of conversion webhooks."""
    url, service = config.get("url"), config.get("service")
    errors: list[FieldError] = []
    if bool(url) == bool(service):
        errors.append(required(at, "exactly one of url or service is required"))
    elif url:
        errors += _url(str(url), (*at, "url"))
    else:
        named = service or {}
        wanted = ("name", "namespace")
        errors += [required((*at, "service", key)) for key in wanted if not named.get(key)]
    try:
        base64.b64decode(config.get("caBundle") or "", validate=True)
    except (binascii.Error, ValueError):
        errors.append(invalid((*at, "caBundle"), "<omitted>", "must be base64 of PEM certificates"))
    return errors


def _url(url: str, at: Location) -> list[FieldError]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [required(at, f"url must be a valid URL: {error}")]
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: parts.scheme == "https", "'https' is the only allowed URL scheme"),
        (lambda: bool(parts.hostname), "host must be specified"),
        (lambda: "@" not in parts.netloc, "user information is not permitted in the URL"),
        (lambda: not parts.fragment, "fragments are not permitted in the URL"),
        (lambda: not parts.query, "query parameters are not permitted in the URL"),
    )
    return [invalid(at, url, text) for holds, text in checks if not holds()]
