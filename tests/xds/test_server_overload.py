"""Proxies that are slow, silent, or come in crowds: memory stays bounded, others notice nothing."""

import asyncio
import contextlib
import gc
import os
import signal
import time
import tracemalloc
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.xds.support import Proxy, free_port, run_async, table
from tests.xds.test_server import Client, res, served
from weft.mesh.model import (
    DirectResponse,
    GatewayListener,
    GatewayServer,
    HttpRoute,
    NodeSettings,
    VirtualHost,
)
from weft.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource
from weft.xds.server import COALESCE_SECONDS, EARLY_REQUESTS_MAX, AdsServer

__all__ = ["served"]

CLUSTERS = 50
UPDATES = 60
GROWTH_BYTES_MAX = 3 * 1024 * 1024
"""A world is 200 kB; of all that are offered it would be 12 MB."""
BODY_BYTES = 2_000
SECONDS_MAX = 40.0
"""For what takes a fraction of a second on a machine that is not busy."""
STORM_PROXIES = 100
STORM_ROUNDS = 3


def world(number: int) -> list[Resource]:
    """Everything differs from the world of another number."""
    body = str(number).encode() * (BODY_BYTES // len(str(number)))

    def made(type_url: str, name: str, uses: tuple[str, ...] = ()) -> Resource:
        return Resource(type_url, name, f"v{number}", body, uses)

    return [
        *(made(CLUSTER, f"c{n}") for n in range(CLUSTERS)),
        *(made(ENDPOINTS, f"c{n}") for n in range(CLUSTERS)),
        made(LISTENER, "out", ("80",)),
        made(ROUTES, "80"),
    ]


async def follow(client: Client, until: str) -> int:
    """Ask for the clusters, and acknowledge all that comes until a version of them is there; how
    many answers."""
    await client.say(CLUSTER)
    return await followed(client, until)


async def followed(client: Client, until: str) -> int:
    """The same, of who has asked already."""
    count = 0
    while True:
        answer = await client.read()
        await client.ack(answer)
        count += 1
        if any(resource.version == until for resource in answer.resources):
            return count


async def bounded(before: tracemalloc.Snapshot) -> None:
    """What was on its way when the last change was acknowledged is let go of soon: on a busy
    machine not at once."""
    until = time.monotonic() + SECONDS_MAX
    while True:
        gc.collect()
        found = tracemalloc.take_snapshot().compare_to(before, "filename")
        grown = sum(each.size_diff for each in found)
        if grown < GROWTH_BYTES_MAX:
            return
        assert time.monotonic() < until, f"{grown} bytes: {found[:5]}"
        await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
async def test_a_proxy_that_never_acknowledges(served, reads: bool) -> None:
    server, path, _ = served
    silent, good = (Client(f"unix:{path}", name) for name in ("silent", "good"))
    for name in ("silent", "good"):
        server.update(name, world(0))
    for type_url in (CLUSTER, LISTENER):
        await silent.say(type_url)
    if reads:
        await silent.read()
    assert await follow(good, "v0") == 1  # what comes at first is not growth
    following = asyncio.ensure_future(followed(good, f"v{UPDATES}"))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    for number in range(1, UPDATES + 1):
        for name in ("silent", "good"):
            server.update(name, world(number))
        await asyncio.sleep(COALESCE_SECONDS * 1.2 if number % 5 == 0 else 0)
    answers = await asyncio.wait_for(following, SECONDS_MAX)
    try:
        await bounded(before)
    finally:
        tracemalloc.stop()
    assert answers < UPDATES, "changes were not merged"
    assert not server.in_sync("silent")
    assert server.acked_names("silent", CLUSTER) == {}
    await silent.close()
    await good.close()


async def test_what_is_not_answered_for_is_named(served) -> None:
    server, path, _ = served
    assert server.unanswered("n") == ("its proxy is not connected",)
    server.update("n", world(0))
    client = Client(f"unix:{path}", "n")
    await client.say(CLUSTER)
    answer = await client.read()
    first, *_ = server.unanswered("n")
    assert first == "Cluster c0"
    await client.ack(answer)
    await client.say(LISTENER)
    await client.ack(await client.read())
    async with asyncio.timeout(SECONDS_MAX):
        await server.wait(
            lambda s: (s.answered("n"), s.unanswered("n")) == (0, ("RouteConfiguration 80",))
        )
    await client.close()


async def test_proxies_of_unknown_nodes_leave_nothing_behind(served) -> None:
    server, path, _ = served
    client = Client(f"unix:{path}", "nobody")
    await client.say(CLUSTER)
    async with asyncio.timeout(3):
        await server.wait(lambda s: s.connected("nobody"))
    with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):  # once it is disconnected
        for _ in range(EARLY_REQUESTS_MAX + 8):
            await client.say(CLUSTER)
    async with asyncio.timeout(3):
        await server.wait(lambda s: "nobody" not in s.nodes())
    await client.close()


async def test_reconnect_storm(served) -> None:
    """All proxies reconnect at once, again and again; one that stays gets its changes in time."""
    server, path, _ = served
    names = [f"n{n}" for n in range(STORM_PROXIES)]
    resources = world(0)
    versions = {r.name: r.version for r in resources if r.type_url == CLUSTER}
    for name in (*names, "steady"):
        server.update(name, resources)
    steady = Client(f"unix:{path}", "steady")
    await steady.say(CLUSTER)
    await steady.ack(await steady.read())

    async def come_and_go(name: str) -> None:
        client = Client(f"unix:{path}", name)
        await client.say(CLUSTER, initial_resource_versions=versions)
        await client.say(LISTENER)
        answer = await client.read()  # nothing of what it has is sent again
        assert answer.type_url == LISTENER
        await client.close()

    taken = []
    for number in range(1, STORM_ROUNDS + 1):
        storm = asyncio.gather(*map(come_and_go, names))
        await asyncio.sleep(0.01)
        started = time.monotonic()
        server.update("steady", [*world(0), res(CLUSTER, "new", str(number))])
        found = False
        while not found:
            answer = await steady.read()
            await steady.ack(answer)
            found = any(resource.name == "new" for resource in answer.resources)
        taken.append(time.monotonic() - started)
        await storm
    async with asyncio.timeout(5):
        await server.wait(lambda s: not any(map(s.connected, names)))
    assert server.connected("steady")
    assert min(taken) < 2.0, taken
    await steady.close()


class Pair:
    """Two nodes' Envoys of one control plane."""

    def __init__(self) -> None:
        self.proxies = []
        for name in ("stopped", "working"):
            ports = ((80, free_port()),)
            self.proxies.append(Proxy(NodeSettings(name, isolation="host", gateway_ports=ports)))
        self.stopped, self.working = self.proxies

    async def start(self) -> None:
        await self.stopped.start_server()
        self.working.server = self.stopped.server
        os.symlink(self.stopped.directory / "xds.sock", self.working.directory / "xds.sock")
        for proxy in self.proxies:
            proxy.start_envoy()

    async def close(self) -> None:
        for proxy in self.proxies:
            await proxy.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    try:
        await pair.start()
        yield pair
    finally:
        await pair.close()


def answering(number: int) -> dict[str, object]:
    """A gateway that answers with a number, and hosts enough for tables of some size."""
    gateway = GatewayListener(80, "http", (GatewayServer("default/edge/0", ("*",), "http.80"),))
    said = HttpRoute("r", direct_response=DirectResponse(200, str(number)))
    hosts = [VirtualHost(f"r{n}:80", (f"r{n}.example.com",), (said,)) for n in range(100)]
    return {
        "gateways": (gateway,),
        "route_tables": (table(*hosts, name="http.80", passthrough=False),),
    }


@pytest.mark.slow
@pytest.mark.tools("curl")
async def test_an_envoy_that_is_stopped(pair: Pair) -> None:
    server: AdsServer = pair.stopped.server
    for proxy in pair.proxies:
        await proxy.apply(**answering(0))
    assert pair.stopped.envoy is not None
    os.kill(pair.stopped.envoy.pid, signal.SIGSTOP)
    try:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        for number in range(1, UPDATES + 1):
            pair.stopped.offer(**answering(number))
            if number % 20:
                pair.working.offer(**answering(number))
            else:
                await pair.working.apply(**answering(number))
        gc.collect()
        grown = sum(s.size_diff for s in tracemalloc.take_snapshot().compare_to(before, "filename"))
        tracemalloc.stop()
        assert await answer_of(pair.working) == str(UPDATES)
        assert not server.in_sync("stopped")
    finally:
        os.kill(pair.stopped.envoy.pid, signal.SIGCONT)
    await pair.stopped.until(lambda s: s.in_sync("stopped"))
    assert await answer_of(pair.stopped) == str(UPDATES)
    assert grown < GROWTH_BYTES_MAX
    assert set(server.acked_names("stopped", LISTENER)) == {"gateway|80"}


async def answer_of(proxy: Proxy) -> str:
    port = proxy.node.gateway_ports[0][1]
    return await run_async(
        "curl", "-s", "-m", "5", "-H", "host: r1.example.com", f"http://127.0.0.1:{port}/"
    )
