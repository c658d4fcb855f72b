"""Hosts, ports, durations and expressions, as the Istio kinds share them."""

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
from weft.api.schema import Schema
from weft.api.suggest import nearest
from weft.api.validate import names
from weft.lib.durations import parse_duration

Json = Mapping[str, Any]

PROTOCOLS = ("HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "REDIS", "MYSQL", "TCP", "TLS",
             "UDP")  # fmt: skip
_HOST_PART = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?")
# What Python's expressions know and RE2, which Envoy uses, does not.
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|\(|>|#)|\\[1-9]|[*+?}]\+")
_VISIBILITY = ("*", ".", "~")


def host_problem(host: str, wildcard: bool = True) -> str:
    """What is wrong with a host name: a DNS name, an IP address, `*` or `*.name`."""
    if not names.ip_problem(host):
        return ""
    rest = host
    if host == "*" or host.startswith("*."):
        if not wildcard:
            return "must not be a wildcard"
        rest = host[2:] or "any"
    if "*" in rest:
        return "`*` may only be the whole host or its first label, as in `*.example.com`"
    if len(rest) > names.SUBDOMAIN_LENGTH_MAX:
        return f"must be no more than {names.SUBDOMAIN_LENGTH_MAX} characters"
    parts = rest.removesuffix(".").split(".")
    if all(_HOST_PART.fullmatch(part) and len(part) <= names.LABEL_LENGTH_MAX for part in parts):
        return ""
    if "://" in host or "/" in host:
        return "must be a host name without scheme and path"
    if ":" in host:
        return "must be a host name without a port"
    return "must be a DNS name such as `reviews` or `reviews.default.svc.cluster.local`"


def hosts(found: Sequence[str], at: Location, wildcard: bool = True) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, host in enumerate(found):
        if problem := host_problem(host or "", wildcard):
            errors.append(invalid((*at, index), host, problem))
        elif host.lower() in (other.lower() for other in found[:index]):
            errors.append(duplicate((*at, index), host))
    return errors


def export_to(spec: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, namespace in enumerate(spec.get("exportTo") or ()):
        if namespace not in _VISIBILITY and (problem := names.label_problem(namespace or "")):
            errors.append(invalid(("spec", "exportTo", index), namespace, problem))
    return errors


def one_of(obj: Json, at: Location, keys: Sequence[str], needed: bool = True) -> list[FieldError]:
    """Exactly one of the keys (at most one, when not `needed`)."""
    given = [key for key in keys if obj.get(key) not in (None, "", [], ())]
    if not given and needed:
        return [required(at, f"must specify one of: {', '.join(f'`{key}`' for key in keys)}")]
    return [
        forbidden((*at, key), f"may not be used together with `{given[0]}`") for key in given[1:]
    ]


def service_port(port: Json, at: Location) -> list[FieldError]:
    """Number, name and protocol of a server's or service entry's port."""
    errors: list[FieldError] = []
    protocol = port.get("protocol") or ""
    if not protocol:
        errors.append(required((*at, "protocol")))
    elif protocol.upper() not in PROTOCOLS:
        near = nearest(protocol, PROTOCOLS)
        hint = f"did you mean `{near}`?" if near else ""
        errors.append(not_supported((*at, "protocol"), protocol, sorted(PROTOCOLS), hint))
    name = port.get("name") or ""
    if port.get("name") is not None:
        errors += names.named(name, (*at, "name"), names.label_problem(name.lower()))
    return errors


def formats(schema: Schema | None, value: Any, at: Location) -> list[FieldError]:
    """Durations and expressions, wherever the schema has some."""
    if schema is None or value is None:
        return []
    if isinstance(value, Mapping):
        return [e for k, v in value.items() for e in formats(schema.child(k), v, (*at, k))]
    if isinstance(value, list | tuple):
        return [e for i, v in enumerate(value) for e in formats(schema.items, v, (*at, i))]
    if schema.format == "duration" and value:
        return _duration(value, at)
    return _regex(value, at) if schema.format == "regex" else []


def _duration(text: str, at: Location) -> list[FieldError]:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        hint = f"did you mean `{text}s`?" if text.replace(".", "", 1).isdigit() else ""
        return [invalid(at, text, str(error), hint)]
    return [invalid(at, text, "must not be negative")] if seconds < 0 else []


def at_least(
    obj: Json, at: Location, key: str, seconds: float, zero: bool = False
) -> list[FieldError]:
    """A duration's lower limit; unreadable durations are reported by `formats`."""
    text = obj.get(key)
    if not text:
        return []
    try:
        value = parse_duration(text)
    except ValueError:
        return []
    if value >= seconds or (zero and value == 0):
        return []
    return [invalid((*at, key), text, f"must be at least {seconds * 1000:g}ms")]


def _regex(text: str, at: Location) -> list[FieldError]:
    if found := _NOT_RE2.search(text):
        return [invalid(at, text, f"RE2 expressions know no `{found[0]}`")]
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        return [invalid(at, text, f"is no regular expression: {error}")]
    return []
