"""BackendTLSPolicy."""

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from weft.api.gateway.common import LocalObjectReference, Message, PolicyStatus
from weft.api.k8s.meta_v1 import ObjectMeta


class LocalPolicyTargetReferenceWithSectionName(Message, frozen=True):
    """What a policy is about."""

    group: str = ""
    """API group; empty for a Service."""
    kind: str = ""
    """Service."""
    name: str = ""
    """The Service's name."""
    section_name: str = ""
    """Name of a port of the Service; all when absent."""


class SubjectAltName(Message, frozen=True):
    """A name that a certificate may carry."""

    type: Literal["", "Hostname", "URI"] = ""
    """What kind of name."""
    hostname: str = ""
    """A DNS name, for type Hostname."""
    uri: str = ""
    """A URI such as a SPIFFE identity, for type URI."""


class BackendTLSPolicyValidation(Message, frozen=True):
    """What certificate back ends must show."""

    ca_certificate_refs: tuple[LocalObjectReference, ...] = ()
    """ConfigMaps with the authorities under `ca.crt`."""
    well_known_ca_certificates: Literal["", "System"] = field(
        default="", name="wellKnownCACertificates"
    )
    """System: the authorities of the machine."""
    hostname: str = ""
    """Server name that back ends are asked for, and that the certificate must carry when
    `subjectAltNames` is absent."""
    subject_alt_names: tuple[SubjectAltName, ...] = ()
    """Names of which the certificate must carry one."""


class BackendTLSPolicySpec(Message, frozen=True):
    """TLS from Gateways to back ends."""

    target_refs: tuple[LocalPolicyTargetReferenceWithSectionName, ...] = ()
    """Services."""
    validation: BackendTLSPolicyValidation = BackendTLSPolicyValidation()
    """What certificate they must show."""
    options: Mapping[str, str] = {}
    """Settings of implementations; weft has none."""


class BackendTLSPolicy(Message, frozen=True):
    """Has Gateways speak TLS to back ends."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """BackendTLSPolicy."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: BackendTLSPolicySpec = BackendTLSPolicySpec()
    """What is wanted."""
    status: PolicyStatus = PolicyStatus()
    """How the policy fares with each Gateway that it affects."""
