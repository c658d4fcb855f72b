"""The server over a real gRPC connection, with a client that speaks delta xDS by hand."""

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from weft.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource
from weft.xds.server import METHOD, SERVICE, AdsServer, NackReport
from weft.xds.wire import MalformedRequest, decode_request


def res(
    type_url: str,
    name: str,
    text: str = "",
    uses: tuple[str, ...] = (),
    serving: frozenset[str] = frozenset(),
) -> Resource:
    return Resource(type_url, name, f"v{text}", f"{name}{text}".encode(), uses, serving)


class Client:
    """One stream to the server."""

    def __init__(self, target: str, node: str) -> None:
        self.channel = grpc.aio.insecure_channel(target)
        self.call = self.channel.stream_stream(f"/{SERVICE}/{METHOD}")()
        self.node = node

    async def say(self, type_url: str, **fields: object) -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)
        request.node.id = self.node
        await self.call.write(request.SerializeToString())

    async def read(self) -> discovery_pb2.DeltaDiscoveryResponse:
        data = await asyncio.wait_for(self.call.read(), 3)
        return discovery_pb2.DeltaDiscoveryResponse.FromString(data)

    async def silent(self) -> bool:
        """Nothing comes for a while."""
        waiting = asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait([waiting], timeout=0.15)
        self.pending = waiting
        return not done

    async def ack(self, response: discovery_pb2.DeltaDiscoveryResponse, error: str = "") -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=response.type_url, response_nonce=response.nonce
        )
        if error:
            request.error_detail.message = error
        await self.call.write(request.SerializeToString())

    async def close(self) -> None:
        self.call.cancel()
        await self.channel.close()


@pytest.fixture
async def served() -> AsyncIterator[tuple[AdsServer, str, list[NackReport]]]:
    nacks: list[NackReport] = []
    server = AdsServer(on_nack=nacks.append)
    with tempfile.TemporaryDirectory(prefix="wx", dir="/tmp") as directory:
        path = f"{directory}/xds.sock"
        await server.start(path)
        yield server, path, nacks
        await server.close()


async def test_only_the_owner_may_connect(served) -> None:
    _, path, _ = served
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_resources_arrive_whole_and_acknowledgements_count(served) -> None:
    server, path, _ = served
    server.update("n", [res(CLUSTER, "a"), res(CLUSTER, "b")])
    client = Client(f"unix:{path}", "n")
    await client.say(CLUSTER)
    response = await client.read()
    assert response.type_url == CLUSTER
    assert [(r.name, r.version, r.resource.value) for r in response.resources] == [
        ("a", "v", b"a"),
        ("b", "v", b"b"),
    ]
    assert {r.resource.type_url for r in response.resources} == {CLUSTER}
    assert server.acked_names("n", CLUSTER) == {}
    await client.ack(response)
    await asyncio.wait_for(server.wait(lambda s: bool(s.acked_names("n", CLUSTER))), 3)
    assert server.acked_names("n", CLUSTER) == {"a": "v", "b": "v"}
    await client.say(LISTENER)
    greeting = await client.read()
    assert (greeting.type_url, list(greeting.resources)) == (LISTENER, [])
    await client.ack(greeting)
    server.update("n", [res(CLUSTER, "b")])
    assert list((await client.read()).removed_resources) == ["a"]
    await client.close()
    await asyncio.wait_for(server.wait(lambda s: not s.connected("n")), 3)
    assert server.acked_names("n", CLUSTER) == {}


async def test_a_node_without_resources_is_not_told_to_empty_itself(served) -> None:
    server, path, _ = served
    client = Client(f"unix:{path}", "n")
    await client.say(CLUSTER, initial_resource_versions={"a": "old"})
    assert await client.silent()
    server.update("n", [res(CLUSTER, "a", "2")])
    response = discovery_pb2.DeltaDiscoveryResponse.FromString(
        await asyncio.wait_for(client.pending, 3)
    )
    assert [r.name for r in response.resources] == ["a"]
    await client.close()


async def test_bursts_are_taken_together(served) -> None:
    server, path, _ = served
    server.update("n", [])
    client = Client(f"unix:{path}", "n")
    await client.say(CLUSTER)
    await client.ack(await client.read())
    await asyncio.wait_for(server.wait(lambda s: s.connected("n")), 3)
    await asyncio.sleep(0.05)
    for count in range(1, 50):
        server.update("n", [res(CLUSTER, str(n)) for n in range(count)])
    first = await client.read()
    assert [r.name for r in first.resources] == ["0"], "the leading edge goes at once"
    await client.ack(first)
    second = await client.read()
    assert len(second.resources) == 48
    await client.close()


async def test_a_refusal_is_reported_until_it_is_mended(served) -> None:
    server, path, nacks = served
    server.update("n", [res(LISTENER, "x", "bad")])
    client = Client(f"unix:{path}", "n")
    await client.say(LISTENER)
    await client.ack(await client.read(), error="no such filter")
    await asyncio.wait_for(server.wait(lambda s: bool(s.nacks("n"))), 3)
    assert nacks == list(server.nacks("n"))
    assert (nacks[0].name, nacks[0].error) == ("x", "no such filter")
    server.update("n", [res(LISTENER, "x", "good")])
    await client.ack(await client.read())
    await asyncio.wait_for(server.wait(lambda s: not s.nacks("n")), 3)
    await client.close()


async def test_drain_and_readiness_follow_acknowledgements(served) -> None:
    server, path, _ = served
    ready = frozenset({"u1"})
    world = [
        res(CLUSTER, "web"),
        res(ENDPOINTS, "web", "1", serving=ready),
        res(LISTENER, "outbound|u1", uses=("80",)),
        res(LISTENER, "inbound|u1"),
        res(ROUTES, "80"),
    ]
    server.update("n", world)
    client = Client(f"unix:{path}", "n")
    assert not server.listeners_ready("n", "u1")
    await client.say(CLUSTER)
    clusters = await client.read()
    await client.say(ENDPOINTS, resource_names_subscribe=["web"])
    await client.ack(await client.read())
    await client.ack(clusters)
    await client.say(LISTENER)
    await client.ack(await client.read())
    await client.say(ROUTES, resource_names_subscribe=["80"])
    routes = await client.read()
    await asyncio.wait_for(server.wait(lambda s: len(s.acked_names("n", LISTENER)) == 2), 3)
    assert not server.listeners_ready("n", "u1"), "its routes are not acknowledged"
    await client.ack(routes)
    await asyncio.wait_for(server.wait(lambda s: s.listeners_ready("n", "u1")), 3)
    assert server.in_sync("n")
    assert server.convergence_seconds("n") is not None

    assert not server.endpoint_draining("u1")
    await asyncio.sleep(0.05)
    world[1] = res(ENDPOINTS, "web", "2")
    server.update("n", world)
    drained = await client.read()
    assert not server.endpoint_draining("u1"), "sent is not acknowledged"
    assert not server.in_sync("n")
    await client.ack(drained)
    await asyncio.wait_for(server.wait(lambda s: s.endpoint_draining("u1")), 3)

    assert not server.listeners_removed("n", "u1")
    await asyncio.sleep(0.05)
    server.update("n", [r for r in world if r.type_url != LISTENER])
    removal = await client.read()
    assert list(removal.removed_resources) == ["inbound|u1", "outbound|u1"]
    assert not server.listeners_removed("n", "u1")
    await client.ack(removal)
    await asyncio.wait_for(server.wait(lambda s: s.listeners_removed("n", "u1")), 3)
    await client.close()


async def test_a_forgotten_node_blocks_nothing_and_is_disconnected(served) -> None:
    server, path, _ = served
    server.update("n", [res(ENDPOINTS, "web", serving=frozenset({"u1"}))])
    client = Client(f"unix:{path}", "n")
    await client.say(CLUSTER)
    await client.read()
    assert not server.endpoint_draining("u1")
    server.forget("n")
    assert server.endpoint_draining("u1")
    assert await asyncio.wait_for(client.call.read(), 3) is grpc.aio.EOF
    await client.close()


async def test_nonsense_ends_its_stream_only(served) -> None:
    server, path, _ = served
    server.update("n", [])
    bad = Client(f"unix:{path}", "")
    await bad.say(CLUSTER)
    assert await asyncio.wait_for(bad.call.read(), 3) is grpc.aio.EOF
    good = Client(f"unix:{path}", "n")
    await good.say(CLUSTER)
    assert (await good.read()).type_url == CLUSTER
    await bad.close()
    await good.close()
    with pytest.raises(MalformedRequest):
        decode_request(b"\xff\xff")


async def test_tcp_and_addresses_that_cannot_be_opened(tmp_path: Path) -> None:
    server = AdsServer()
    port = await server.start(tcp_address="127.0.0.1:0")
    server.update("n", [])
    client = Client(f"127.0.0.1:{port}", "n")
    await client.say(CLUSTER)
    assert (await client.read()).type_url == CLUSTER
    await client.close()
    await server.close()
    with pytest.raises(OSError, match="cannot listen"):
        await AdsServer().start(str(tmp_path / "no" / "such" / "directory.sock"))
