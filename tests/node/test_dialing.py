"""Sockets in another network than this process', as a node in a user namespace needs them."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from weft.node.dialing import HERE, Dialer
from weft.node.linux import inside, netlink

pytestmark = pytest.mark.root
ADDRESS = "127.0.0.1"


@pytest.fixture
def dialer(tmp_path: Path) -> Iterator[Dialer]:
    """Of a network in which loopback is up."""
    path = str(tmp_path / "network")
    space = netlink.new_namespace(path, {})
    space.route.talk(space.route.link_up(netlink.LOOPBACK_INDEX))
    space.close()
    try:
        yield Dialer(path, "127.0.0.0/8")
    finally:
        netlink.delete_namespace(path)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(5))
    writer.close()


async def test_what_is_there_is_dialled_there(dialer: Dialer) -> None:
    listener = await dialer.bound_socket(socket.SOCK_STREAM, ADDRESS, 0)
    port = listener.getsockname()[1]
    server = await asyncio.start_server(echo, sock=listener)
    reader, writer = await dialer.open_connection(ADDRESS, port)
    writer.write(b"hello")
    assert await reader.read() == b"hello"
    writer.close()
    with pytest.raises(OSError, match="onnect"):
        await HERE.open_connection(ADDRESS, port)
    server.close()


async def test_a_target_for_grpc_leads_there(dialer: Dialer) -> None:
    listener = await dialer.bound_socket(socket.SOCK_STREAM, ADDRESS, 0)
    port = listener.getsockname()[1]
    server = await asyncio.start_server(echo, sock=listener)
    async with dialer.target(ADDRESS, port) as target:
        path = target.removeprefix("unix:")
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello")
        assert await reader.read() == b"hello"
        writer.close()
    assert not Path(path).exists()
    async with HERE.target(ADDRESS, port) as target:
        assert target == f"{ADDRESS}:{port}"
    server.close()


async def test_http_clients_dial_there(dialer: Dialer) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="inside")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = await dialer.bound_socket(socket.SOCK_STREAM, ADDRESS, 0)
    port = listener.getsockname()[1]
    await web.SockSite(runner, listener).start()
    connector = aiohttp.TCPConnector(socket_factory=dialer.socket_factory)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://{ADDRESS}:{port}/") as found,
    ):
        assert await found.text() == "inside"
    await runner.cleanup()


def test_only_what_is_there_is_there() -> None:
    dialer = Dialer("/some/network", "10.244.0.0/24")
    assert dialer.is_there("10.244.0.7")
    assert not dialer.is_there("10.244.1.7")
    assert not dialer.is_there("example.com")
    assert not HERE.is_there("10.244.0.7")
    assert HERE.socket_factory is None


def test_a_socket_that_cannot_be_bound_says_so() -> None:
    with pytest.raises(OSError, match="assign"):
        inside.bound_socket(socket.SOCK_STREAM, "203.0.113.1", 0, "")
