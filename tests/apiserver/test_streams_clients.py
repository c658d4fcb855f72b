"""Clients of streams that send what they should not: nothing grows without end."""

import asyncio

import orjson

from weft.apiserver import spdy
from weft.apiserver.channels import CLOSE, RESIZE, STDIN, WebSocketClient
from weft.apiserver.spdy_session import SpdySession


class Wire:
    """spdy_session.Wire over bytes that are known."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [*pieces, b""]

    async def read(self) -> bytes:
        return self._pieces.pop(0)

    async def write(self, data: bytes) -> None: ...
    async def close(self) -> None: ...


async def test_a_stream_that_is_opened_twice_ends_the_connection() -> None:
    encoder = spdy.Encoder()
    session = SpdySession(Wire(*(encoder.open(1, {"streamtype": "error"}) for _ in range(100))))
    await session.run()
    assert session.gone.is_set()
    assert session.opened.qsize() == 2  # the first, and the end


class Socket:
    """As much of a WebSocket as is read here; no server makes a client that misbehaves."""

    ws_protocol = "v5.channel.k8s.io"


async def test_only_the_last_size_of_a_terminal_is_kept() -> None:
    client = WebSocketClient(Socket())  # type: ignore[arg-type]
    for width in range(1, 1000):
        await client._take(RESIZE, orjson.dumps({"Width": width, "Height": 24}))
    assert await client.read_size() == (999, 24)
    pending = asyncio.ensure_future(client.read_size())
    await asyncio.sleep(0)
    assert not pending.done()
    pending.cancel()


async def test_input_that_nobody_asked_for_is_dropped() -> None:
    client = WebSocketClient(Socket(), stdin=False)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        for _ in range(100):
            await client._take(STDIN, b"x")
        await client._take(CLOSE, bytes((STDIN,)))
    assert client._input.empty()
