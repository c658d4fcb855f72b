"""A client that hangs up is noticed although nobody reads what it sent."""

import asyncio

import pytest

from weft.apiserver import hangup


async def test_the_block_ends_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hangup, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(hangup, "GRACE_SECONDS", 0.01)
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            async with hangup.ends_with(writer.transport):
                await asyncio.sleep(30)
        except ConnectionResetError as error:
            ended.set_result(str(error))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 20_000)
        await asyncio.sleep(0.05)
        assert not ended.done()
        writer.transport.abort()
        async with asyncio.timeout(5):
            assert await ended == "the client hung up"


async def test_who_cancels_the_block_is_told_so() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with hangup.ends_with(writer.transport), asyncio.timeout(0.05):
                await asyncio.sleep(30)
        except TimeoutError:
            writer.write(b"late")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"late"
        writer.close()
