"""Metrics with Istio's names, counted inside Envoy, and the access log.

Who called is known from the listener, so it is literal text; who answered is read from the
endpoint's and the cluster's metadata (`METADATA`), which only holds what replicas have in common:
Envoy then keeps one copy for all of them. All labels are folded into one tag:
`weft.telemetry.edge_labels` says why, and unfolds them.
"""

from functools import lru_cache
from typing import NamedTuple

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.data.accesslog.v3 import accesslog_pb2 as data_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from envoy.extensions.access_loggers.stats.v3 import stats_pb2
from google.protobuf.struct_pb2 import Struct as StructMessage
from google.protobuf.wrappers_pb2 import UInt64Value
from opentelemetry.proto.common.v1 import common_pb2

from weft.mesh.model import (
    LABELS_APP,
    Destination,
    Endpoint,
    LabelChange,
    NodeSettings,
    Reporting,
    Workload,
)
from weft.telemetry.edge_labels import (
    MUTUAL,
    PLAIN,
    TAG,
    UNKNOWN,
    Answer,
    Callee,
    Party,
    folded,
    tag_value,
    with_changes,
)
from weft.telemetry.requests import BETWEEN, FIELDS
from weft.xds.bootstrap import XDS_CLUSTER
from weft.xds.descriptors import set_log_service, set_stats_scope
from weft.xds.identity import literal
from weft.xds.proto import Proto, any_of, duration
from weft.xds.runtime import TAP

METADATA = "weft"
"""The metadata namespace of clusters and endpoints."""
STATS_PREFIX = "istio"
"""Envoy puts its own name before it: `envoy_istio_requests_total` on its Prometheus page."""
TAP_FLUSH_SECONDS = 0.2
CHOSEN_SERIES_MAX = 2000
WORKLOADS_KEPT_MAX = 4096
"""Workloads whose metadata is kept ready: all their replicas have the same."""

NOBODY = Party(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
"""A caller outside the mesh."""
PEER = Party(UNKNOWN, UNKNOWN, "%DOWNSTREAM_PEER_URI_SAN%", UNKNOWN, UNKNOWN)
"""A caller from another node, known by its certificate."""
GATEWAY = Party("ingress-gateway", "weft-system", UNKNOWN, "ingress-gateway", "latest")
ANSWERING = f"%UPSTREAM_METADATA({METADATA}:party)%"
"""The workload of the endpoint that was chosen."""
_CALLEE = f"%CLUSTER_METADATA({METADATA}:service)%"
_HTTP_ANSWER = Answer("%PROTOCOL%", "%RESPONSE_CODE%", "%GRPC_STATUS_NUMBER%", "%RESPONSE_FLAGS%")
_TCP_ANSWER = Answer("", "", "", "%RESPONSE_FLAGS%")
SIZES = (("request_bytes", "%BYTES_RECEIVED%"), ("response_bytes", "%BYTES_SENT%"))
"""Of bodies."""


class Reports(NamedTuple):
    """What a listener reports of its calls."""

    log: str = ""
    """Path of the JSON access log; empty is none."""
    log_filter: str = ""
    """A CEL expression that must hold for what is logged."""
    uncounted: tuple[str, ...] = ()
    """Names of metrics that are not counted."""
    counted: tuple[str, ...] = ()
    """Names of those that are counted besides."""
    labels: tuple[LabelChange, ...] = ()

    def tagged(self, name: str, tag: str) -> str:
        """The tag's value for a metric."""
        changes = [
            (each.label, each.command or (None if each.literal is None else literal(each.literal)))
            for each in self.labels
            if each.metric == name
        ]
        return with_changes(tag, changes)

    @property
    def most(self) -> int:
        """How many series a listener has of a metric, where callers choose labels; 0 is as many
        as there are."""
        return CHOSEN_SERIES_MAX if any(each.command for each in self.labels) else 0


def reports(node: NodeSettings, how: Reporting) -> Reports:
    """What a node's proxy reports of one side of calls."""
    path = node.access_log
    if how.logged is not None:
        path = (node.access_log_file or node.access_log) if how.logged else ""
    return Reports(path, how.log_filter, how.uncounted, how.counted, how.labels)


def party(workload: Workload) -> Party:
    return Party(
        workload=literal(workload.workload or workload.name),
        namespace=literal(workload.namespace),
        principal=literal(workload.principal or UNKNOWN),
        app=literal(workload.app or workload.workload or workload.name),
        version=literal(workload.version or "latest"),
    )


def http_access_logs(
    source: Party, destination: str, reporter: str, wanted: Reports
) -> list[Proto]:
    """The loggers of HTTP requests. `destination` is a folded party."""
    tag = _tag(source, destination, reporter, _HTTP_ANSWER)
    histogram = stats_pb2.Config.Histogram
    durations = histogram(
        stat=_stat("request_duration_milliseconds", tag, wanted),
        unit=histogram.Milliseconds,
        value_format="%DURATION%",
    )
    sizes = [
        histogram(stat=_stat(name, tag, wanted), unit=histogram.Bytes, value_format=value)
        for name, value in SIZES
        if name in wanted.counted
    ]
    stats = stats_pb2.Config(
        counters=_counted([_counter("requests_total", tag, wanted)], wanted),
        histograms=_counted([durations, *sizes], wanted),
    )
    tapped = _tap(source, destination, _HTTP_TAPPED)
    return [*_stats_loggers(stats, wanted), tapped, *_json_logs(source, wanted, _HTTP_FIELDS)]


def tcp_access_logs(source: Party, destination: str, reporter: str, wanted: Reports) -> list[Proto]:
    """The loggers of connections that are passed on as bytes."""
    tag = _tag(source, destination, reporter, _TCP_ANSWER)
    opened = stats_pb2.Config(
        counters=_counted([_counter("tcp_connections_opened_total", tag, wanted)], wanted)
    )
    closed = stats_pb2.Config(
        counters=_counted(
            [
                _counter("tcp_connections_closed_total", tag, wanted),
                _counter("tcp_sent_bytes_total", tag, wanted, "%BYTES_SENT%"),
                _counter("tcp_received_bytes_total", tag, wanted, "%BYTES_RECEIVED%"),
            ],
            wanted,
        ),
    )
    return [
        *_stats_loggers(opened, wanted, data_pb2.TcpUpstreamConnected),
        *_stats_loggers(closed, wanted, data_pb2.TcpConnectionEnd),
        _tap(source, destination, _TCP_TAPPED, data_pb2.TcpConnectionEnd),
        *_json_logs(source, wanted, _TCP_FIELDS, data_pb2.TcpConnectionEnd),
    ]


def cluster_metadata(destination: Destination) -> Proto:
    """What metrics say about the service behind a destination."""
    service = destination.service or destination.host
    return _metadata("service", folded(Callee(destination.host, service, destination.namespace)))


def endpoint_metadata(endpoint: Endpoint) -> Proto | None:
    """What metrics say about a pod; None when nothing is known."""
    if not endpoint.workload:
        return None
    labels = dict(endpoint.labels)
    app = next((labels[key] for key in LABELS_APP if labels.get(key)), "")
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
    return _metadata("party", folded(labels))


def _metadata(key: str, value: str) -> Proto:
    fields = StructMessage()
    fields.update({key: value})
    return base_pb2.Metadata(filter_metadata={METADATA: fields})


def _tag(source: Party, destination: str, reporter: str, answer: Answer) -> str:
    return tag_value(
        reporter,
        _security(source, reporter),
        source=folded(source),
        destination=destination,
        callee=_CALLEE,
        answer=folded(answer),
    )


def _security(source: Party, reporter: str) -> str:
    """How the connection was secured. Whoever calls sees it by whom the callee showed to be."""
    if reporter == "source":
        return "%UPSTREAM_PEER_URI_SAN%"
    return MUTUAL if source is PEER else PLAIN


def _stat(name: str, tag: str, wanted: Reports) -> Proto:
    found = stats_pb2.Config.Tag(name=TAG, value_format=wanted.tagged(name, tag))
    return stats_pb2.Config.Stat(name=name, tags=[found])


def _counter(name: str, tag: str, wanted: Reports, value: str = "") -> Proto:
    stat = _stat(name, tag, wanted)
    if value:
        return stats_pb2.Config.Counter(stat=stat, value_format=value)
    return stats_pb2.Config.Counter(stat=stat, value_fixed=UInt64Value(value=1))


def _counted(statistics: list[Proto], wanted: Reports) -> list[Proto]:
    return [each for each in statistics if each.stat.name not in wanted.uncounted]


def _stats_loggers(config: Proto, wanted: Reports, *log_types: int) -> list[Proto]:
    if not config.counters and not config.histograms:
        return []
    set_stats_scope(config, STATS_PREFIX, wanted.most)
    return [_logger("envoy.access_loggers.stats", config, *log_types)]


def _logger(name: str, config: Proto, *log_types: int) -> Proto:
    logger = accesslog_pb2.AccessLog(name=name, typed_config=any_of(config))
    if log_types:
        logger.filter.log_type_filter.types.extend(log_types)
    return logger


_RBAC = "envoy.filters.http.rbac"
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
    # Which rule of an AUDIT policy matched, and which of a denial on trial would have denied.
    "audit": f"%DYNAMIC_METADATA({_RBAC}:audit_shadow_effective_policy_id)%",
    "dry_run_denied_by": f"%DYNAMIC_METADATA({_RBAC}:trial_shadow_effective_policy_id)%",
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


def _json_logs(
    source: Party, wanted: Reports, fields: dict[str, str], *log_types: int
) -> list[Proto]:
    if not wanted.log:
        return []
    json_format = StructMessage()
    json_format.update(fields | {"source": f"{source.namespace}/{source.workload}"})
    log_format = substitution_format_string_pb2.SubstitutionFormatString(json_format=json_format)
    config = file_pb2.FileAccessLog(path=wanted.log, log_format=log_format)
    logger = _logger("envoy.access_loggers.file", config, *log_types)
    if wanted.log_filter:
        expression = cel_pb2.ExpressionFilter(expression=wanted.log_filter)
        holds = accesslog_pb2.AccessLogFilter()
        holds.extension_filter.name = "envoy.access_loggers.extension_filters.cel"
        holds.extension_filter.typed_config.CopyFrom(any_of(expression))
        if log_types:
            kinds = accesslog_pb2.AccessLogFilter()
            kinds.CopyFrom(logger.filter)
            logger.filter.and_filter.filters.extend((kinds, holds))
        else:
            logger.filter.CopyFrom(holds)
    return [logger]


_BYTES = {
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "endpoint": "%UPSTREAM_HOST%",
}
_TCP_TAPPED = _BYTES | {"details": "%CONNECTION_TERMINATION_DETAILS%"}
_HTTP_TAPPED = _BYTES | {
    "method": "%REQUEST_HEADER(:METHOD)%",
    "authority": "%REQUEST_HEADER(:AUTHORITY)%",
    "path": "%REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "request_id": "%REQUEST_HEADER(X-REQUEST-ID)%",
    "traceparent": "%REQUEST_HEADER(TRACEPARENT)%",
    "route": "%ROUTE_NAME%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "user_agent": "%REQUEST_HEADER(USER-AGENT)%",
}


def _tap(source: Party, destination: str, fields: dict[str, str], *log_types: int) -> Proto:
    """Logs to the control plane while somebody looks; else it costs the look at a switch."""
    said = fields | {"source": folded(source), "destination": destination, "service": _CALLEE}
    body = BETWEEN.join(said.get(name, "-") for name in FIELDS)
    config = logs_service_pb2.OpenTelemetryAccessLogConfig(
        disable_builtin_labels=True, body=common_pb2.AnyValue(string_value=body)
    )
    set_log_service(config, XDS_CLUSTER, "tap", duration(TAP_FLUSH_SECONDS))
    logger = _logger("envoy.access_loggers.open_telemetry", config)
    share = accesslog_pb2.AccessLogFilter()
    share.runtime_filter.runtime_key = TAP
    share.runtime_filter.percent_sampled.numerator = 0
    share.runtime_filter.use_independent_randomness = True
    if log_types:
        kinds = accesslog_pb2.AccessLogFilter()
        kinds.log_type_filter.types.extend(log_types)
        logger.filter.and_filter.filters.extend((kinds, share))
    else:
        logger.filter.CopyFrom(share)
    return logger
