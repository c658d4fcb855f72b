"""Probes against real servers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from tests.node.fakes import FakeRuntime
from weft.api.k8s.container_v1 import Container, LifecycleHandler, Probe
from weft.api.objects import decode
from weft.node.probes import Address, Prober
from weft.node.runtime import ExecResult

CONTAINER = decode(
    Container,
    {"name": "web", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]},
)


class Bench:
    def __init__(self) -> None:
        self.runtime = FakeRuntime()
        self.prober = Prober(self.runtime)
        self.headers: dict[str, str] = {}
        self.port = 0

    async def probe(self, ports: dict[int, int] | None = None, **body: Any) -> str:
        at = Address("127.0.0.1", ports if ports is not None else {8080: self.port})
        return await self.prober.probe(decode(Probe, body), CONTAINER, "id", at)

    async def serve(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        if request.path == "/slow":
            await asyncio.sleep(5)
        if request.path == "/moved":
            raise web.HTTPFound("/bad")
        if request.path == "/away":
            raise web.HTTPFound("http://elsewhere.invalid/")
        return web.Response(status=500 if request.path == "/bad" else 204)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    runner = web.ServerRunner(web.Server(made.serve), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await made.prober.close()
    await runner.cleanup()


async def test_http(bench: Bench) -> None:
    header = [{"name": "X-Probe", "value": "1"}]
    assert await bench.probe(httpGet={"path": "/", "port": "http", "httpHeaders": header}) == ""
    assert bench.headers["X-Probe"] == "1"
    assert bench.headers["User-Agent"].startswith("kube-probe/")
    failed = "HTTP probe failed with statuscode: 500"
    assert await bench.probe(httpGet={"path": "/bad", "port": 8080}) == failed
    assert await bench.probe(httpGet={"path": "/moved", "port": 8080}) == failed
    assert await bench.probe(httpGet={"path": "/away", "port": 8080}) == ""
    assert "none of the container's ports" in await bench.probe(httpGet={"port": "nope"})


@pytest.mark.slow
async def test_http_has_a_timeout(bench: Bench) -> None:
    slow = await bench.probe(httpGet={"path": "/slow", "port": 8080}, timeoutSeconds=1)
    assert "context deadline exceeded" in slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_tcp_and_listening(bench: Bench) -> None:
    assert await bench.probe(tcpSocket={"port": 8080}) == ""
    closed = free_port()
    refused = await bench.probe({8080: closed}, tcpSocket={"port": 8080})
    assert refused == f"dial tcp 127.0.0.1:{closed}: connect: connection refused"
    both = Address("127.0.0.1", {8080: bench.port, 9090: bench.port})
    assert await bench.prober.listening(CONTAINER, both) == ""
    one = Address("127.0.0.1", {8080: bench.port, 9090: closed})
    assert "refused" in await bench.prober.listening(CONTAINER, one)


async def test_exec(bench: Bench) -> None:
    assert await bench.probe(exec={"command": ["true"]}) == ""
    bench.runtime.exec_result = ExecResult(1, b"cat: /tmp/healthy: No such file\n")
    failed = await bench.probe(exec={"command": ["cat", "/tmp/healthy"]})
    assert failed == "cat: /tmp/healthy: No such file"


async def test_grpc_health(bench: Bench) -> None:
    server = grpc.aio.server()
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    status = health_pb2.HealthCheckResponse
    await servicer.set("shop.Cart", status.NOT_SERVING)
    ports = {9090: port}
    assert await bench.probe(ports, grpc={"port": 9090}) == ""
    down = await bench.probe(ports, grpc={"port": 9090, "service": "shop.Cart"})
    assert down == 'service unhealthy (responded with "NOT_SERVING")'
    assert "NOT_FOUND" in await bench.probe(ports, grpc={"port": 9090, "service": "nope"})
    await server.stop(0)
    assert "UNAVAILABLE" in await bench.probe(ports, grpc={"port": 9090})


async def test_hooks(bench: Bench) -> None:
    at = Address("127.0.0.1", {8080: bench.port})

    async def hook(**body: Any) -> str:
        made = decode(LifecycleHandler, body)
        return await bench.prober.hook(made, CONTAINER, "id", at, 5.0)

    assert await hook(httpGet={"path": "/", "port": 8080}) == ""
    assert await hook(exec={"command": ["true"]}) == ""
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await hook(sleep={"seconds": 0}) == ""
    assert loop.time() - started < 4
