"""Providers of metrics: real HTTP servers, the mesh's counts."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.controllers.simulate import make
from weft.api.argo.analysis import Metric, MetricProvider, PrometheusMetric, WebMetric
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.snapshot import ObjectSnapshot
from weft.api.wellknown import LABEL_SERVICE_NAME
from weft.controllers.analysis_runs import Answer
from weft.daemon.measuring import Measurer, located, signals_of
from weft.lib.aio import now
from weft.telemetry.traffic import BUCKETS, Counts, Traffic


def asked(metric: Any, handler: Any) -> Answer:
    """The answer to one question of a server on a Service's port 80; `{at}` is its name."""

    async def work() -> Answer:
        app = web.Application()
        app.add_routes([web.route("*", "/{tail:.*}", handler)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        service = make(Service, {"spec": {"ports": [{"name": "http", "port": 80}]}},
                       name="prom", namespace="monitoring", uid="s")  # fmt: skip
        slice_ = make(
            EndpointSlice,
            {"ports": [{"name": "http", "port": port}],
             "endpoints": [{"addresses": ["127.0.0.1"]}]},
            name="prom-1", namespace="monitoring", labels={LABEL_SERVICE_NAME: "prom"},
        )  # fmt: skip
        measurer = Measurer(ObjectSnapshot([service, slice_]), Traffic(now()))
        try:
            return await measurer.ask(Metric(provider=metric), "default")
        finally:
            await measurer.close()
            await runner.cleanup()

    return asyncio.run(work())


PROMETHEUS = MetricProvider(prometheus=PrometheusMetric("http://prom.monitoring", "up > 0"))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"resultType": "vector", "result": [{"value": [0, "0.5"]}, {"value": [0, "2"]}]},
         [0.5, 2.0]),
        ({"resultType": "scalar", "result": [0, "7"]}, 7.0),
        ({"resultType": "vector", "result": []}, []),
    ],
)  # fmt: skip
def test_prometheus(data: Any, wanted: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert (request.path, request.query["query"]) == ("/api/v1/query", "up > 0")
        assert request.headers["Host"] == "prom.monitoring"
        return web.json_response({"status": "success", "data": data})

    assert asked(PROMETHEUS, answer).value == wanted


def test_what_prometheus_refuses_is_said() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"status": "error", "error": "parse error"}, status=400)

    assert "parse error" in asked(PROMETHEUS, answer).error


def test_web() -> None:
    metric = WebMetric(
        method="POST", url="http://prom.monitoring.svc.cluster.local/check",
        json_path="{$.data.ok}", json_body={"a": 1},
    )  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        assert await request.json() == {"a": 1}
        return web.json_response({"data": {"ok": 0.97}})

    assert asked(MetricProvider(web=metric), answer).value == 0.97

    async def bad(_: web.Request) -> web.Response:
        return web.Response(status=500)

    assert "500" in asked(MetricProvider(web=metric), bad).error


def test_places() -> None:
    empty = ObjectSnapshot()
    assert located(empty, "http://example.org/x", "n").url == "http://example.org/x"
    service = make(Service, {"spec": {"ports": [{"port": 80}]}}, name="s", namespace="n", uid="s")
    with pytest.raises(Exception, match="link-local"):
        located(empty, "http://169.254.169.254/latest", "n")
    for url, said in (("http://s:81/", "no port 81"), ("http://s/", "no ready endpoints")):
        with pytest.raises(Exception, match=said):
            located(ObjectSnapshot([service]), url, "n")


def test_signals() -> None:
    buckets = [0.0] * BUCKETS
    buckets[3] = 10
    found = signals_of(Counts(requests=10, errors=1, buckets=tuple(buckets)), 5)
    assert (found["errorPercent"], found["requestRate"]) == (10.0, 2.0)
    assert 5 < found["p99Ms"] <= 10
    assert signals_of(Counts(), 5)["errorPercent"] == 0.0
