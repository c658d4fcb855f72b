"""CertificateSigningRequests. Source: Kubernetes' rules for certificates.k8s.io/v1."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography import x509

from weft.api.field_errors import FieldError, Location, duplicate, error, invalid, required

EXPIRATION_SECONDS_MIN = 600
SIGNER_NAME_MAX = 571
"""Characters: a namespace of 63, a dot, a name of 253, a slash, a path of 253."""
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
USAGES = frozenset(
    {
        "signing", "digital signature", "content commitment", "key encipherment", "key agreement",
        "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any",
        "server auth", "client auth", "code signing", "email protection", "s/mime",
        "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
        "microsoft sgc", "netscape sgc",
    }
)  # fmt: skip
FINAL = ("Approved", "Denied", "Failed")
"""Conditions that stay once they are there."""
_SPEC: Location = ("spec",)
_CONDITIONS: Location = ("status", "conditions")


def parse_request(encoded: str) -> x509.CertificateSigningRequest:
    """`spec.request`: base64 of PEM. Raises ValueError in Kubernetes' words."""
    try:
        text = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ValueError(f"illegal base64 data: {problem}") from problem
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in text:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    found = x509.load_pem_x509_csr(text)
    if not found.is_signature_valid:
        raise ValueError("the request is not signed with the key that it is for")
    return found


def validate(obj: Mapping[str, Any]) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    if not spec.get("request"):
        errors.append(required((*_SPEC, "request")))
    else:
        try:
            parse_request(spec["request"])
        except Exception as problem:  # cryptography refuses keys and names in many ways
            errors.append(invalid((*_SPEC, "request"), "...", str(problem)))
    errors += _signer(spec.get("signerName") or "")
    errors += _usages(spec.get("usages") or ())
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < EXPIRATION_SECONDS_MIN:
        text = f"may not specify a duration less than {EXPIRATION_SECONDS_MIN} seconds (10 minutes)"
        errors.append(invalid((*_SPEC, "expirationSeconds"), seconds, text))
    return errors


def _signer(name: str) -> list[FieldError]:
    at = (*_SPEC, "signerName")
    domain, slash, path = name.partition("/")
    if not name:
        return [required(at)]
    if name == LEGACY_SIGNER:
        return [invalid(at, name, "the legacy signerName is not allowed via this API version")]
    if not slash or not path or "." not in domain or "/" in path:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid(at, name, text)]
    if len(name) > SIGNER_NAME_MAX:
        return [invalid(at, name, f"must be no more than {SIGNER_NAME_MAX} characters")]
    return []


def _usages(usages: Any) -> list[FieldError]:
    at = (*_SPEC, "usages")
    if not usages:
        return [required(at, "usages must be specified")]
    errors: list[FieldError] = []
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            detail = "supported values: " + ", ".join(f'"{u}"' for u in sorted(USAGES))
            errors.append(error((*at, index), "NotSupported", usage, detail))
        elif usage in usages[:index]:
            errors.append(duplicate((*at, index), usage))
    return errors


def validate_conditions(obj: Mapping[str, Any]) -> list[FieldError]:
    """Of an approval or a status."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        kind, at = condition.get("type") or "", (*_CONDITIONS, index)
        if not kind:
            errors.append(required((*at, "type")))
        if kind in FINAL and condition.get("status") != "True":
            detail = 'supported values: "True"'
            errors.append(error((*at, "status"), "NotSupported", condition.get("status"), detail))
        if kind in seen:
            errors.append(duplicate((*at, "type"), kind))
        if {kind, *seen} >= {"Approved", "Denied"} and kind in ("Approved", "Denied"):
            text = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid((*at, "type"), kind, text))
        seen.add(kind)
    return errors
