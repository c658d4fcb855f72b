"""Least response time: endpoints get requests in inverse proportion to how long they take.

Envoy's weighted round robin takes the weights of endpoints from load reports that back ends send
with their answers. These back ends know nothing of that, so the proxy writes the reports itself: a
filter behind the load balancer measures each answer and adds a report in which the load is the
time to the first byte. Weights follow within a fraction of a second, in the proxy itself.
"""

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3 import (
    client_side_weighted_round_robin_pb2 as weighted_pb2,
)
from google.protobuf.wrappers_pb2 import FloatValue

from weft.xds.proto import Proto, any_of, duration, extension

REPORT_HEADER = "endpoint-load-metrics"
"""Where Envoy looks for a load report (ORCA), in its text form here."""
BINARY_REPORT_HEADER = "endpoint-load-metrics-bin"

UPDATE_SECONDS = 0.25
"""How often weights are taken over from the reports."""
BLACKOUT_SECONDS = 0.1
"""How long a new endpoint has the average weight, whatever it reports."""
EXPIRATION_SECONDS = 10.0
"""An endpoint that reported nothing for so long gets the average weight again, and a new chance."""
FAILURE_MICROSECONDS = 10_000_000.0
"""What an answer of 5xx counts as, on top of its time: failing fast must not attract requests."""
SCALE = 1_000_000_000
"""Weights are this divided by the microseconds that an answer took."""

_FAILED = "response.headers[':status'].startsWith('5')"
_FAILED_GRPC = (
    f"{_FAILED} || ('grpc-status' in response.headers && "
    "response.headers['grpc-status'] in ['2', '4', '12', '13', '14', '15'])"
)
"""Also the statuses of gRPC that Envoy takes for 5xx, of answers that are nothing but a status."""
_MICROSECONDS = "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%"


def _report(failed: str) -> str:
    failures = f"%CEL({failed} ? '{SCALE}' : '0')%"
    return f"TEXT rps_fractional={SCALE},eps={failures},application_utilization={_MICROSECONDS}"


def balance_by_response_time(cluster: Proto) -> None:
    """Have an Envoy cluster follow the reports."""
    policy = weighted_pb2.ClientSideWeightedRoundRobin(
        blackout_period=duration(BLACKOUT_SECONDS),
        weight_expiration_period=duration(EXPIRATION_SECONDS),
        weight_update_period=duration(UPDATE_SECONDS),
        error_utilization_penalty=FloatValue(value=FAILURE_MICROSECONDS),
    )
    chosen = cluster_pb2.LoadBalancingPolicy.Policy(
        typed_extension_config=extension(
            "envoy.load_balancing_policies.client_side_weighted_round_robin", policy
        )
    )
    cluster.load_balancing_policy.policies.append(chosen)


def measure(options: Proto, *, grpc: bool) -> None:
    """Have the answers of a cluster with these HTTP options measured and reported."""
    mutations = header_mutation_pb2.HeaderMutation()
    mutations.mutations.response_mutations.add(remove=BINARY_REPORT_HEADER)
    report = mutations.mutations.response_mutations.add()
    report.append.header.key = REPORT_HEADER
    report.append.header.value = _report(_FAILED_GRPC if grpc else _FAILED)
    report.append.append_action = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    for name, config in (
        ("envoy.filters.http.header_mutation", mutations),
        ("envoy.filters.http.upstream_codec", upstream_codec_pb2.UpstreamCodec()),
    ):
        options.http_filters.append(hcm_pb2.HttpFilter(name=name, typed_config=any_of(config)))
