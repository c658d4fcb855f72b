"""Switches of a proxy that are set while it runs, without a change of any other resource.

Source: Envoy, "Runtime", `envoy.service.runtime.v3.Runtime`.
"""

from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf.struct_pb2 import Struct as StructMessage

from weft.xds.proto import resource
from weft.xds.resource import RUNTIME, Resource

LAYER = "weft"
"""The layer's name, as the bootstrap asks for it."""
TAP = "weft.tap"
"""Percentage of requests that are logged to the control plane."""


def runtime(tap_percent: int = 0) -> Resource:
    """All switches."""
    layer = StructMessage()
    layer.update({TAP: tap_percent})
    return resource(RUNTIME, LAYER, rtds_pb2.Runtime(name=LAYER, layer=layer))
