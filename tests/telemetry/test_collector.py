"""Whatever is sent over OTLP: it is counted, kept or left, and never stops who listens."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tests.examples import examples
from weft.telemetry.collector import LOGS_SERVICE, METRICS_SERVICE, TRACE_SERVICE, Collector
from weft.telemetry.exposition import totals_page
from weft.telemetry.requests import RequestLog
from weft.telemetry.traces import Search, TraceStore
from weft.telemetry.traffic import Traffic

NAMES = (
    "istio.requests_total",
    "istio.request_duration_milliseconds",
    "istio.tcp_connections_opened_total",
    "istio.tcp_sent_bytes_total",
    "other",
)
NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1)
EDGES = st.text(max_size=40) | st.lists(st.text(";|=-a", max_size=5), max_size=12).map(";".join)


@st.composite
def metrics(draw: Any) -> Any:
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    node = resource.resource.attributes.add(key="weft.node")
    node.value.string_value = draw(st.text(max_size=9))
    listed = resource.instrumentation_library_metrics.add().metrics
    for _ in range(draw(st.integers(0, 4))):
        metric = listed.add(name=draw(st.sampled_from(NAMES)))
        kind = draw(st.sampled_from(("sum", "gauge", "histogram", "summary")))
        point = getattr(metric, kind).data_points.add()
        point.start_time_unix_nano = draw(st.integers(0, 2**64 - 1))
        for key in draw(st.lists(st.sampled_from(("edge", "x", "")), max_size=3)):
            point.attributes.add(key=key).value.string_value = draw(EDGES)
        number = draw(NUMBERS)
        if kind == "histogram":
            point.sum = float(number)
            point.bucket_counts.extend(draw(st.lists(st.integers(0, 2**64 - 1), max_size=5)))
            point.explicit_bounds.extend(draw(st.lists(st.floats(), max_size=5)))
        elif kind in ("sum", "gauge"):
            setattr(point, "as_int" if isinstance(number, int) else "as_double", number)
    return request


class Listening:
    """A collector and what it fills."""

    def __init__(self) -> None:
        self.traffic, self.traces, self.requests = Traffic(1000.0), TraceStore(), RequestLog()
        made = Collector(self.traffic, self.requests, self.traces, clock=lambda: 1000.0)
        self.metrics, self.logs, self.spans = made._metrics, made._logs, made._spans


@pytest.mark.slow
@given(st.lists(metrics(), min_size=1, max_size=3))
@examples(300, slow=True)
def test_any_metrics(sent: list[Any]) -> None:
    to = Listening()
    for request in sent:
        asyncio.run(to.metrics(request, None))
    to.traffic.edges(1000.0, 60)
    totals_page(to.traffic.totals)


@given(st.binary(max_size=300))
@examples(500)
def test_any_bytes_that_are_a_message(raw: bytes) -> None:
    to = Listening()
    for answer, kind in (
        (to.metrics, metrics_service_pb2.ExportMetricsServiceRequest),
        (to.logs, logs_service_pb2.ExportLogsServiceRequest),
        (to.spans, trace_service_pb2.ExportTraceServiceRequest),
    ):
        request = kind()
        try:
            request.ParseFromString(raw)
        except Exception:
            continue
        asyncio.run(answer(request, None))


IDS = st.binary(max_size=40)


@given(st.lists(st.tuples(IDS, IDS, IDS, st.integers(0, 2**64 - 1), st.integers(0, 9)), max_size=5))
@examples(300)
def test_any_spans(sent: list[tuple[bytes, bytes, bytes, int, int]]) -> None:
    """Also spans that are their own parents, or each other's."""
    to = Listening()
    request = trace_service_pb2.ExportTraceServiceRequest()
    listed = request.resource_spans.add().instrumentation_library_spans.add().spans
    for trace, span, parent, time, kind in sent:
        each = listed.add(trace_id=trace, span_id=span, parent_span_id=parent, kind=kind)
        each.start_time_unix_nano = time
    asyncio.run(to.spans(request, None))
    for found in to.traces.search(Search(), 10):
        assert found.root.span_id in found.spans


async def test_only_nodes_report_and_of_themselves(tmp_path: Path) -> None:
    """Over a real connection: who shows no node's certificate is refused, whatever it sends."""
    kept, shown = TraceStore(), "b"
    traffic = Traffic(1000.0)

    def certified(_: Any) -> str:
        if not shown:
            raise PermissionError("the certificate is for no node")
        return shown

    collector = Collector(traffic, RequestLog(), kept, clock=lambda: 1000.0, certified=certified)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(collector.handlers())
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    spans = trace_service_pb2.ExportTraceServiceRequest()
    spans.resource_spans.add().instrumentation_library_spans.add().spans.add(
        trace_id=b"1" * 16, span_id=b"1" * 8, name="x", start_time_unix_nano=10**18
    )
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:

        async def send(service: str, request: Any) -> None:
            await channel.unary_unary(f"/{service}/Export")(request.SerializeToString())

        await send(TRACE_SERVICE, spans)
        assert len(kept.search(Search(), 10)) == 1
        spans.resource_spans[0].instrumentation_library_spans[0].spans[0].trace_id = b"2" * 16
        shown = ""
        for service, request in (
            (TRACE_SERVICE, spans),
            (METRICS_SERVICE, metrics_service_pb2.ExportMetricsServiceRequest()),
            (LOGS_SERVICE, logs_service_pb2.ExportLogsServiceRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await send(service, request)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert len(kept.search(Search(), 10)) == 1
    await server.stop(None)
