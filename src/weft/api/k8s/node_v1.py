"""Kubernetes node/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Toleration


class Overhead(Struct, frozen=True, omit_defaults=True):
    """Overhead structure represents the resource overhead associated with running a pod."""

    pod_fixed: Mapping[str, str | int | float] = field(default_factory=dict, name="podFixed")


class Scheduling(Struct, frozen=True, omit_defaults=True):
    """Scheduling specifies the scheduling constraints for nodes supporting a RuntimeClass."""

    node_selector: Mapping[str, str] = field(default_factory=dict, name="nodeSelector")
    tolerations: tuple[Toleration, ...] = field(default=(), name="tolerations")


class RuntimeClass(Struct, frozen=True, omit_defaults=True):
    """RuntimeClass defines a class of container runtime supported in the cluster."""

    api_version: str = field(default="", name="apiVersion")
    handler: str = field(default="", name="handler")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    overhead: Overhead | None = field(default=None, name="overhead")
    scheduling: Scheduling | None = field(default=None, name="scheduling")
