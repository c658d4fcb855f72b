"""Keys of issuers of tokens that say themselves where their keys are: OpenID Connect Discovery 1.0.

Only what is declared as a Service or ServiceEntry is asked, for whoever writes a rule, or answers
for an issuer, shall not choose what the control plane connects to.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from weft.api.istio.security import JWTRule, RequestAuthentication

DOCUMENT = "/.well-known/openid-configuration"
PORTS = {"http": 80, "https": 443}
REFRESH_SECONDS = 300.0
Resolve = Callable[[str, int], str]
"""(host, port) -> the destination through which it is reached; empty when there is none."""


class FoundKeys(Struct, frozen=True):
    """What is known of an issuer's keys."""

    key_set: str = ""
    """The last good ones, as JSON."""
    problem: str = ""
    """Why they cannot be read now, in words without a time."""


class IssuerKeys(Struct, frozen=True):
    """What was found out about issuers, by issuer; None: nobody looks."""

    found: Mapping[str, FoundKeys] | None = None
    refresh_seconds: float = REFRESH_SECONDS
    """How often keys are read again, by the control plane and by proxies."""


NOBODY_LOOKS = IssuerKeys()


def host_and_port(text: str) -> tuple[str, int]:
    """Of a URL; empty and 0 where it cannot be read."""
    try:
        url = urlsplit(text)
        return url.hostname or "", url.port or PORTS.get(url.scheme, 0)
    except ValueError:
        return "", 0


def is_discovered(rule: JWTRule) -> bool:
    """Whether the issuer has to be asked for its keys, and can be."""
    asked = not (rule.jwks or rule.jwks_uri)
    return asked and rule.issuer.startswith(("http://", "https://"))


def to_discover(objects: Iterable[RequestAuthentication], resolve: Resolve) -> tuple[str, ...]:
    """The issuers to ask."""
    found = {
        rule.issuer
        for obj in objects
        for rule in obj.spec.jwt_rules
        if is_discovered(rule) and resolve(*host_and_port(rule.issuer))
    }
    return tuple(sorted(found))


def document_url(issuer: str) -> str:
    return issuer.rstrip("/") + DOCUMENT


def key_set_url(document: bytes, issuer: str, resolve: Resolve) -> str:
    """Where the issuer's document says that its keys are. Raises ValueError with what is wrong."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise ValueError(f"{document_url(issuer)} is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("jwks_uri"), str):
        raise ValueError(f"{document_url(issuer)} names no `jwks_uri`")
    if found.get("issuer") != issuer:
        raise ValueError(f"{document_url(issuer)} is that of another issuer")
    url: str = found["jwks_uri"]
    host, port = host_and_port(url)
    if issuer.startswith("https:") and not url.startswith("https:"):
        raise ValueError(f"{document_url(issuer)} names a `jwks_uri` without TLS")
    if (host, port) != host_and_port(issuer) and not resolve(host, port):
        raise ValueError(f"no Service or ServiceEntry has {host} port {port}, where its keys are")
    return url
