"""Kubernetes storage/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.core_v1 import TopologySelectorTerm
from weft.api.k8s.meta_v1 import ObjectMeta


class StorageClass(Struct, frozen=True, omit_defaults=True):
    """StorageClass describes the parameters for a class of storage for which ...."""

    allow_volume_expansion: bool | None = field(default=None, name="allowVolumeExpansion")
    allowed_topologies: tuple[TopologySelectorTerm, ...] = field(
        default=(), name="allowedTopologies"
    )
    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    mount_options: tuple[str, ...] = field(default=(), name="mountOptions")
    parameters: Mapping[str, str] = field(default_factory=dict, name="parameters")
    provisioner: str = field(default="", name="provisioner")
    reclaim_policy: str = field(default="", name="reclaimPolicy")
    volume_binding_mode: str = field(default="", name="volumeBindingMode")
