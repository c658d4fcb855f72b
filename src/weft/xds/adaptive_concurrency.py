"""Limits of requests under way that follow the latency.

Envoy's filter for it stands in no cluster, and takes no configuration by route. So each limit is a
filter of its own in every listener, turned off, which the routes that follow it turn on; the filter
measures only their requests.
"""

from collections.abc import Iterable

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.adaptive_concurrency.v3 import adaptive_concurrency_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf.any_pb2 import Any

from weft.mesh.model import AdaptiveConcurrency
from weft.xds.proto import Proto, any_of, duration, uint32

_RUNTIME = "weft.adaptive_concurrency"
JITTER_PERCENT = 15.0
"""Proxies do not measure the latency without load all at the same time."""


def filter_name(limit: AdaptiveConcurrency) -> str:
    return f"envoy.filters.http.adaptive_concurrency|{limit.name}"


def adaptive_filters(limits: Iterable[AdaptiveConcurrency]) -> list[Proto]:
    """The filters, all of them turned off."""
    return [
        hcm_pb2.HttpFilter(
            name=filter_name(limit), typed_config=any_of(_made(limit)), disabled=True
        )
        for limit in limits
    ]


def follow_latency(route: Proto, limit: AdaptiveConcurrency) -> None:
    """Make an Envoy route follow the limit."""
    on = route_pb2.FilterConfig(config=Any())
    route.typed_per_filter_config[filter_name(limit)].CopyFrom(any_of(on))


def _made(limit: AdaptiveConcurrency) -> Proto:
    made = adaptive_concurrency_pb2.AdaptiveConcurrency()
    made.enabled.default_value.value = True
    made.enabled.runtime_key = _RUNTIME
    steered = made.gradient_controller_config
    steered.sample_aggregate_percentile.value = limit.percentile
    steered.concurrency_limit_params.max_concurrency_limit.CopyFrom(uint32(limit.limit_max))
    interval = duration(limit.interval)
    steered.concurrency_limit_params.concurrency_update_interval.CopyFrom(interval)
    baseline = steered.min_rtt_calc_params
    baseline.interval.CopyFrom(duration(limit.baseline_interval))
    baseline.request_count.CopyFrom(uint32(limit.baseline_requests))
    baseline.min_concurrency.CopyFrom(uint32(limit.limit_min))
    baseline.jitter.value = JITTER_PERCENT
    baseline.buffer.value = limit.headroom_percent
    return made
