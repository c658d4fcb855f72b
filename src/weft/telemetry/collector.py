"""The OTLP services that proxies and applications send to. A shell: takes bytes, knows the time."""

import logging
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from weft.lib.aio import now
from weft.telemetry import otlp, traces
from weft.telemetry.requests import RequestLog
from weft.telemetry.traces import TraceStore
from weft.telemetry.traffic import Traffic

log = logging.getLogger("weft.telemetry")
LOGS_SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"
TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
METRICS_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"


class Collector:
    """Hands what arrives to those who keep it."""

    def __init__(
        self,
        traffic: Traffic,
        requests: RequestLog,
        kept: TraceStore,
        clock: Callable[[], float] = now,
        certified: Callable[[Any], str] = lambda _: "",
    ) -> None:
        """`certified` tells the node whose certificate a gRPC call shows; "" on our own socket.
        Raises PermissionError for all who are no node."""
        self._traces = kept
        self._traffic = traffic
        self._requests = requests
        self._clock = clock
        self._certified = certified
        self.on_spans: Callable[[bytes], None] | None = None
        """Gets every batch of spans as it would be sent on."""

    def handlers(self) -> tuple[Any, ...]:
        """The gRPC handlers, for any grpc.aio server."""
        return tuple(
            _handler(service, answer, request, response)
            for service, answer, request, response in (
                (
                    *(METRICS_SERVICE, self._metrics),
                    metrics_service_pb2.ExportMetricsServiceRequest,
                    metrics_service_pb2.ExportMetricsServiceResponse,
                ),
                (
                    *(LOGS_SERVICE, self._logs),
                    logs_service_pb2.ExportLogsServiceRequest,
                    logs_service_pb2.ExportLogsServiceResponse,
                ),
                (
                    *(TRACE_SERVICE, self._spans),
                    trace_service_pb2.ExportTraceServiceRequest,
                    trace_service_pb2.ExportTraceServiceResponse,
                ),
            )
        )

    async def _metrics(self, request: Any, context: Any) -> Any:
        node = await self._node(context)
        if not node:
            told = (otlp.node_name(r.resource.attributes) for r in request.resource_metrics)
            node = next(told, "")
        self._traffic.report(node, otlp.samples(request), self._clock())
        return metrics_service_pb2.ExportMetricsServiceResponse()

    async def _node(self, context: Any) -> str:
        """Who reports: a node's proxy speaks of its own traffic only."""
        try:
            return self._certified(context)
        except PermissionError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            raise

    async def _logs(self, request: Any, context: Any) -> Any:
        await self._node(context)
        self._requests.add(otlp.log_texts(request), "")
        return logs_service_pb2.ExportLogsServiceResponse()

    async def _spans(self, request: Any, context: Any) -> Any:
        await self._node(context)
        self.take_spans(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def take_spans(self, request: Any) -> None:
        """An ExportTraceServiceRequest."""
        self._traces.add(traces.spans(request))
        if self.on_spans is not None:
            self.on_spans(request.SerializeToString())


def trace_request(body: bytes) -> Any:
    """An ExportTraceServiceRequest. ValueError."""
    try:
        return trace_service_pb2.ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def trace_handler(take: Callable[[Any], None], admit: Callable[[int], bool]) -> Any:
    """The gRPC handler for spans of applications; `admit` says whether so many are taken."""

    async def answer(request: Any, context: Any) -> Any:
        if not admit(span_count(request)):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many spans")
        take(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    return _handler(
        *(TRACE_SERVICE, answer),
        trace_service_pb2.ExportTraceServiceRequest,
        trace_service_pb2.ExportTraceServiceResponse,
    )


def span_count(request: Any) -> int:
    """Of an ExportTraceServiceRequest."""
    scopes = (s for r in request.resource_spans for s in r.instrumentation_library_spans)
    return sum(len(scope.spans) for scope in scopes)


def _handler(service: str, answer: Any, request: Any, response: Any) -> Any:
    export = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(service, {"Export": export})
