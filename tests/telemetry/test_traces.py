"""Traces: what arrives is found, what is too much goes, failed ones last."""

from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2

from weft.telemetry.traces import (
    FAILED_MAX,
    SPANS_MAX,
    TEXT_MAX,
    TRACES_MAX,
    Search,
    Span,
    Trace,
    TraceStore,
    spans,
)

WEB = Span(
    *("t1", "a", "", "web", "GET /"), kind="server", start=100.0, duration_ms=30.0, error=False
)
API = msgspec.structs.replace(
    WEB, span_id="b", parent_id="a", service="api", name="GET /items", start=100.01,
    duration_ms=10.0, attributes=(("http.status_code", "503"),),
)  # fmt: skip


def store(*listed: Span) -> TraceStore:
    made = TraceStore()
    made.add(listed)
    return made


SHOP = msgspec.structs.replace(
    WEB, span_id="c", service="shop.team", attributes=(("http.method", "GET"),),
    resource=(("weft.workload", "shop-v1"), ("service.version", "v1")),
)  # fmt: skip


def found(search: Search, *listed: Span) -> list[str]:
    return [trace.trace_id for trace in store(*(listed or (WEB, API, SHOP))).search(search, 10)]


def test_a_trace_is_put_together_in_any_order() -> None:
    trace = store(API, WEB).get("t1")
    assert trace is not None
    assert (trace.root, trace.start, trace.failed) == (WEB, 100.0, False)
    assert trace.duration_ms == pytest.approx(30)


@pytest.mark.parametrize(
    ("search", "yes"),
    [
        (Search(), True),
        (Search(service="api"), True),
        (Search(service="api", operation="GET /items"), True),
        (Search(service="web", operation="GET /items"), False),
        (Search(service="db"), False),
        (Search(service="shop"), True),
        (Search(service="shop.team"), True),
        (Search(service="shop.other"), False),
        (Search(tags={"weft.workload": "shop-v1", "http.method": "GET"}), True),
        (Search(tags={"weft.workload": "shop-v2"}), False),
        (Search(tags={"http.status_code": "503"}), True),
        (Search(service="web", tags={"http.status_code": "503"}), False),
        (Search(slower_ms=29), True),
        (Search(slower_ms=31), False),
        (Search(faster_ms=31), True),
        (Search(faster_ms=29), False),
        (Search(failed=True), False),
        (Search(after=101), False),
        (Search(before=99), False),
    ],
)
def test_search(search: Search, yes: bool) -> None:
    assert found(search) == (["t1"] if yes else [])


def test_the_newest_come_first() -> None:
    newer = msgspec.structs.replace(WEB, trace_id="t2", error=True)
    assert found(Search(), WEB, newer) == ["t2", "t1"]
    assert found(Search(failed=True), WEB, newer) == ["t2"]


def test_services_operations_and_calls() -> None:
    kept = store(WEB, API)
    assert kept.services() == ("api", "web")
    assert kept.operations("api") == (("GET /items", "server"),)
    assert kept.calls(0, 200) == {("web", "api"): 1}
    assert kept.calls(101, 200) == {}


def test_memory_is_bounded_and_failed_traces_stay_longer() -> None:
    kept = TraceStore()
    for number in range(TRACES_MAX + FAILED_MAX + 50):
        failed = number < FAILED_MAX + 10
        kept.add([msgspec.structs.replace(WEB, trace_id=str(number), error=failed)])
    assert kept.get(str(FAILED_MAX + 20)) is None, "old and good"
    assert kept.get(str(FAILED_MAX + 9)) is not None, "old and failed"
    assert kept.get("0") is None, "older than the failed ones that are kept"
    kept.add(msgspec.structs.replace(WEB, trace_id="big", span_id=str(n)) for n in range(600))
    big = kept.get("big")
    assert big is not None
    assert (len(big.spans), big.dropped) == (SPANS_MAX, 100)


def attribute(key: str, **value: Any) -> common_pb2.KeyValue:
    return common_pb2.KeyValue(key=key, value=common_pb2.AnyValue(**value))


def test_spans_of_otlp() -> None:
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(attribute("service.name", string_value="api"))
    for key in ("k8s.pod.name", "telemetry.sdk.name"):
        resource.resource.attributes.append(attribute(key, string_value="x"))
    listed = resource.instrumentation_library_spans.add().spans
    span = listed.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, name="x" * 5000, kind=2)
    span.start_time_unix_nano, span.end_time_unix_nano = 5_000_000_000, 5_250_000_000
    span.attributes.append(attribute("n", int_value=7))
    span.attributes.append(attribute("ok", bool_value=True))
    span.status.code = 2
    span.status.message = "boom"
    span.events.add(time_unix_nano=5_100_000_000, name="retry")
    listed.add(name="without ids")
    (made,) = spans(request)
    assert (made.trace_id, made.span_id, made.service) == ("01" * 16, "02" * 8, "api")
    assert (made.start, made.duration_ms, made.kind) == (5.0, 250.0, "server")
    assert (made.error, made.message, len(made.name)) == (True, "boom", TEXT_MAX)
    assert made.attributes == (("n", "7"), ("ok", "true"))
    assert made.resource == (("k8s.pod.name", "x"),)
    assert made.notes[0].name == "retry"


def test_a_trace_whose_beginning_is_missing_has_a_root() -> None:
    assert Trace("t1", {"b": API}).root == API
