"""Who workloads are and how long a certificate says so. Pure.

Sources: SPIFFE-ID.md and X509-SVID.md of the SPIFFE standard, Istio's path convention.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from weft.api.wellknown import CLUSTER_DOMAIN

SPIFFE_ID_BYTES_MAX = 2048
TRUST_DOMAIN_BYTES_MAX = 255
BACKDATE_SECONDS = 120.0
"""Certificates are valid from a little before their issue: clocks of nodes differ."""
BACKDATE_FRACTION_MAX = 0.2
"""Of a life that is short: what lies before the issue must not be most of it."""
RENEW_FRACTION = 0.5
"""A certificate is renewed when this part of its life has passed (SPIRE's and Istio's ratio)."""
RENEW_JITTER_FRACTION = 0.1
"""Renewals of many certificates issued together spread over this part of their life."""
WORKLOAD_SECONDS_DEFAULT = 12 * 3600.0
SERVER_SECONDS_DEFAULT = 365 * 86400.0
CLIENT_SECONDS_DEFAULT = 365 * 86400.0
INTERMEDIATE_SECONDS_DEFAULT = 90 * 86400.0
ROOT_SECONDS_DEFAULT = 3650 * 86400.0

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")
_WORKLOAD_PATH = re.compile(r"/ns/([^/]+)/sa/([^/]+)")


class SpiffeId(Struct, frozen=True):
    """`spiffe://<trust_domain><path>`; `path` starts with a slash, or is "" for the domain."""

    trust_domain: str
    path: str = ""

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"

    @property
    def workload(self) -> tuple[str, str] | None:
        """(namespace, service account), when the path has that form."""
        found = _WORKLOAD_PATH.fullmatch(self.path)
        return (found[1], found[2]) if found else None


class Validity(Struct, frozen=True):
    """From when to when, in seconds since the epoch."""

    not_before: float
    not_after: float

    def covers(self, now: float) -> bool:
        return self.not_before <= now <= self.not_after


def workload_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeId:
    """The identity of pods of a service account. Raises ValueError as `parse` does."""
    return parse(f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")


def parse(text: str) -> SpiffeId:
    """Read a SPIFFE ID. Raises ValueError with a sentence that says what is wrong."""
    if not text.startswith("spiffe://"):
        raise ValueError(f"`{text}` does not start with spiffe://")
    if len(text.encode()) > SPIFFE_ID_BYTES_MAX:
        raise ValueError(f"a SPIFFE ID has at most {SPIFFE_ID_BYTES_MAX} bytes")
    trust_domain, slash, rest = text.removeprefix("spiffe://").partition("/")
    check_trust_domain(trust_domain)
    segments = rest.split("/") if slash else []
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise ValueError(f"`{text}` has the path segment `{segment}`, which is not allowed")
    return SpiffeId(trust_domain, slash + rest)


def check_trust_domain(trust_domain: str) -> None:
    """Raises ValueError with a sentence that says what is wrong."""
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        raise ValueError(
            f"`{trust_domain}` is no trust domain: lower-case letters, digits, `.`, `-`, `_`"
        )
    if len(trust_domain) > TRUST_DOMAIN_BYTES_MAX:
        raise ValueError(f"a trust domain has at most {TRUST_DOMAIN_BYTES_MAX} bytes")


def validity(now: float, seconds: float, issuer: Validity | None = None) -> Validity:
    """The validity of a certificate issued now; it never outlives its issuer."""
    until = now + seconds
    if issuer is not None:
        until = min(until, issuer.not_after)
    return Validity(now - min(BACKDATE_SECONDS, seconds * BACKDATE_FRACTION_MAX), until)


def issued_at(valid: Validity) -> float:
    """When a certificate of this validity was made; earlier than that for one cut short by its
    issuer's end."""
    share = BACKDATE_FRACTION_MAX / (1 + BACKDATE_FRACTION_MAX)
    return valid.not_before + min(BACKDATE_SECONDS, (valid.not_after - valid.not_before) * share)


def renew_at(valid: Validity, spread: float = 0.0) -> float:
    """When to renew. `spread` in [0, 1) places this certificate within the jitter, e.g. a hash
    of its name."""
    life = valid.not_after - valid.not_before
    return valid.not_before + life * (RENEW_FRACTION + RENEW_JITTER_FRACTION * spread)


def is_due(valid: Validity, now: float, spread: float = 0.0) -> bool:
    """Whether to renew now; so for what is not valid yet, too (the clock was set back)."""
    return now >= renew_at(valid, spread) or now < valid.not_before


def api_server_names(more: Iterable[str] = (), domain: str = CLUSTER_DOMAIN) -> tuple[str, ...]:
    """What an API server's certificate must be valid for; `more`: its ClusterIP and so on."""
    service = "kubernetes.default.svc"
    names = ("kubernetes", "kubernetes.default", service, f"{service}.{domain}")
    return ("localhost", "127.0.0.1", "::1", *names, *more)
