"""A SPDY/3.1 connection of a client: its streams, with back-pressure by not reading on."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from weft.apiserver import spdy, streams
from weft.apiserver.streams import Stream

QUEUED_PIECES_MAX = 64
"""Frames of one stream that wait to be taken; then the whole connection waits."""
PIECE_BYTES_MAX = 32 * 1024
STREAMS_SECONDS_MAX = 30.0
"""For a client to open the streams of its exec."""
STREAMS_MAX = 1024
"""Open at once on one connection."""


class Wire(Protocol):
    """The connection below. OSError or ConnectionError when it breaks."""

    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    async def close(self) -> None: ...


class SpdyStream:
    """One stream that the client opened."""

    def __init__(self, session: "SpdySession", number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self.received: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_PIECES_MAX)
        self.reset = False
        self._session = session
        self._finished = False

    async def read(self) -> bytes:
        """b"" at the end."""
        data = await self.received.get()
        if not data:
            self.received.put_nowait(b"")  # it stays at its end
        return data

    async def write(self, data: bytes) -> None:
        """ConnectionError when the client is gone or has reset the stream."""
        for start in range(0, len(data), PIECE_BYTES_MAX):
            if self.reset:
                raise ConnectionResetError("the client has reset the stream")
            piece = data[start : start + PIECE_BYTES_MAX]
            await self._session.send(spdy.data(self.number, piece))

    async def finish(self) -> None:
        """Nothing more is written; idempotent."""
        if not self._finished and not self.reset:
            self._finished = True
            await self._session.send(spdy.data(self.number, b"", fin=True))


class SpdySession:
    """The streams of one connection, by what their headers say."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._decoder = spdy.Decoder()
        self._encoder = spdy.Encoder()
        self._streams: dict[int, SpdyStream] = {}
        self.opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        """New streams; None when the client is gone."""
        self.gone = asyncio.Event()

    async def run(self) -> None:
        """Read until the client is gone."""
        try:
            while data := await self._wire.read():
                for frame in self._decoder.feed(data):
                    await self._take(frame)
        except (OSError, spdy.SpdyError):
            pass
        finally:
            self.gone.set()
            self.opened.put_nowait(None)
            for stream in self._streams.values():
                stream.reset = True
                _end(stream)

    async def _take(self, frame: spdy.Frame) -> None:
        stream = self._streams.get(frame.stream)
        if frame.kind == "open":
            await self._open(frame)
        elif frame.kind == "ping":
            await self.send(frame.data)
        elif frame.kind == "data" and stream is not None:
            if frame.data:
                await stream.received.put(frame.data)
            if frame.fin:
                await stream.received.put(b"")
        elif frame.kind == "reset" and stream is not None:
            stream.reset = True
            _end(stream)

    async def _open(self, frame: spdy.Frame) -> None:
        if frame.stream in self._streams:
            raise spdy.SpdyError(f"stream {frame.stream} is opened twice")
        if len(self._streams) >= STREAMS_MAX:
            await self.send(spdy.reset(frame.stream, spdy.RESET_REFUSED))
            return
        stream = SpdyStream(self, frame.stream, frame.headers)
        self._streams[frame.stream] = stream
        if frame.fin:
            stream.received.put_nowait(b"")
        await self.send(self._encoder.reply(frame.stream))
        self.opened.put_nowait(stream)

    def forget(self, stream: SpdyStream) -> None:
        """It has ended both ways."""
        self._streams.pop(stream.number, None)

    async def send(self, frame: bytes) -> None:
        await self._wire.write(frame)

    async def close(self) -> None:
        await self._wire.close()


def _end(stream: SpdyStream) -> None:
    """Whoever reads finds the end, also behind a full queue."""
    if stream.received.full():
        stream.received.get_nowait()
    stream.received.put_nowait(b"")


class SpdyClient:
    """streaming.Client: the client of one exec or attach."""

    def __init__(self, session: SpdySession, options: streams.Options) -> None:
        self._session = session
        self._wanted = {"error"}
        self._wanted |= {n for n in ("stdin", "stdout", "stderr") if getattr(options, n)}
        if options.tty:
            self._wanted = (self._wanted - {"stderr"}) | {"resize"}
        self._streams: dict[str, SpdyStream] = {}

    async def open(self) -> bool:
        """Wait for the streams; False when they do not come. A client may leave out `resize`."""
        try:
            async with asyncio.timeout(STREAMS_SECONDS_MAX):
                while self._wanted - self._streams.keys():
                    stream = await self._session.opened.get()
                    if stream is None:
                        return False
                    self._streams[stream.headers.get("streamtype", "")] = stream
        except TimeoutError:
            return self._wanted - self._streams.keys() <= {"resize"}
        return True

    async def run(self) -> None:
        await self._session.gone.wait()

    async def read_input(self) -> bytes:
        return await self._streams["stdin"].read()

    async def read_size(self) -> tuple[int, int] | None:
        stream = self._streams.get("resize")
        while stream is not None and (data := await stream.read()):
            for line in data.splitlines():
                try:
                    size = streams.window_size(orjson.loads(line))
                except orjson.JSONDecodeError:
                    continue
                if size is not None:
                    return size
        return None

    async def write(self, stream: Stream, data: bytes) -> None:
        await self._streams[stream].write(data)

    async def finish(self, status: dict[str, Any]) -> None:
        await self._streams["error"].write(orjson.dumps(status))
        for stream in self._streams.values():
            await stream.finish()

    async def gone(self) -> None:
        await self._session.gone.wait()
