"""What a node's proxy and its relay are given, and when; both are streams to a real server."""

import asyncio
import tempfile
from collections.abc import AsyncIterator

import pytest
from envoy.config.listener.v3 import listener_pb2

from tests.xds.test_server import Client
from weft.daemon.relay_feed import RelayFeed
from weft.lib.aio import Tasks
from weft.xds.proto import resource, socket_address
from weft.xds.relay import API, EGRESS, RelaySettings
from weft.xds.resource import CLUSTER, LISTENER, Resource
from weft.xds.server import AdsServer, relay_of

OWN = {EGRESS, API}


def gateway(port: int) -> Resource:
    name = f"gateway|{port}"
    content = listener_pb2.Listener(name=name, address=socket_address("127.0.0.1", port))
    return resource(LISTENER, name, content)


class Answering:
    """A proxy that acknowledges what it gets, except for listeners that it refuses."""

    def __init__(self, path: str, node: str) -> None:
        self.client = Client(f"unix:{path}", node)
        self.listeners: set[str] = set()
        self.refuses = ""
        self.held: asyncio.Event | None = None
        """While it is not set, the proxy answers for no listener."""
        self.tasks = Tasks()
        self.tasks.spawn(self._run(), node)

    async def _run(self) -> None:
        await self.client.say(CLUSTER)
        await self.client.say(LISTENER)
        while True:
            response = await asyncio.wait_for(self.client.read(), 30)
            names = {r.name for r in response.resources}
            error = ""
            if response.type_url == LISTENER:
                if self.held is not None:
                    await self.held.wait()
                error = f"Error adding/updating listener(s) {self.refuses}: taken"
                error = error if self.refuses in names and self.refuses else ""
                self.listeners |= names - {self.refuses}
                self.listeners -= set(response.removed_resources)
            await self.client.ack(response, error)

    async def close(self) -> None:
        await self.tasks.close()
        await self.client.close()


class Node:
    def __init__(self, ads: AdsServer, path: str) -> None:
        self.ads, self.path = ads, path
        self.feed = RelayFeed(ads, "n", RelaySettings("/run/r", 6443))
        self.tasks = Tasks()
        self.tasks.spawn(self.feed.run(), "feed")
        self.proxies: list[Answering] = []

    def connect(self, name: str) -> Answering:
        proxy = Answering(self.path, name)
        self.proxies.append(proxy)
        return proxy

    async def until(self, condition) -> None:
        await asyncio.wait_for(self.ads.wait(lambda _: condition()), 10)

    async def close(self) -> None:
        await self.tasks.close()
        for proxy in self.proxies:
            await proxy.close()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    ads = AdsServer()
    with tempfile.TemporaryDirectory(prefix="wx", dir="/tmp") as directory:
        await ads.start(f"{directory}/xds.sock")
        found = Node(ads, f"{directory}/xds.sock")
        yield found
        await found.close()
        await ads.close()


async def test_the_relay_announces_what_the_proxy_listens_for(node: Node) -> None:
    node.feed.offer([gateway(80)], 1)
    relay = node.connect(relay_of("n"))
    await node.until(lambda: node.ads.connected(relay_of("n")))
    proxy = node.connect("n")
    proxy.held = asyncio.Event()
    await node.until(lambda: bool(node.ads.acked_names("n", CLUSTER)))
    # One that runs from before keeps what it has until the proxy has answered.
    assert (relay.listeners, node.ads.answered("n")) == (set(), 0)
    proxy.held.set()
    await node.until(lambda: node.ads.answered("n") == 1)
    assert relay.listeners == proxy.listeners == {"gateway|80", *OWN}

    # A new one waits for the proxy, one that goes does not.
    proxy.held.clear()
    node.feed.offer([gateway(443)], 2)
    await node.until(lambda: "gateway|80" not in node.ads.acked_names(relay_of("n"), LISTENER))
    assert relay.listeners == OWN
    assert node.ads.answered("n") == 1
    proxy.held.set()
    await node.until(lambda: node.ads.answered("n") == 2)
    assert relay.listeners == proxy.listeners == {"gateway|443", *OWN}


async def test_what_the_proxy_refuses_is_not_announced_and_holds_nothing_up(node: Node) -> None:
    relay, proxy = node.connect(relay_of("n")), node.connect("n")
    proxy.refuses = "gateway|80"
    node.feed.offer([gateway(80), gateway(81)], 1)
    await node.until(lambda: node.ads.answered("n") == 1)
    assert relay.listeners == {"gateway|81", *OWN}
    assert {r.name for r in node.ads.nacks("n")} == {"gateway|80"}
    # It is offered again by itself, and announced once it is accepted.
    proxy.refuses = ""
    await node.until(lambda: "gateway|80" in node.ads.acked_names(relay_of("n"), LISTENER))
    assert node.ads.nacks("n") == ()


async def test_a_relay_that_cannot_have_an_address_says_so_for_the_node(node: Node) -> None:
    relay, proxy = node.connect(relay_of("n")), node.connect("n")
    relay.refuses = "gateway|80"
    node.feed.offer([gateway(80)], 7)
    await node.until(lambda: node.ads.answered("n") == 7)
    (report,) = node.ads.nacks("n")
    assert (report.name, report.node) == ("gateway|80", "n|relay")
    assert "gateway|80" in proxy.listeners
    states = {n: node.ads.resource_state("n", LISTENER, n) for n in ("gateway|80", EGRESS)}
    assert states == {"gateway|80": "refused", EGRESS: "acknowledged"}
    assert node.ads.nodes() == ("n",)
    relay.refuses = ""
    await node.until(lambda: not node.ads.nacks("n"))
