"""The agent's end of the link to the control plane: kept up, and what is asked over it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from weft.apiserver.logs import LogOptions
from weft.apiserver.streams import Connection, Options, Place, Process
from weft.daemon.node_link import (
    CALL_SECONDS_MAX,
    CONTROL,
    ERRORS,
    HEARTBEAT_SECONDS,
    INPUT,
    LINK_PATH,
    MESSAGE_BYTES_MAX,
    OUTPUT,
    STREAM_PATH,
    Channel,
    Control,
    Handler,
    LinkDownError,
    Peer,
    control,
)
from weft.lib.aio import Tasks

log = logging.getLogger("weft.nodes")

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0
READ_BYTES = 64 * 1024
UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)

Connect = Callable[[str, Mapping[str, str]], Awaitable[aiohttp.ClientWebSocketResponse]]
"""Opens a WebSocket to a path of the API server, with these query parameters."""


def connector(session: aiohttp.ClientSession, server: str, heartbeat: float | None) -> Connect:
    """Connections with what the session shows and trusts."""

    async def connect(path: str, query: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
        return await session.ws_connect(
            server + path, params=dict(query), heartbeat=heartbeat, max_msg_size=MESSAGE_BYTES_MAX
        )

    return connect


async def _nothing() -> None:
    return


class AgentLink:
    """`run` until cancelled; `call` whenever."""

    def __init__(
        self, session: aiohttp.ClientSession, server: str, handlers: Mapping[str, Handler]
    ) -> None:
        self._connect = connector(session, server, HEARTBEAT_SECONDS)
        self._handlers = handlers
        self._peer: Peer | None = None
        self.on_connected: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], Awaitable[None]] = _nothing
        """Called when the connection was lost, and after each attempt that failed."""

    @property
    def connected(self) -> bool:
        return self._peer is not None and not self._peer.closed

    async def run(self) -> None:
        wait = RETRY_SECONDS_MIN
        while True:
            try:
                socket = await self._connect(LINK_PATH, {})
                self._peer = Peer(socket, self._handlers)
                wait = RETRY_SECONDS_MIN
                self.on_connected()
                await self._peer.run()
                log.warning("the link to the control plane was lost")
            except UNREACHABLE as error:
                log.info("control plane not reached error=%s", error)
            self._peer = None
            await self.on_lost()
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_SECONDS_MAX)

    async def call(self, method: str, seconds: float | None = CALL_SECONDS_MAX, **args: Any) -> Any:
        """As Peer.call."""
        if self._peer is None:
            raise LinkDownError("the control plane is not reached")
        return await self._peer.call(method, seconds, **args)


# --- streams that the control plane asks for


class StreamServer:
    """Opens streams to the control plane and connects them with this node's pods."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        start: Callable[[str, Place, Options], Awaitable[Process]],
        connect: Callable[[Place, int], Awaitable[Connection]],
        read_log: Callable[[Place, LogOptions], AsyncIterator[bytes]],
    ) -> None:
        self._dial = connector(session, server, None)
        self._start, self._to_port, self._read_log = start, connect, read_log
        self._tasks = Tasks()

    async def open(self, args: Mapping[str, Any]) -> None:
        """Handler of `stream`: returns once the stream will come. Raises ApiError, OSError."""
        kind, ident = str(args["kind"]), str(args["id"])
        place = msgspec.convert(args["place"], Place)
        if kind == "log":
            options = msgspec.convert(args["log"], LogOptions)
            work = _send_log(self._read_log(place, options))
        elif kind == "connect":
            work = _forward(await self._to_port(place, int(args["port"])))
        else:
            command = msgspec.convert(args["options"], Options)
            work = _converse(await self._start(kind, place, command))
        self._tasks.spawn(self._serve(ident, work), f"stream-{kind}")

    async def _serve(self, ident: str, work: Callable[[Channel], Awaitable[None]]) -> None:
        try:
            channel = Channel(await self._dial(STREAM_PATH, {"id": ident}))
        except UNREACHABLE as error:
            log.warning("stream not opened error=%s", error)
            await work(_Nobody())
            return
        try:
            await work(channel)
        except BrokenPipeError:
            log.info("stream ended: the other side is gone")
        finally:
            await channel.close()

    async def close(self) -> None:
        await self._tasks.close()


class _Nobody(Channel):
    """Stands for a stream that could not be opened: what was started for it is ended."""

    def __init__(self) -> None:
        pass

    async def send(self, kind: int, data: bytes) -> None:
        raise BrokenPipeError("nobody")

    async def receive(self) -> None:
        return None

    async def close(self) -> None:
        return


Work = Callable[[Channel], Awaitable[None]]


def _send_log(pieces: AsyncIterator[bytes]) -> Work:
    async def work(channel: Channel) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if (close := getattr(pieces, "aclose", None)) is not None:
                stack.push_async_callback(close)
            listening = asyncio.ensure_future(channel.receive())  # ends when the reader goes
            sending = asyncio.ensure_future(_pump_log(channel, pieces))
            await _first_of(listening, sending)

    return work


async def _pump_log(channel: Channel, pieces: AsyncIterator[bytes]) -> None:
    try:
        async for piece in pieces:
            if piece:
                await channel.send(OUTPUT, piece)
    except OSError as error:
        await channel.tell(Control(error=str(error)))


def _forward(connection: Connection) -> Work:
    async def outward(channel: Channel) -> None:
        try:
            while data := await connection.read(READ_BYTES):
                await channel.send(OUTPUT, data)
            await channel.tell(Control(ended=OUTPUT))
        except BrokenPipeError:
            raise
        except OSError as error:
            await channel.tell(Control(error=str(error)))

    async def inward(channel: Channel) -> None:
        while (frame := await channel.receive()) is not None:
            if frame[0] == INPUT:
                await connection.write(frame[1])
            elif frame[0] == CONTROL and control(frame[1]).ended == INPUT:
                await connection.end_output()

    async def work(channel: Channel) -> None:
        try:
            await _first_of(
                asyncio.ensure_future(inward(channel)), asyncio.ensure_future(outward(channel))
            )
        finally:
            await connection.close()

    return work


def _converse(process: Process) -> Work:
    async def output(channel: Channel, stream: Any, kind: int) -> None:
        while data := await process.read(stream):
            await channel.send(kind, data)
        await channel.tell(Control(ended=kind))

    async def outward(channel: Channel) -> None:
        pumps = [
            asyncio.ensure_future(output(channel, "stdout", OUTPUT)),
            asyncio.ensure_future(output(channel, "stderr", ERRORS)),
        ]
        try:
            await channel.tell(Control(exit_code=await process.wait()))
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def inward(channel: Channel) -> None:
        while (frame := await channel.receive()) is not None:
            kind, data = frame
            if kind == INPUT:
                with contextlib.suppress(BrokenPipeError):
                    await process.write(data)
            elif kind == CONTROL:
                news = control(data)
                if news.ended == INPUT:
                    await process.end_input()
                if news.size is not None:
                    process.resize(*news.size)

    async def work(channel: Channel) -> None:
        try:
            both = (asyncio.ensure_future(inward(channel)), asyncio.ensure_future(outward(channel)))
            await _first_of(*both)
        finally:
            await process.close()

    return work


async def _first_of(ends_all: "asyncio.Future[Any]", other: "asyncio.Future[Any]") -> None:
    """Until one of them ended; the other is cancelled. Raises what that one did."""
    try:
        done, _ = await asyncio.wait((ends_all, other), return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in (ends_all, other):
            each.cancel()
        await asyncio.gather(ends_all, other, return_exceptions=True)
