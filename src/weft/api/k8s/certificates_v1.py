"""Kubernetes certificates/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import ObjectMeta


class CertificateSigningRequestSpec(Struct, frozen=True, omit_defaults=True):
    """CertificateSigningRequestSpec contains the certificate request."""

    expiration_seconds: int | None = field(default=None, name="expirationSeconds")
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, name="extra")
    groups: tuple[str, ...] = field(default=(), name="groups")
    request: str = field(default="", name="request")
    signer_name: str = field(default="", name="signerName")
    uid: str = field(default="", name="uid")
    usages: tuple[str, ...] = field(default=(), name="usages")
    username: str = field(default="", name="username")


class CertificateSigningRequestCondition(Struct, frozen=True, omit_defaults=True):
    """CertificateSigningRequestCondition describes a condition of a ...."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    last_update_time: str = field(default="", name="lastUpdateTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class CertificateSigningRequestStatus(Struct, frozen=True, omit_defaults=True):
    """CertificateSigningRequestStatus contains conditions used to indicate ...."""

    certificate: str = field(default="", name="certificate")
    conditions: tuple[CertificateSigningRequestCondition, ...] = field(
        default=(), name="conditions"
    )


class CertificateSigningRequest(Struct, frozen=True, omit_defaults=True):
    """CertificateSigningRequest objects provide a mechanism to obtain x509 certificates ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: CertificateSigningRequestSpec = field(
        default=CertificateSigningRequestSpec(), name="spec"
    )
    status: CertificateSigningRequestStatus = field(
        default=CertificateSigningRequestStatus(), name="status"
    )
