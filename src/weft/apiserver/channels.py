"""WebSocket clients of exec, attach and port-forward: one byte for the channel, then its data."""

import asyncio
import base64
import binascii
import logging
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from weft.apiserver import streams
from weft.apiserver.streams import Stream

log = logging.getLogger("weft.apiserver")

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MESSAGE_BYTES_MAX = 4 << 20
QUEUED_PIECES_MAX = 16
"""Pieces of input that wait for the process; then the client waits."""
_NUMBERS: dict[Stream, int] = {"stdout": STDOUT, "stderr": STDERR}


def server(protocols: tuple[str, ...]) -> web.WebSocketResponse:
    """Not yet prepared."""
    return web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=MESSAGE_BYTES_MAX
    )


class Channels:
    """Numbered channels over one WebSocket, in the negotiated form."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self.ws = ws
        self.protocol = ws.ws_protocol or "channel.k8s.io"
        self._text = self.protocol in streams.BASE64_PROTOCOLS

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message; None when the client is gone, or speaks something else."""
        while True:
            message = await self.ws.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return None
            if not message.data:
                continue
            if self._text:
                return _from_text(message.data)
            data = message.data
            # The official Python client sends text as text, after a channel byte all the same.
            raw = data.encode() if isinstance(data, str) else bytes(data)
            return raw[0], raw[1:]

    async def send(self, channel: int, data: bytes) -> None:
        """ConnectionError when the client is gone."""
        if self._text:
            await self.ws.send_str(str(channel) + base64.b64encode(data).decode())
        else:
            await self.ws.send_bytes(bytes((channel,)) + data)


def _from_text(text: str | bytes) -> tuple[int, bytes] | None:
    try:
        text = text if isinstance(text, str) else text.decode()
        return int(text[0]), base64.b64decode(text[1:], validate=True)
    except (ValueError, binascii.Error):
        return None


class WebSocketClient:
    """streaming.Client: the client of one exec or attach."""

    def __init__(self, ws: web.WebSocketResponse, *, stdin: bool = True) -> None:
        """Without `stdin` nobody reads input: what comes is dropped."""
        self._channels = Channels(ws)
        self._stdin = stdin
        self._input: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_PIECES_MAX)
        self._sizes: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue(1)
        """The last that was told: nobody reads them when there is no terminal."""
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Read what the client sends, until it is gone."""
        try:
            while (message := await self._channels.receive()) is not None:
                await self._take(*message)
        finally:
            self._gone.set()
            self._tell(None)

    async def _take(self, channel: int, data: bytes) -> None:
        if channel == STDIN and data:
            if not self._stdin:
                return
            await self._input.put(data)
        elif channel == CLOSE and data[:1] == bytes((STDIN,)):
            if self._stdin:
                await self._input.put(b"")
        elif channel == RESIZE:
            try:
                size = streams.window_size(orjson.loads(data))
            except orjson.JSONDecodeError:
                return
            if size is not None:
                self._tell(size)

    def _tell(self, size: tuple[int, int] | None) -> None:
        if self._sizes.full():
            self._sizes.get_nowait()
        self._sizes.put_nowait(size)

    async def read_input(self) -> bytes:
        return await self._input.get()

    async def read_size(self) -> tuple[int, int] | None:
        return await self._sizes.get()

    async def write(self, stream: Stream, data: bytes) -> None:
        await self._channels.send(_NUMBERS[stream], data)

    async def finish(self, status: dict[str, Any]) -> None:
        if self._channels.protocol in ("channel.k8s.io", "base64.channel.k8s.io"):
            if status["status"] != "Success":
                await self._channels.send(ERROR, status["message"].encode())
        else:
            await self._channels.send(ERROR, orjson.dumps(status))
        await self._channels.ws.close()

    async def gone(self) -> None:
        await self._gone.wait()


class Tunnel:
    """streaming.Wire: bytes inside the binary messages of a WebSocket."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws

    async def read(self) -> bytes:
        while (message := await self._ws.receive()).type is WSMsgType.BINARY:
            if message.data:  # kubectl also sends empty ones
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        await self._ws.send_bytes(data)

    async def close(self) -> None:
        await self._ws.close()
