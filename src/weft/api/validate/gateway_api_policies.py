"""Rules of BackendTLSPolicy and ReferenceGrant: what their CRDs say in CEL."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import FieldError, Location, duplicate, forbidden, invalid, required
from weft.api.validate.gateway_api_gateways import AUTHORITIES_MAX, OPTIONS_MAX, hostname, too_many

Json = Mapping[str, Any]

TARGETS_MAX = 16
NAMES_MAX = 5
GRANTS_MAX = 16


def validate_reference_grant(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = [required(("spec", key)) for key in ("from", "to") if key in spec and not spec[key]]
    for key in ("from", "to"):
        errors += too_many(spec.get(key) or (), GRANTS_MAX, ("spec", key))
    return errors


def validate_backend_tls_policy(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _targets(spec.get("targetRefs") or ())
    errors += too_many(spec.get("options") or {}, OPTIONS_MAX, ("spec", "options"))
    wanted = spec.get("validation")
    return errors if wanted is None else errors + _validation(wanted, ("spec", "validation"))


def _targets(targets: Sequence[Json]) -> list[FieldError]:
    at: Location = ("spec", "targetRefs")
    if not targets:
        return [required(at, "a policy is about at least one Service")]
    errors = too_many(targets, TARGETS_MAX, at)
    seen: dict[tuple[str, str, str], list[str]] = {}
    for index, target in enumerate(targets):
        group, kind, name = (str(target.get(k) or "") for k in ("group", "kind", "name"))
        section = target.get("sectionName") or ""
        others = seen.setdefault((group, kind, name), [])
        if section in others:
            errors.append(duplicate((*at, index), name))
        elif others and ("" in others or not section):
            text = "several references to one target must each name a `sectionName`"
            errors.append(invalid((*at, index), name, text))
        others.append(section)
    return errors


def _validation(wanted: Json, at: Location) -> list[FieldError]:
    refs, known = wanted.get("caCertificateRefs") or (), wanted.get("wellKnownCACertificates")
    errors = too_many(refs, AUTHORITIES_MAX, (*at, "caCertificateRefs"))
    if refs and known:
        text = "must not contain both caCertificateRefs and wellKnownCACertificates"
        errors.append(invalid(at, known, text))
    if not refs and not known:
        text = "must specify either caCertificateRefs or wellKnownCACertificates"
        errors.append(required((*at, "caCertificateRefs"), text))
    errors += hostname(wanted.get("hostname") or "", (*at, "hostname"), wildcard=False)
    alternatives = wanted.get("subjectAltNames") or ()
    errors += too_many(alternatives, NAMES_MAX, (*at, "subjectAltNames"))
    for index, name in enumerate(alternatives):
        errors += _alternative(name, (*at, "subjectAltNames", index))
    return errors


def _alternative(name: Json, at: Location) -> list[FieldError]:
    fields = {"Hostname": "hostname", "URI": "uri"}
    kind = name.get("type") or ""
    errors: list[FieldError] = []
    for each, field in fields.items():
        if each == kind and not name.get(field):
            errors.append(required((*at, field), f"must be specified for type {kind}"))
        elif each != kind and name.get(field):
            errors.append(forbidden((*at, field), f"does not fit type {kind}"))
    errors += hostname(name.get("hostname") or "", (*at, "hostname"))
    uri = name.get("uri") or ""
    if uri and "://" not in uri:
        errors.append(invalid((*at, "uri"), uri, "must be a URI with its scheme"))
    return errors
