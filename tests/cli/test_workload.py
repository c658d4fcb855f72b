"""Probes of machines that weft does not run, against real servers and commands."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from weft.api.istio.networking_v1 import WorkloadGroup
from weft.api.objects import decode
from weft.cli.workload import Member, OwnMachine
from weft.node.probes import Prober

ENTRY = {"metadata": {"name": "m", "namespace": "default"}, "spec": {"address": "127.0.0.1"}}


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    made = Prober(cast(Any, OwnMachine()))
    yield made
    await made.close()


async def ask(prober: Prober, **probe: Any) -> str:
    """Why the machine is not healthy; empty when it is."""
    spec = {"template": {}, "probe": {"timeoutSeconds": 2, **probe}}
    group = decode(WorkloadGroup, {"metadata": {"name": "g"}, "spec": spec})
    assert group.spec.probe is not None
    return await Member(cast(Any, None), group, ENTRY, 1.0)._ask(prober, group.spec.probe)


async def test_tcp(prober: Prober) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await ask(prober, tcpSocket={"port": port}) == ""
    server.close()
    await server.wait_closed()
    assert "refused" in (await ask(prober, tcpSocket={"port": port})).lower()


async def test_grpc(prober: Prober) -> None:
    server = grpc.aio.server()
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("shop.Cart", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert await ask(prober, grpc={"port": port}) == ""
    assert "NOT_SERVING" in await ask(prober, grpc={"port": port, "service": "shop.Cart"})
    await server.stop(0)
    assert await ask(prober, grpc={"port": port}) != ""


async def test_commands(prober: Prober) -> None:
    run = [sys.executable, "-S", "-c"]
    assert await ask(prober, exec={"command": [*run, "print('well')"]}) == ""
    said = await ask(prober, exec={"command": [*run, "import sys; sys.exit('disk is full')"]})
    assert "disk is full" in said
    slow = [*run, "import time; time.sleep(60)"]
    assert "time" in (await ask(prober, timeoutSeconds=1, exec={"command": slow})).lower()
    assert await ask(prober, exec={"command": ["/nowhere/to/be/found"]}) != ""
