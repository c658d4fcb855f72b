"""Metrics with Istio's names, counted inside Envoy, and the access log.

Who called is known from the listener, so it is literal text; who answered is read from the
endpoint's and the cluster's metadata (`METADATA`), which only holds what replicas have in common:
Envoy then keeps one copy for all of them.
"""

from functools import lru_cache
from typing import NamedTuple

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.data.accesslog.v3 import accesslog_pb2 as data_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.stats.v3 import stats_pb2
from google.protobuf.struct_pb2 import Struct as StructMessage
from google.protobuf.wrappers_pb2 import UInt64Value

from weft.mesh.model import Destination, Endpoint, Workload
from weft.xds.descriptors import set_stats_scope
from weft.xds.identity import literal
from weft.xds.proto import Proto, any_of

METADATA = "weft"
"""The metadata namespace of clusters and endpoints."""
STATS_PREFIX = "istio"
"""Envoy puts its own name before it: `envoy_istio_requests_total` on its Prometheus page."""
UNKNOWN = "unknown"
WORKLOADS_KEPT_MAX = 4096
"""Workloads whose metadata is kept ready: all their replicas have the same."""

_Tags = tuple[tuple[str, str], ...]


class Party(NamedTuple):
    """The labels of a workload, as text or as Envoy format commands."""

    workload: str
    namespace: str
    principal: str
    app: str
    version: str


NOBODY = Party(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
"""A caller outside the mesh."""
GATEWAY = Party("ingress-gateway", "weft-system", UNKNOWN, "ingress-gateway", "latest")
ANSWERING = Party(*(f"%UPSTREAM_METADATA({METADATA}:{part})%" for part in Party._fields))


def party(workload: Workload) -> Party:
    return Party(
        workload=literal(workload.workload or workload.name),
        namespace=literal(workload.namespace),
        principal=literal(workload.principal or UNKNOWN),
        app=literal(workload.app or workload.workload or workload.name),
        version=literal(workload.version or "latest"),
    )


def http_access_logs(source: Party, destination: Party, reporter: str, log: str) -> list[Proto]:
    """The loggers of HTTP requests. `log` is the path of the JSON access log; empty is none."""
    tags = (
        *_common_tags(source, destination, reporter),
        ("request_protocol", "%PROTOCOL%"),
        ("response_code", "%RESPONSE_CODE%"),
        ("grpc_response_status", "%GRPC_STATUS_NUMBER%"),
    )
    stats = stats_pb2.Config(
        counters=[_counter("requests_total", tags)],
        histograms=[
            stats_pb2.Config.Histogram(
                stat=_stat("request_duration_milliseconds", tags),
                unit=stats_pb2.Config.Histogram.Milliseconds,
                value_format="%DURATION%",
            )
        ],
    )
    return [_stats_logger(stats), *_json_logs(source, log, _HTTP_FIELDS)]


def tcp_access_logs(source: Party, destination: Party, reporter: str, log: str) -> list[Proto]:
    """The loggers of connections that are passed on as bytes."""
    tags = _common_tags(source, destination, reporter)
    opened = stats_pb2.Config(counters=[_counter("tcp_connections_opened_total", tags)])
    closed = stats_pb2.Config(
        counters=[
            _counter("tcp_connections_closed_total", tags),
            _counter("tcp_sent_bytes_total", tags, "%BYTES_SENT%"),
            _counter("tcp_received_bytes_total", tags, "%BYTES_RECEIVED%"),
        ],
    )
    return [
        _stats_logger(opened, data_pb2.TcpUpstreamConnected),
        _stats_logger(closed, data_pb2.TcpConnectionEnd),
        *_json_logs(source, log, _TCP_FIELDS, data_pb2.TcpConnectionEnd),
    ]


def cluster_metadata(destination: Destination) -> Proto:
    """What metrics say about the service behind a destination."""
    values = {
        "service": destination.host,
        "service_name": destination.service or destination.host,
        "service_namespace": destination.namespace,
    }
    return _metadata(values)


def endpoint_metadata(endpoint: Endpoint) -> Proto | None:
    """What metrics say about a pod; None when nothing is known."""
    if not endpoint.workload:
        return None
    app = next((value for key, value in endpoint.labels if key == "app"), "")
    return _party_metadata(
        Party(
            workload=endpoint.workload,
            namespace=endpoint.namespace,
            principal=endpoint.principal or UNKNOWN,
            app=app or endpoint.workload,
            version=endpoint.version or "latest",
        )
    )


@lru_cache(maxsize=WORKLOADS_KEPT_MAX)
def _party_metadata(labels: Party) -> Proto:
    return _metadata(labels._asdict())


def _metadata(values: dict[str, str]) -> Proto:
    fields = StructMessage()
    fields.update({key: value for key, value in values.items() if value})
    return base_pb2.Metadata(filter_metadata={METADATA: fields})


def _common_tags(source: Party, destination: Party, reporter: str) -> _Tags:
    return (
        ("reporter", reporter),
        ("source_workload", source.workload),
        ("source_workload_namespace", source.namespace),
        ("source_principal", source.principal),
        ("source_app", source.app),
        ("source_version", source.version),
        ("destination_workload", destination.workload),
        ("destination_workload_namespace", destination.namespace),
        ("destination_principal", destination.principal),
        ("destination_app", destination.app),
        ("destination_version", destination.version),
        ("destination_service", f"%CLUSTER_METADATA({METADATA}:service)%"),
        ("destination_service_name", f"%CLUSTER_METADATA({METADATA}:service_name)%"),
        ("destination_service_namespace", f"%CLUSTER_METADATA({METADATA}:service_namespace)%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
        ("connection_security_policy", "none"),
    )


def _stat(name: str, tags: _Tags) -> Proto:
    return stats_pb2.Config.Stat(
        name=name,
        tags=[stats_pb2.Config.Tag(name=k, value_format=v) for k, v in tags],
    )


def _counter(name: str, tags: _Tags, value: str = "") -> Proto:
    if value:
        return stats_pb2.Config.Counter(stat=_stat(name, tags), value_format=value)
    return stats_pb2.Config.Counter(stat=_stat(name, tags), value_fixed=UInt64Value(value=1))


def _stats_logger(config: Proto, *log_types: int) -> Proto:
    set_stats_scope(config, STATS_PREFIX)
    return _logger("envoy.access_loggers.stats", config, *log_types)


def _logger(name: str, config: Proto, *log_types: int) -> Proto:
    logger = accesslog_pb2.AccessLog(name=name, typed_config=any_of(config))
    if log_types:
        logger.filter.log_type_filter.types.extend(log_types)
    return logger


_HTTP_FIELDS = {
    "time": "%START_TIME%",
    "method": "%REQUEST_HEADER(:METHOD)%",
    "authority": "%REQUEST_HEADER(:AUTHORITY)%",
    "path": "%REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "request_id": "%REQUEST_HEADER(X-REQUEST-ID)%",
    "route": "%ROUTE_NAME%",
    "destination": "%UPSTREAM_CLUSTER_RAW%",
    "endpoint": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "caller_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
}
_TCP_FIELDS = {
    "time": "%START_TIME%",
    "target": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%CONNECTION_TERMINATION_DETAILS%",
    "duration_ms": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "destination": "%UPSTREAM_CLUSTER_RAW%",
    "endpoint": "%UPSTREAM_HOST%",
    "caller_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
}


def _json_logs(source: Party, path: str, fields: dict[str, str], *log_types: int) -> list[Proto]:
    if not path:
        return []
    json_format = StructMessage()
    json_format.update(fields | {"source": f"{source.namespace}/{source.workload}"})
    log_format = substitution_format_string_pb2.SubstitutionFormatString(json_format=json_format)
    config = file_pb2.FileAccessLog(path=path, log_format=log_format)
    return [_logger("envoy.access_loggers.file", config, *log_types)]
