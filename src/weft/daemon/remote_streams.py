"""Processes and connections on other nodes, as the API server sees them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from weft.api.errors import ApiError
from weft.apiserver.streams import Stream
from weft.daemon.node_link import (
    CONTROL,
    ERRORS,
    INPUT,
    OUTPUT,
    QUEUE_FRAMES_MAX,
    Channel,
    Control,
    control,
)
from weft.lib.aio import Tasks

LOST = 137
"""Exit code of a process whose node went away: as if it had been killed."""


class _Received:
    """Frames of a channel by kind; b"" in the end."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.queues = {k: asyncio.Queue[bytes](QUEUE_FRAMES_MAX) for k in (OUTPUT, ERRORS)}
        self.exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ended: set[int] = set()
        self.failure = ""

    async def run(self) -> None:
        try:
            while (frame := await self._channel.receive()) is not None:
                kind, data = frame
                if kind in self.queues and data:
                    await self.queues[kind].put(data)
                elif kind == CONTROL:
                    await self._learn(control(data))
        finally:
            if not self.exit.done():
                self.exit.set_result(LOST)
            for kind in self.queues:
                await self._end(kind)

    async def _learn(self, news: Control) -> None:
        self.failure = news.error or self.failure
        if news.ended in self.queues:
            await self._end(news.ended)
        if news.exit_code is not None and not self.exit.done():
            self.exit.set_result(news.exit_code)

    async def _end(self, kind: int | None) -> None:
        if kind is not None and kind not in self._ended:
            self._ended.add(kind)
            await self.queues[kind].put(b"")


class RemoteProcess:
    """apiserver.streams.Process."""

    def __init__(self, channel: Channel, stack: contextlib.AsyncExitStack) -> None:
        self._channel, self._stack = channel, stack
        self._received = _Received(channel)
        self._over: set[str] = set()
        self._tasks = Tasks()
        self._tasks.spawn(self._received.run(), "remote-process")

    async def read(self, stream: Stream) -> bytes:
        if stream in self._over:
            return b""
        data = await self._received.queues[OUTPUT if stream == "stdout" else ERRORS].get()
        if not data:
            self._over.add(stream)
        return data

    async def write(self, data: bytes) -> None:
        await self._channel.send(INPUT, data)

    async def end_input(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            await self._channel.tell(Control(ended=INPUT))

    def resize(self, columns: int, rows: int) -> None:
        self._tasks.spawn(self._resize((columns, rows)), "remote-resize")

    async def _resize(self, size: tuple[int, int]) -> None:
        with contextlib.suppress(BrokenPipeError):
            await self._channel.tell(Control(size=size))

    async def wait(self) -> int:
        return await asyncio.shield(self._received.exit)

    async def close(self) -> None:
        await self._stack.aclose()
        await self._tasks.close()


class RemoteConnection:
    """apiserver.streams.Connection."""

    def __init__(self, channel: Channel, stack: contextlib.AsyncExitStack) -> None:
        self._channel, self._stack = channel, stack
        self._rest = b""
        self._over = False

    async def read(self, size: int) -> bytes:
        while not self._rest and not self._over:
            frame = await self._channel.receive()
            if frame is None:
                self._over = True
            elif frame[0] == OUTPUT:
                self._rest = frame[1]
            elif frame[0] == CONTROL:
                news = control(frame[1])
                if news.error:
                    raise OSError(news.error)
                self._over = news.ended == OUTPUT
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    async def write(self, data: bytes) -> None:
        await self._channel.send(INPUT, data)

    async def end_output(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            await self._channel.tell(Control(ended=INPUT))

    async def close(self) -> None:
        await self._stack.aclose()


async def read_log(channel: Channel) -> AsyncIterator[bytes]:
    """The pieces of a log. Raises ApiError."""
    while (frame := await channel.receive()) is not None:
        kind, data = frame
        if kind == OUTPUT:
            yield data
        elif kind == CONTROL and (error := control(data).error):
            raise ApiError(500, "InternalError", error)
