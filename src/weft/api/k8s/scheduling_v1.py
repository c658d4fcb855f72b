"""Kubernetes scheduling/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import ObjectMeta


class PriorityClass(Struct, frozen=True, omit_defaults=True):
    """PriorityClass defines mapping from a priority class name to the priority integer ...."""

    api_version: str = field(default="", name="apiVersion")
    description: str = field(default="", name="description")
    global_default: bool | None = field(default=None, name="globalDefault")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    preemption_policy: str = field(default="", name="preemptionPolicy")
    value: int | None = field(default=None, name="value")
