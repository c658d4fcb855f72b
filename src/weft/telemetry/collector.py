"""The OTLP services that proxies and applications send to. A shell: takes bytes, knows the time."""

import logging
from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from weft.lib.aio import now
from weft.telemetry import otlp
from weft.telemetry.requests import RequestLog
from weft.telemetry.traffic import Traffic

log = logging.getLogger("weft.telemetry")
LOGS_SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"
METRICS_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"


class Collector:
    """Hands what arrives to those who keep it."""

    def __init__(
        self, traffic: Traffic, requests: RequestLog, clock: Callable[[], float] = now
    ) -> None:
        self._traffic = traffic
        self._requests = requests
        self._clock = clock

    def handlers(self) -> tuple[Any, ...]:
        """The gRPC handlers, for any grpc.aio server."""
        metrics = grpc.unary_unary_rpc_method_handler(
            self._metrics,
            request_deserializer=metrics_service_pb2.ExportMetricsServiceRequest.FromString,
            response_serializer=metrics_service_pb2.ExportMetricsServiceResponse.SerializeToString,
        )
        logs = grpc.unary_unary_rpc_method_handler(
            self._logs,
            request_deserializer=logs_service_pb2.ExportLogsServiceRequest.FromString,
            response_serializer=logs_service_pb2.ExportLogsServiceResponse.SerializeToString,
        )
        return (
            grpc.method_handlers_generic_handler(METRICS_SERVICE, {"Export": metrics}),
            grpc.method_handlers_generic_handler(LOGS_SERVICE, {"Export": logs}),
        )

    async def _metrics(self, request: Any, context: Any) -> Any:
        node = next((otlp.node_name(r.resource.attributes) for r in request.resource_metrics), "")
        self._traffic.report(node, otlp.samples(request), self._clock())
        return metrics_service_pb2.ExportMetricsServiceResponse()

    async def _logs(self, request: Any, context: Any) -> Any:
        self._requests.add(otlp.log_texts(request), "")
        return logs_service_pb2.ExportLogsServiceResponse()
