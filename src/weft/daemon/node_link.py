"""The link between a node's agent and the control plane: one WebSocket, kept by the agent.

Both sides call each other over it (`Peer`). What streams (logs, exec, port-forward) gets a
WebSocket of its own, which the agent opens when it is asked to (`Channel`). So nobody connects to
the node: it may be behind a firewall, and needs no certificate for serving.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct

from weft.api.errors import ApiError
from weft.lib.aio import Tasks

log = logging.getLogger("weft.nodes")

LINK_PATH = "/weft/v1/node/link"
ROOTS = "roots"
"""Method: whom a node trusts to be the API server, and whether its own certificate is new."""
STREAM_PATH = "/weft/v1/node/stream"
CLUSTER_PATH = "/weft/v1/node/cluster"
HEARTBEAT_SECONDS = 4.0
"""Between pings; a peer that does not answer within half of it is gone."""
CALL_SECONDS_MAX = 10.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
FRAME_BYTES_MAX = 1024 * 1024
QUEUE_FRAMES_MAX = 16
"""Received and not yet read, per direction of a stream; then the sender has to wait."""

WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]


class LinkDownError(ConnectionError):
    """The other side is not connected, or was lost during a call."""


class Call(Struct, frozen=True, tag="call", omit_defaults=True):
    """A question."""

    id: int
    method: str
    args: Mapping[str, Any] = {}


class Reply(Struct, frozen=True, tag="reply", omit_defaults=True):
    """Its answer."""

    id: int
    result: Any = None
    error: str = ""
    code: int = 0
    reason: str = ""


_DECODER = msgspec.json.Decoder(Call | Reply)


class Peer:
    """One end. `run` reads until the connection ends; `call` may be used meanwhile."""

    def __init__(self, socket: WebSocket, handlers: Mapping[str, Handler]) -> None:
        self._socket = socket
        self._handlers = handlers
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._tasks = Tasks()
        self.closed = False

    async def call(self, method: str, seconds: float | None = CALL_SECONDS_MAX, **args: Any) -> Any:
        """The answer. Raises ApiError as the other side did, LinkDownError, TimeoutError."""
        if self.closed:
            raise LinkDownError("not connected")
        self._last += 1
        number = self._last
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._send(Call(number, method, args))
            async with asyncio.timeout(seconds):
                return await future
        finally:
            self._waiting.pop(number, None)

    async def run(self) -> None:
        """Until the other side is gone."""
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(_DECODER.decode(message.data))
        except (msgspec.MsgspecError, RecursionError) as error:
            log.warning("node link: unreadable message error=%s", error)
        finally:
            self.closed = True
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(LinkDownError("the connection was lost"))
            await self._tasks.close()
            await self._socket.close()

    async def close(self) -> None:
        await self._socket.close()

    def _take(self, message: Call | Reply) -> None:
        if isinstance(message, Call):
            self._tasks.spawn(self._answer(message), f"node-link-{message.method}")
            return
        future = self._waiting.get(message.id)
        if future is None or future.done():
            return
        if message.code:
            future.set_exception(ApiError(message.code, message.reason, message.error))
        else:
            future.set_result(message.result)

    async def _answer(self, call: Call) -> None:
        handler = self._handlers.get(call.method)
        try:
            if handler is None:
                raise ApiError(404, "NotFound", f"there is no method {call.method}")
            reply = Reply(call.id, await handler(call.args))
        except ApiError as error:
            reply = Reply(call.id, error=error.message, code=error.code, reason=error.reason)
        except Exception as error:  # whatever it is, somebody waits for an answer
            if not isinstance(error, OSError | LookupError | ValueError | TimeoutError):
                log.warning("node link: call failed method=%s error=%r", call.method, error)
            text = str(error) or type(error).__name__
            reply = Reply(call.id, error=text, code=500, reason="InternalError")
        try:
            await self._send(reply)
        except LinkDownError:
            return

    async def _send(self, message: Call | Reply) -> None:
        try:
            await self._socket.send_str(msgspec.json.encode(message).decode())
        except (ConnectionError, RuntimeError) as error:
            raise LinkDownError("the connection was lost") from error


# --- streams

INPUT, OUTPUT, ERRORS, CONTROL = 0, 1, 2, 3
"""What a frame is, by its first byte; control frames are JSON."""


class Control(Struct, frozen=True, omit_defaults=True):
    """News about a stream."""

    exit_code: int | None = None
    size: tuple[int, int] | None = None
    """Columns and rows of the terminal."""
    ended: int | None = None
    """Nothing more comes of this kind of frame."""
    error: str = ""


class Channel:
    """One end of a stream. Frames are read one after the other, so a reader that is slow slows the
    sender down."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def send(self, kind: int, data: bytes) -> None:
        """Raises BrokenPipeError when the other side is gone."""
        try:
            for start in range(0, len(data), FRAME_BYTES_MAX):
                await self._socket.send_bytes(bytes([kind]) + data[start : start + FRAME_BYTES_MAX])
        except (ConnectionError, RuntimeError) as error:
            raise BrokenPipeError("the other side is gone") from error

    async def tell(self, news: Control) -> None:
        await self.send(CONTROL, msgspec.json.encode(news))

    async def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None when the stream is over."""
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            return None
        return message.data[0], message.data[1:]

    async def close(self) -> None:
        await self._socket.close()


def control(data: bytes) -> Control:
    """Of a control frame; an unreadable one says nothing."""
    try:
        return msgspec.json.decode(data, type=Control)
    except (msgspec.MsgspecError, RecursionError):
        return Control()
