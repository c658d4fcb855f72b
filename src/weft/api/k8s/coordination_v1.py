"""Kubernetes coordination/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import ObjectMeta


class LeaseSpec(Struct, frozen=True, omit_defaults=True):
    """LeaseSpec is a specification of a Lease."""

    acquire_time: str = field(default="", name="acquireTime")
    holder_identity: str = field(default="", name="holderIdentity")
    lease_duration_seconds: int | None = field(default=None, name="leaseDurationSeconds")
    lease_transitions: int | None = field(default=None, name="leaseTransitions")
    preferred_holder: str = field(default="", name="preferredHolder")
    renew_time: str = field(default="", name="renewTime")
    strategy: str = field(default="", name="strategy")


class Lease(Struct, frozen=True, omit_defaults=True):
    """Lease defines a lease concept."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: LeaseSpec = field(default=LeaseSpec(), name="spec")
