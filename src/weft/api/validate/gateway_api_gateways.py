"""Rules of GatewayClass, Gateway, ListenerSet: what their CRDs say in patterns and CEL."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import FieldError, Location, duplicate, forbidden, invalid, required
from weft.api.validate import names

Json = Mapping[str, Any]

LISTENERS_MAX = 64
ADDRESSES_MAX = 16
CERTIFICATES_MAX = 64
AUTHORITIES_MAX = 8
KINDS_MAX = 8
LABELS_MAX = 8
ANNOTATIONS_MAX = 16
OPTIONS_MAX = 16
DESCRIPTION_LENGTH_MAX = 64
_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_CONTROLLER = re.compile(rf"{_DNS}/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
_PROTOCOL = re.compile(rf"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?|{_DNS}/[A-Za-z0-9]+")
_ADDRESS_HOST = re.compile(rf"(\*\.)?{_DNS}")
_KEY = re.compile(rf"({_DNS}/)?([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]")
_PREFIX_LENGTH_MAX = 252


def validate_gateway_class(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    name, text = spec.get("controllerName") or "", spec.get("description") or ""
    errors: list[FieldError] = []
    if name and not _CONTROLLER.fullmatch(name):
        problem = "must be a domain and a path, such as `example.com/gateway-controller`"
        errors.append(invalid(("spec", "controllerName"), name, problem))
    if len(text) > DESCRIPTION_LENGTH_MAX:
        problem = f"may have at most {DESCRIPTION_LENGTH_MAX} characters"
        errors.append(invalid(("spec", "description"), text, problem))
    return errors


def validate_gateway_class_update(new: Json, old: Json) -> list[FieldError]:
    name = (new.get("spec") or {}).get("controllerName")
    if name == (old.get("spec") or {}).get("controllerName"):
        return []
    return [invalid(("spec", "controllerName"), name, "Value is immutable")]


def validate_gateway(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    return [
        *_listeners(spec.get("listeners") or (), "Gateway"),
        *_addresses(spec.get("addresses") or ()),
        *_infrastructure(spec.get("infrastructure") or {}),
        *_frontend(((spec.get("tls") or {}).get("frontend")) or {}),
    ]


def validate_listener_set(obj: Json) -> list[FieldError]:
    return _listeners((obj.get("spec") or {}).get("listeners") or (), "ListenerSet")


def _listeners(listeners: Sequence[Json], owner: str) -> list[FieldError]:
    at: Location = ("spec", "listeners")
    if not listeners:
        return [required(at, f"a {owner} has at least one listener")]
    errors = too_many(listeners, LISTENERS_MAX, at)
    for index, listener in enumerate(listeners):
        errors += _listener(listener, (*at, index))
    errors += names.unique(((*at, i, "name"), each.get("name")) for i, each in enumerate(listeners))
    seen: set[tuple[Any, ...]] = set()
    for index, each in enumerate(listeners):
        key = (each.get("port"), _upper(each.get("protocol")), each.get("hostname") or "")
        if key in seen:
            text = "port, protocol and hostname together must be unique among the listeners"
            errors.append(invalid((*at, index), each.get("name"), text))
        seen.add(key)
    return errors


def _listener(listener: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    name, written = listener.get("name") or "", listener.get("protocol") or ""
    protocol = _upper(written)
    errors += names.named(name, (*at, "name"), names.subdomain_problem(name))
    if written and not _PROTOCOL.fullmatch(written):
        text = "must be a word such as HTTP, or `example.com/protocol`"
        errors.append(invalid((*at, "protocol"), written, text))
    host, tls = listener.get("hostname") or "", listener.get("tls")
    errors += hostname(host, (*at, "hostname"))
    if host and protocol in ("TCP", "UDP"):
        errors.append(forbidden((*at, "hostname"), f"is not possible for protocol {protocol}"))
    if tls is not None and protocol in ("HTTP", "TCP", "UDP"):
        errors.append(forbidden((*at, "tls"), f"is not possible for protocol {protocol}"))
    mode = (tls or {}).get("mode") or "Terminate"
    if protocol == "HTTPS" and mode != "Terminate":
        errors.append(invalid((*at, "tls", "mode"), mode, "must be Terminate for HTTPS"))
    if protocol == "TLS" and tls is None:
        errors.append(required((*at, "tls"), "protocol TLS needs `tls.mode`"))
    errors += _certificates(tls or {}, mode, (*at, "tls")) if tls is not None else []
    allowed = listener.get("allowedRoutes") or {}
    spaces = allowed.get("namespaces") or {}
    if spaces.get("from") == "Selector" and spaces.get("selector") is None:
        where = (*at, "allowedRoutes", "namespaces", "selector")
        errors.append(required(where, "is needed when `from` is Selector"))
    errors += too_many(allowed.get("kinds") or (), KINDS_MAX, (*at, "allowedRoutes", "kinds"))
    return errors


def _certificates(tls: Json, mode: str, at: Location) -> list[FieldError]:
    refs, options = tls.get("certificateRefs") or (), tls.get("options") or {}
    errors = too_many(refs, CERTIFICATES_MAX, (*at, "certificateRefs"))
    errors += too_many(options, OPTIONS_MAX, (*at, "options"))
    if mode == "Terminate" and not (refs or options):
        hint = "name a Secret: `certificateRefs: [{name: my-certificate}]`"
        text = "a certificate is needed when `mode` is Terminate"
        errors.append(required((*at, "certificateRefs"), text, hint))
    return errors


def _addresses(addresses: Sequence[Json]) -> list[FieldError]:
    at: Location = ("spec", "addresses")
    errors = too_many(addresses, ADDRESSES_MAX, at)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(addresses):
        kind, value = address.get("type") or "IPAddress", address.get("value") or ""
        if not value:
            continue
        where: Location = (*at, index, "value")
        if kind in ("IPAddress", "Hostname") and (kind, value) in seen:
            errors.append(duplicate(where, value))
        seen.add((kind, value))
        if kind == "IPAddress" and (problem := names.ip_problem(value)):
            errors.append(invalid(where, value, problem))
        if kind == "Hostname" and not _ADDRESS_HOST.fullmatch(value):
            errors.append(invalid(where, value, "must be a DNS name in lower case"))
    return errors


def _infrastructure(found: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, most in (("labels", LABELS_MAX), ("annotations", ANNOTATIONS_MAX)):
        at: Location = ("spec", "infrastructure", field)
        values = found.get(field) or {}
        errors += too_many(values, most, at)
        for key in values:
            prefix = key.split("/")[0]
            if not _KEY.fullmatch(key) or len(prefix) > _PREFIX_LENGTH_MAX:
                text = "must be a name of up to 63 characters, perhaps after a domain and a slash"
                errors.append(invalid(at, key, text))
    return errors


def _frontend(found: Json) -> list[FieldError]:
    at: Location = ("spec", "tls", "frontend")
    ports = found.get("perPort") or ()
    errors = names.unique(((*at, "perPort", i, "port"), x.get("port")) for i, x in enumerate(ports))
    places = [(found.get("default") or {}, (*at, "default"))]
    places += [(p.get("tls") or {}, (*at, "perPort", i, "tls")) for i, p in enumerate(ports)]
    for config, where in places:
        validation = config.get("validation")
        if validation is None:
            continue
        refs = validation.get("caCertificateRefs") or ()
        here: Location = (*where, "validation", "caCertificateRefs")
        errors += too_many(refs, AUTHORITIES_MAX, here)
        if not refs:
            hint = "name a ConfigMap: `[{group: '', kind: ConfigMap, name: clients-ca}]`"
            errors.append(required(here, "the authorities of clients' certificates", hint))
    return errors


def too_many(values: Any, most: int, at: Location) -> list[FieldError]:
    """An error when there are more values than the API allows."""
    if len(values) <= most:
        return []
    return [invalid(at, len(values), f"must have at most {most} items")]


def hostname(host: str, at: Location, wildcard: bool = True) -> list[FieldError]:
    """A DNS name, perhaps with `*.` before it; empty is no name."""
    if not host:
        return []
    rest = host[2:] if wildcard and host.startswith("*.") else host
    if not names.ip_problem(rest):
        return [invalid(at, host, "must be a DNS name, not an address")]
    problem = names.subdomain_problem(rest)
    return [invalid(at, host, problem)] if problem else []


def _upper(protocol: Any) -> str:
    return str(protocol or "").upper()
