"""Limits on the bytes of bodies."""

from envoy.extensions.filters.http.bandwidth_limit.v3 import bandwidth_limit_pb2
from google.protobuf.wrappers_pb2 import UInt64Value

from weft.mesh.model import Bandwidth
from weft.xds.proto import Proto, any_of

_Limit = bandwidth_limit_pb2.BandwidthLimit
REQUEST_FILTER = "envoy.filters.http.bandwidth_limit.request"
RESPONSE_FILTER = "envoy.filters.http.bandwidth_limit.response"
"""A filter for each direction: one alone has one allowance for both."""


def filters() -> tuple[tuple[str, Proto], ...]:
    """(name, configuration) of the HTTP filters that limited routes turn on."""
    return tuple((name, _Limit(stat_prefix="weft")) for name in (REQUEST_FILTER, RESPONSE_FILTER))


def limit_bandwidth(route: Proto, bandwidth: Bandwidth) -> None:
    """Make an Envoy route subject to the limits."""
    for name, mode, amount in (
        (REQUEST_FILTER, _Limit.REQUEST, bandwidth.request),
        (RESPONSE_FILTER, _Limit.RESPONSE, bandwidth.response),
    ):
        if amount:
            limit = _Limit(
                stat_prefix="weft", enable_mode=mode, limit_kbps=UInt64Value(value=amount)
            )
            route.typed_per_filter_config[name].CopyFrom(any_of(limit))
