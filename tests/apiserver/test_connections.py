"""Clients that send their requests slowly, before anybody knows who they are."""

import asyncio
import ssl
import time

import pytest

from tests.apiserver.serving import TOKEN, Running
from weft.apiserver import connections

HEAD = f"GET /api HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


async def connect(live: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    trust = ssl.create_default_context(cafile=str(live.home / "ca.pem"))
    return await asyncio.open_connection("127.0.0.1", live.server.port, ssl=trust)


async def answered(reader: asyncio.StreamReader) -> bytes:
    """One whole answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return head


@pytest.mark.parametrize("first", [b"", b"GET /api HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_is_408(
    live: Running, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.3)
    reader, writer = await connect(live)
    begun = time.monotonic()
    writer.write(first)
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begun >= 0.29
    writer.close()


async def test_a_byte_now_and_then_does_not_help(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not on a connection that carried a request before."""
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.3)
    reader, writer = await connect(live)
    async with asyncio.timeout(10):
        for _ in range(2):
            writer.write(HEAD)
            assert (await answered(reader)).startswith(b"HTTP/1.1 200 ")
        end = asyncio.ensure_future(reader.read())
        writer.write(b"GET /api HTTP/1.1\r\nX-A: ")
        sent = 0
        while not end.done():
            writer.write(b"a")
            sent += 1
            await asyncio.sleep(0.02)
    assert end.result().startswith(b"HTTP/1.1 408 ")
    assert sent > 5
    writer.close()


async def test_long_answers_and_pauses_between_requests_are_not_cut(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.2)
    reader, writer = await connect(live)
    async with asyncio.timeout(10):
        watch = b"/api/v1/namespaces?watch=1&timeoutSeconds=1"
        writer.write(HEAD.replace(b"/api", watch, 1))
        begun = time.monotonic()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b"\r\n0\r\n\r\n")
        assert time.monotonic() - begun > 0.9
        await asyncio.sleep(0.3)
        writer.write(HEAD)
        assert (await answered(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_others_are_served_meanwhile(live: Running) -> None:
    slow = [await connect(live) for _ in range(50)]
    for _, writer in slow:
        writer.write(b"GET /api")
    async with asyncio.timeout(5):
        assert (await live.json("GET", "/api"))[0] == 200
    for _, writer in slow:
        writer.transport.abort()


async def test_an_idle_connection_ends(live: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for protocol in live.server._runner.server.connections:  # type: ignore[union-attr]
        assert protocol.keepalive_timeout == connections.IDLE_SECONDS_MAX
    reader, writer = await connect(live)
    writer.write(HEAD)
    await answered(reader)
    (found,) = live.server._runner.server.connections  # type: ignore[union-attr]
    assert found.keepalive_timeout == connections.IDLE_SECONDS_MAX == 90
    writer.close()
