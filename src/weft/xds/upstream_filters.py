"""HTTP filters of a cluster, for whoever calls it: admission control, request buffers, compression.

What stands at the cluster holds for one service and changes no listener, so nobody's connection is
drained when a policy changes.
"""

from envoy.extensions.compression.brotli.compressor.v3 import brotli_pb2
from envoy.extensions.compression.gzip.compressor.v3 import gzip_pb2
from envoy.extensions.compression.zstd.compressor.v3 import zstd_pb2
from envoy.extensions.filters.http.admission_control.v3 import admission_control_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import AdmissionControl, Destination
from weft.xds.access import destination_filters
from weft.xds.proto import Proto, any_of, duration, uint32

_LIBRARIES = {"gzip": gzip_pb2.Gzip, "brotli": brotli_pb2.Brotli, "zstd": zstd_pb2.Zstd}
_SUCCESS = (100, 500)
"""From and below: what is no failure."""
_RUNTIME = "weft.admission_control"


def cluster_filters(destination: Destination) -> list[Proto]:
    """All filters of a destination's cluster: its policies first, the codec last; none when there
    is nothing to do."""
    filters = destination_filters(destination)
    own = _own(destination)
    if not own:
        return filters
    codec = hcm_pb2.HttpFilter(
        name="envoy.filters.http.upstream_codec",
        typed_config=any_of(upstream_codec_pb2.UpstreamCodec()),
    )
    return [*filters[:-1], *own, codec]


def _own(destination: Destination) -> list[Proto]:
    found: list[tuple[str, Proto]] = []
    if destination.admission is not None:
        found.append(("admission_control", _admission(destination.admission)))
    if destination.request_bytes_max:
        config = buffer_pb2.Buffer(max_request_bytes=uint32(destination.request_bytes_max))
        found.append(("buffer", config))
    found += [(f"compressor.{name}", _compressor(name)) for name in destination.compression]
    return [
        hcm_pb2.HttpFilter(name=f"envoy.filters.http.{name}", typed_config=any_of(config))
        for name, config in found
    ]


def _admission(wanted: AdmissionControl) -> Proto:
    made = admission_control_pb2.AdmissionControl(sampling_window=duration(wanted.window))
    statuses = made.success_criteria.http_criteria.http_success_status.add()
    statuses.start, statuses.end = _SUCCESS
    for field, value in (
        (made.sr_threshold, wanted.success_percent),
        (made.max_rejection_probability, wanted.rejection_percent_max),
    ):
        field.default_value.value = value
        field.runtime_key = _RUNTIME
    made.aggression.default_value, made.aggression.runtime_key = wanted.aggression, _RUNTIME
    made.rps_threshold.default_value = wanted.requests_per_second_min
    made.rps_threshold.runtime_key = _RUNTIME
    return made


def _compressor(name: str) -> Proto:
    made = compressor_pb2.Compressor(choose_first=True)
    made.compressor_library.name = name
    made.compressor_library.typed_config.CopyFrom(any_of(_LIBRARIES[name]()))
    # Without a word on responses requests would not be looked at either; they stay as they are.
    enabled = made.response_direction_config.common_config.enabled
    enabled.default_value.CopyFrom(BoolValue(value=True))
    enabled.runtime_key = "weft.compression"
    return made
