"""Connections that stop speaking HTTP: taken over from the HTTP server, given back to be closed."""

import asyncio
from collections.abc import Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

READ_BYTES = 1 << 16


class Taken(web.StreamResponse):
    """The answer of a handler that has answered by itself on the connection."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None

    @property
    def keep_alive(self) -> bool | None:
        return False


class RawConnection:
    """spdy_session.Wire over a connection that was HTTP's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()


def take_over(http: web.BaseRequest, headers: Mapping[str, str]) -> RawConnection:
    """Answer 101 and take the connection; the client sends nothing before it has read that.

    Raises ConnectionError when the client is gone already.
    """
    transport = http.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{k}: {v}" for k, v in headers.items())]
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    return RawConnection(reader, writer)
