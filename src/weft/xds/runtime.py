"""Switches of a proxy that are set while it runs, without a change of any other resource.

Source: Envoy, "Runtime", `envoy.service.runtime.v3.Runtime`.
"""

from typing import Any

from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf.struct_pb2 import Struct as StructMessage

from weft.xds.proto import resource
from weft.xds.resource import RUNTIME, Resource

LAYER = "weft"
"""The layer's name, as the bootstrap asks for it."""
TAP = "weft.tap"
"""Percentage of requests that are logged to the control plane."""


TRACE = "tracing.random_sampling"
"""Share of requests whose way is traced, beside those that the caller wants traced."""
TRACE_PERCENT = 1.0
_PER_PERCENT = 100


def runtime(tap_percent: int = 0, trace_percent: float = TRACE_PERCENT) -> Resource:
    """All switches."""
    layer = StructMessage()
    share: dict[str, Any] = {
        "numerator": round(trace_percent * _PER_PERCENT),
        "denominator": "TEN_THOUSAND",
    }
    layer.update({TAP: tap_percent, TRACE: share})
    return resource(RUNTIME, LAYER, rtds_pb2.Runtime(name=LAYER, layer=layer))
