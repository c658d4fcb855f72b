"""Loads the schema data that ships with weft: the only reading of files in this package."""

import gzip
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

KUBERNETES = "kubernetes-1.33"
ISTIO_NETWORKING = "istio-networking-v1"
GATEWAY_API = "gateway-api-v1"
WEFT_POLICY = "weft-policy-v1alpha1"


@cache
def definitions() -> dict[str, dict[str, Any]]:
    """OpenAPI definitions by name (`io.k8s.api.apps.v1.Deployment`); `$ref` holds a bare name."""
    found: dict[str, dict[str, Any]] = {}
    for name in (KUBERNETES, ISTIO_NETWORKING, GATEWAY_API, WEFT_POLICY):
        packed = files("weft.api").joinpath("data", f"{name}.json.gz").read_bytes()
        found |= msgspec.json.decode(gzip.decompress(packed))["definitions"]
    return found
