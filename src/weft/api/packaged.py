"""Loads the schema data that ships with weft: the only reading of files in this package."""

import gzip
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

KUBERNETES = "kubernetes-1.33"
ISTIO_NETWORKING = "istio-networking-v1"
ISTIO_SECURITY = "istio-security-v1"
GATEWAY_API = "gateway-api-v1"
WEFT_POLICY = "weft-policy-v1alpha1"
WEFT_MONITORING = "weft-monitoring-v1alpha1"
WEFT_QUEUE = "weft-queue-v1alpha1"
ISTIO_TELEMETRY = "istio-telemetry-v1"
ARGO = "argo-v1alpha1"
KUEUE = ("kueue-v1beta1", "kueue-v1beta2")
FLAGGER = "flagger-v1beta1"
METRICS = "metrics-v1beta1"
PROTOBUF = "kubernetes-1.33-protobuf"


DEFINITIONS = (
    *(KUBERNETES, ISTIO_NETWORKING, ISTIO_SECURITY, ISTIO_TELEMETRY, GATEWAY_API),
    *(WEFT_POLICY, WEFT_MONITORING, WEFT_QUEUE, ARGO, METRICS, FLAGGER, *KUEUE),
)


@cache
def definitions() -> dict[str, dict[str, Any]]:
    """OpenAPI definitions by name (`io.k8s.api.apps.v1.Deployment`); `$ref` holds a bare name."""
    found: dict[str, dict[str, Any]] = {}
    for name in DEFINITIONS:
        found |= _read(name)["definitions"]
    return found


@cache
def protobuf_messages() -> dict[str, Any]:
    """How Kubernetes' objects look as protobuf: `kinds` ("apps/v1/Deployment") to names of
    `messages`, whose fields are [number, JSON name, type, whether JSON shows zero values]."""
    return _read(PROTOBUF)


def _read(name: str) -> dict[str, Any]:
    packed = files("weft.api").joinpath("data", f"{name}.json.gz").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(gzip.decompress(packed))
    return found
