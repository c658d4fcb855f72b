"""A table grows until it is divided, is changed, and shrinks, while a real Envoy serves it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.xds.support import service, table, to
from tests.xds.test_server_host import HostNode
from weft.mesh.model import Destination, GatewayListener, GatewayServer, RouteTable, VirtualHost
from weft.xds.resource import SCOPES
from weft.xds.scoped_routes import SCOPE_HEADER, SCOPED_HOSTS_MIN, WHOLE_HOSTS_MAX

pytestmark = [pytest.mark.slow, pytest.mark.tools("curl")]

TABLE = "http.80"
GATEWAY = GatewayListener(80, "http", (GatewayServer("default/edge/0", ("*",), TABLE),))


@pytest.fixture
async def node() -> AsyncIterator[HostNode]:
    node = HostNode()
    try:
        await node.start_server()
        node.start_envoy()
        yield node
    finally:
        await node.close()


def routes(hosts: int, target: Destination, **others: Destination) -> RouteTable:
    """`r0.example.com` and so on, and one for all of `*.example.org`; `others` by name."""
    made = [host(f"r{n}.example.com", others.get(f"r{n}", target)) for n in range(hosts)]
    return table(*made, host("*.example.org", target), name=TABLE, passthrough=False)


def host(domain: str, target: Destination) -> VirtualHost:
    return VirtualHost(f"{domain}:80", (domain,), (to(target),))


class Callers:
    """Ask for hosts all the time, over connections that stay; count what is not answered."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self.answered = self.failed = 0

    async def run(self, name: str) -> None:
        async with ClientSession(timeout=ClientTimeout(total=5)) as session:
            while True:
                try:
                    async with session.get(self._url, headers={"host": name}) as answer:
                        good = answer.status == 200
                except (ClientError, TimeoutError):
                    good = False
                self.answered += good
                self.failed += not good
                await asyncio.sleep(0.002)


async def test_a_table_is_divided_and_whole_again_under_traffic(node: HostNode) -> None:
    one, two = [service(name, (await node.serve(name),)) for name in ("one", "two")]
    few, many = WHOLE_HOSTS_MAX - 30, SCOPED_HOSTS_MIN
    base = {"destinations": (one, two), "gateways": (GATEWAY,)}
    await node.apply(**base, route_tables=(routes(few, one),))
    url = f"http://127.0.0.1:{node.http_port}/"

    async def answer(name: str) -> dict[str, object]:
        return await node.call("-H", f"host: {name}", "-H", f"{SCOPE_HEADER}: http.80/9", url)

    assert (await answer("r7.example.com"))["name"] == "one"
    callers = Callers(node.http_port)
    tasks = [
        asyncio.ensure_future(callers.run(name))
        for name in ("r5.example.com", "R6.Example.com:80", "x.example.org")
    ]
    await node.apply(route_tables=(routes(many, one),))
    assert node.server.acked_names(node.node.name, SCOPES)
    for changed in (two, one, two):
        await node.apply(route_tables=(routes(many, one, r7=changed),))
        found = await answer("r7.example.com")
        assert found["name"] == changed.service
        assert SCOPE_HEADER not in found["headers"]  # type: ignore[operator]
    assert (await answer("R8.example.com.:80"))["name"] == "one"
    assert (await answer("any.example.org"))["name"] == "one"
    status = ("-o", "/dev/null", "-w", "%{http_code}")
    assert await node.curl(*status, "-H", "host: unknown.example.com", url) == "404"
    await node.apply(route_tables=(routes(few, two),))
    assert (await answer("r7.example.com"))["name"] == "two"
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    assert callers.answered > 50
    assert callers.failed == 0
