"""apiextensions.k8s.io/v1 as a value, as far as weft's own code reads it."""

from typing import Any

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import ObjectMeta


class CustomResourceDefinition(Struct, frozen=True, omit_defaults=True):
    """A kind that a user adds. Its parts are read as JSON, by `weft.api.crd`."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: Any = None
    status: Any = None
