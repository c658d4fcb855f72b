"""Spans of applications: taken from pods over HTTP and gRPC, and sent on to another collector."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

APP = "app.example"
TRACE = "5b8efff798038103d269b633813fc60c"
SENDS = """
    import os, time
    import aiohttp

    def span(number, **more):
        now = time.time_ns()
        return {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": f"{number:016x}",
                "name": f"work {number}", "kind": 1, "startTimeUnixNano": str(now),
                "endTimeUnixNano": str(now + 5_000_000), **more}

    async def main():
        service = {"key": "service.name", "value": {"stringValue": os.environ["OTEL_SERVICE_NAME"]}}
        pairs = os.environ["OTEL_RESOURCE_ATTRIBUTES"].split(",")
        more = [{"key": k, "value": {"stringValue": v}} for k, v in (p.split("=") for p in pairs)]
        spans = [span(1), span(2, parentSpanId=f"{1:016x}", status={"code": 2, "message": "full"})]
        body = {"resourceSpans": [{"resource": {"attributes": [service, *more]},
                                   "scopeSpans": [{"spans": spans}]}]}
        url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
        async with aiohttp.ClientSession() as session:
            async with session.post(url, json=body) as answer:
                taken = answer.status
            async with session.post(url, data=b"\\xff" * 100, headers={"Content-Type":
                                    "application/x-protobuf"}) as answer:
                broken = answer.status
            async with session.post(url, data=b"text") as answer:
                unknown = answer.status
        return [taken, broken, unknown, os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"]]
"""
GRPC = """
    import os, grpc

    async def main():
        host = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"].removeprefix("http://").split(":")[0]
        async with grpc.aio.insecure_channel(f"{host}:4317") as channel:
            call = channel.unary_unary(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            return (await call(bytes.fromhex("BATCH"))).hex()
"""


async def collector(taken: list[Any], headers: list[str]) -> tuple[web.AppRunner, int]:
    """Another collector: keeps the names of spans; refuses the first batch for a moment."""

    async def take(request: web.Request) -> web.Response:
        headers.append(request.headers.get("x-key", ""))
        if len(headers) == 1:
            return web.Response(status=503)
        batch = trace_service_pb2.ExportTraceServiceRequest.FromString(await request.read())
        for resource in batch.resource_spans:
            for scope in resource.instrumentation_library_spans:
                taken.extend(span.name for span in scope.spans)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


async def test_spans_of_applications_are_taken_shown_and_sent_on(
    stopped: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []
    headers: list[str] = []
    other, port = await collector(taken, headers)
    monkeypatch.setenv("WEFT_OTLP_HEADERS", "x-key=secret-of-the-vendor")
    try:
        await asyncio.to_thread(used, stopped, port)
        wanted = {"work 1", "work 2"}
        await asyncio.to_thread(wait_for, lambda: wanted <= set(taken), "them there", 20)
        assert set(headers) == {"secret-of-the-vendor"}
        command = Path(f"/proc/{stopped.running.pid}/cmdline").read_bytes()
        assert b"secret-of-the-vendor" not in command
    finally:
        await other.cleanup()


def used(weft: Instance, port: int) -> None:
    start = ("up", "--detach", "--port", "0", "--isolation", weft.isolation)
    weft.weft(*start, "--trace-export", f"http://127.0.0.1:{port}", "--outbound-traffic-policy",
              "REGISTRY_ONLY")  # fmt: skip
    text = m.echo("app") + "---" + m.service("app") + m.gateway("front", "*.example")
    weft.weft("apply", "-f", "-", stdin=text + m.routes("app-front", m.to("app"), APP, "front"))
    wait_for(lambda: ask(weft, "/who", APP)[0] == 200, "the app answers")
    assert run_inside(weft, APP, SENDS) == [200, 400, 415, "http/protobuf"]
    shown = weft.weft("trace", TRACE)
    assert "app.default v1: work 1" in shown
    assert "full" in shown
    if os.geteuid() == 0:  # else another program may have OpenTelemetry's port
        request = trace_service_pb2.ExportTraceServiceRequest()
        span = request.resource_spans.add().instrumentation_library_spans.add().spans.add()
        span.name, span.start_time_unix_nano = "over gRPC", 1_700_000_000_000_000_000
        span.trace_id, span.span_id = bytes.fromhex(TRACE), b"12345678"
        batch = request.SerializeToString().hex()
        assert run_inside(weft, APP, GRPC.replace("BATCH", batch)) == ""
        assert "over gRPC" in weft.weft("trace", TRACE)
    _, metrics = weft.api("/metrics")
    assert b'weft_trace_export_batches_total{outcome="sent"}' in metrics
    _, listed = weft.api("/weft/v1/jaeger/api/services")
    assert "app.default" in json.loads(listed)["data"]
    wanted = {"k8s.namespace.name": "default", "service.version": "v1", "weft.workload": "app-v1"}
    for query in ({"service": "app.default"}, {"tags": '{"weft.workload":"app-v1"}'}):
        _, found = weft.api(f"/weft/v1/jaeger/api/traces?{urlencode(query)}")
        (trace,) = (t for t in json.loads(found)["data"] if t["traceID"] == TRACE)
        makers = trace["processes"].values()
        (tags,) = (each["tags"] for each in makers if each["serviceName"] == "app.default")
        told = {tag["key"]: tag["value"] for tag in tags}
        assert wanted.items() <= told.items()
        assert told["k8s.pod.name"].startswith("app-v1-")
    assert TRACE in weft.weft("trace", "--service", "app")
