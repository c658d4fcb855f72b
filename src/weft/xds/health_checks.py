"""Active health checks of endpoints (HTTP, TCP, gRPC)."""

from envoy.config.core.v3 import health_check_pb2
from envoy.type.v3 import http_pb2, range_pb2

from weft.mesh.model import HealthCheck
from weft.xds.proto import Proto, duration, uint32

FIRST_INTERVAL_SECONDS = 1.0
"""Between the checks of an endpoint before its first answer, at most."""
_Check = health_check_pb2.HealthCheck


def health_check(check: HealthCheck, http2: bool) -> Proto:
    """Envoy's check. `http2`: the endpoints speak cleartext HTTP/2."""
    result = _Check(
        interval=duration(check.interval),
        timeout=duration(check.timeout),
        healthy_threshold=uint32(check.healthy_threshold),
        unhealthy_threshold=uint32(check.unhealthy_threshold),
        # Envoy checks a cluster without traffic once a minute unless told otherwise.
        no_traffic_interval=duration(check.interval),
        initial_jitter=duration(min(check.interval, FIRST_INTERVAL_SECONDS) / 10),
    )
    if check.kind == "http":
        result.http_health_check.CopyFrom(
            _Check.HttpHealthCheck(
                host=check.host,
                path=check.path,
                expected_statuses=[
                    range_pb2.Int64Range(start=status, end=status + 1) for status in check.statuses
                ],
                codec_client_type=http_pb2.HTTP2 if http2 else http_pb2.HTTP1,
            )
        )
    elif check.kind == "grpc":
        grpc = _Check.GrpcHealthCheck(service_name=check.grpc_service, authority=check.host)
        result.grpc_health_check.CopyFrom(grpc)
    else:
        result.tcp_health_check.SetInParent()
    return result
