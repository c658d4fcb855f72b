"""Answers exec, attach and port-forward: finds the pod, speaks the client's dialect, and moves
bytes between client and process until either ends."""

import asyncio
import contextlib
import logging
import os
import struct
from typing import Any, Protocol

from aiohttp import web

from weft.api.errors import ApiError
from weft.apiserver import channels, codec, failures, hangup, streams, upgrade
from weft.apiserver.channels import Channels, Tunnel, WebSocketClient
from weft.apiserver.request import Target
from weft.apiserver.resources import Resources
from weft.apiserver.spdy_session import SpdyClient, SpdySession, SpdyStream
from weft.apiserver.streams import NodeStreams, Options, Place, Process, Stream
from weft.lib.aio import Tasks

log = logging.getLogger("weft.apiserver")

DRAIN_SECONDS = 1.0
"""After a command ended: how long its output may be silent before it counts as complete, when
something it started still holds it open."""
FORWARD_BYTES = 32 * 1024
GONE = (ConnectionError, RuntimeError)
"""What a client that has hung up makes writes raise."""


class Client(Protocol):
    """The one who asked for an exec or attach. ConnectionError from writes when it is gone."""

    async def run(self) -> None:
        """Read what it sends, until it is gone."""

    async def read_input(self) -> bytes: ...
    async def read_size(self) -> tuple[int, int] | None: ...
    async def write(self, stream: Stream, data: bytes) -> None: ...
    async def finish(self, status: dict[str, Any]) -> None: ...
    async def gone(self) -> None: ...


class Streaming:
    """`nodes` may be set at any time; without it everything is 503."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.nodes: NodeStreams | None = None

    async def answer(self, http: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Raises ApiError before the connection is upgraded, ConnectionError when the client hung
        up while what it had sent was not taken."""
        async with hangup.ends_with(http.transport):
            return await self._answer(http, target)

    async def _answer(self, http: web.BaseRequest, target: Target) -> web.StreamResponse:
        pod = codec.to_object((await self._resources.entry(target)).value)
        if self.nodes is None:
            raise failures.unavailable("no node serves streams")
        if target.subresource == streams.PORT_FORWARD:
            return await self._forward(http, streams.place(pod, _first_container(pod)))
        options = streams.parse_options(
            target.subresource, http.query, http.query.getall("command", [])
        )
        where = streams.place(pod, options.container)
        dialect = _dialect(http)
        start = self.nodes.exec if target.subresource == streams.EXEC else self.nodes.attach
        process = await start(where, options)
        try:
            if dialect == "websocket":
                ws = channels.server(streams.WEBSOCKET_PROTOCOLS)
                await ws.prepare(http)
                await converse(process, WebSocketClient(ws, stdin=options.stdin), options)
                return ws
            headers = _spdy_headers(http, streams.SPDY_PROTOCOLS)
            session = SpdySession(upgrade.take_over(http, headers))
            async with _running(session):
                client = SpdyClient(session, options)
                if await client.open():
                    await converse(process, client, options)
            return upgrade.Taken()
        finally:
            await process.close()

    # ------------------------------------------------------------ port-forward

    async def _forward(self, http: web.BaseRequest, where: Place) -> web.StreamResponse:
        if _dialect(http) == "websocket":
            offered = http.headers.get("Sec-WebSocket-Protocol", "")
            if streams.choose_protocol(offered, (streams.PORT_FORWARD_TUNNEL,)):
                ws = channels.server((streams.PORT_FORWARD_TUNNEL,))
                await ws.prepare(http)
                await self._serve_forward(SpdySession(Tunnel(ws)), where)
                return ws
            ports = streams.parse_ports(http.query.getall("ports", []))
            ws = channels.server(streams.PORT_FORWARD_WEBSOCKET)
            await ws.prepare(http)
            await self._forward_channels(ws, where, ports)
            return ws
        headers = _spdy_headers(http, (streams.PORT_FORWARD_SPDY,))
        await self._serve_forward(SpdySession(upgrade.take_over(http, headers)), where)
        return upgrade.Taken()

    async def _serve_forward(self, session: SpdySession, where: Place) -> None:
        """Streams come in pairs with one requestID: `error`, then `data`."""
        errors: dict[str, SpdyStream] = {}
        tasks = Tasks()
        async with _running(session):
            try:
                while (stream := await session.opened.get()) is not None:
                    request = stream.headers.get("requestid", "")
                    if stream.headers.get("streamtype") == "error":
                        errors[request] = stream
                    elif (error := errors.pop(request, None)) is not None:
                        work = self._forward_one(session, where, stream, error)
                        tasks.spawn(work, "port-forward")
            finally:
                await tasks.close()

    async def _forward_one(
        self, session: SpdySession, where: Place, data: SpdyStream, error: SpdyStream
    ) -> None:
        assert self.nodes is not None
        text = data.headers.get("port", "")
        connection = None
        try:
            port = streams.parse_ports([text])[0]
            connection = await self.nodes.connect(where, port)
            await _pipe(data, connection)
        except (OSError, TimeoutError, ApiError) as problem:
            if not session.gone.is_set():
                with contextlib.suppress(*GONE):
                    await error.write(forward_error(where, text, problem).encode())
        finally:
            if connection is not None:
                await connection.close()
            with contextlib.suppress(*GONE):
                await error.finish()
                await data.finish()
            session.forget(data)
            session.forget(error)

    async def _forward_channels(
        self, ws: web.WebSocketResponse, where: Place, ports: tuple[int, ...]
    ) -> None:
        """For each port a channel for data and one for errors; both begin with its number."""
        sides = Channels(ws)
        queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(64) for _ in ports]
        tasks = Tasks()
        try:
            for index, port in enumerate(ports):
                for channel in (2 * index, 2 * index + 1):
                    await sides.send(channel, struct.pack("<H", port))
                work = self._forward_channel(sides, where, index, port, queues[index])
                tasks.spawn(work, "port-forward")
            while (message := await sides.receive()) is not None:
                channel, data = message
                if channel % 2 == 0 and channel // 2 < len(ports) and data:
                    await queues[channel // 2].put(data)
        finally:
            await tasks.close()

    async def _forward_channel(
        self, sides: Channels, where: Place, index: int, port: int, queue: "asyncio.Queue[bytes]"
    ) -> None:
        assert self.nodes is not None
        connection = None
        try:
            connection = await self.nodes.connect(where, port)
            sending = Tasks()
            try:
                sending.spawn(_send_queue(connection, queue), "port-forward-input")
                while data := await connection.read(FORWARD_BYTES):
                    await sides.send(2 * index, data)
            finally:
                await sending.close()
            if not sides.ws.closed:
                await sides.ws.close()
        except (OSError, TimeoutError) as problem:
            with contextlib.suppress(*GONE):
                text = forward_error(where, str(port), problem)
                await sides.send(2 * index + 1, text.encode())
        finally:
            if connection is not None:
                await connection.close()


async def _send_queue(connection: streams.Connection, queue: "asyncio.Queue[bytes]") -> None:
    with contextlib.suppress(OSError):
        while True:
            await connection.write(await queue.get())


async def _pipe(data: SpdyStream, connection: streams.Connection) -> None:
    """Both ways, each until its end. OSError when the pod's side breaks."""

    async def inwards() -> None:
        while piece := await data.read():
            await connection.write(piece)
        if data.reset:
            await connection.close()
        else:
            await connection.end_output()

    tasks = Tasks()
    feeding = tasks.spawn(_quietly(inwards()), "port-forward-input")
    try:
        while piece := await connection.read(FORWARD_BYTES):
            await data.write(piece)
        await data.finish()
        # What the pod still reads may come after it said its last word; most say it at the end.
        await asyncio.wait([feeding], timeout=DRAIN_SECONDS)
    finally:
        await tasks.close()


async def _quietly(work: Any) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        await work


def forward_error(where: Place, port: str, problem: Exception) -> str:
    """As kubelet words it."""
    why = str(problem) or type(problem).__name__
    if isinstance(problem, OSError) and problem.errno:
        why = f"failed to connect to localhost:{port} inside the pod: {os.strerror(problem.errno)}"
    return f"error forwarding port {port} to pod {where.namespace}/{where.pod}, uid : {why}"


# ---------------------------------------------------------------- exec and attach


async def converse(process: Process, client: Client, options: Options) -> None:
    """Move bytes until the process ends (the client is told how) or the client is gone."""
    tasks = Tasks()
    pumps = _Pumps(process, client)
    try:
        tasks.spawn(client.run(), "stream-client")
        if options.stdin:
            tasks.spawn(pumps.input(), "stream-input")
        if options.tty:
            tasks.spawn(pumps.sizes(), "stream-sizes")
        outputs: list[Stream] = ["stdout"] if options.stdout else []
        if options.stderr and not options.tty:
            outputs.append("stderr")
        pumping = [tasks.spawn(pumps.output(o), f"stream-{o}") for o in outputs]
        ending = tasks.spawn(_wait(process), "stream-process")
        gone = tasks.spawn(client.gone(), "stream-gone")
        await asyncio.wait({ending, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            return
        await pumps.drain(pumping, gone)
        with contextlib.suppress(*GONE):
            await client.finish(ending.result())
            # Those who speak SPDY hang up themselves, after they have read everything.
            async with asyncio.timeout(DRAIN_SECONDS):
                await client.gone()
    except TimeoutError:
        pass
    finally:
        await tasks.close()


async def _wait(process: Process) -> dict[str, Any]:
    try:
        return streams.outcome(await process.wait())
    except ApiError as error:
        return streams.failed(error)
    except OSError as error:
        return streams.failed(failures.internal(str(error)))


class _Pumps:
    def __init__(self, process: Process, client: Client) -> None:
        self._process = process
        self._client = client
        self._moved = 0
        self._sending = 0

    async def input(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            while data := await self._client.read_input():
                await self._process.write(data)
        await self._process.end_input()

    async def sizes(self) -> None:
        while (size := await self._client.read_size()) is not None:
            self._process.resize(*size)

    async def output(self, stream: Stream) -> None:
        with contextlib.suppress(*GONE):
            while data := await self._process.read(stream):
                self._sending += 1
                await self._client.write(stream, data)
                self._sending -= 1
                self._moved += 1
                await asyncio.sleep(0)

    async def drain(self, pumping: "list[asyncio.Task[Any]]", gone: "asyncio.Task[None]") -> None:
        """Until all output is sent, nothing more comes, or nobody takes it."""
        left = set(pumping)
        while left and not gone.done():
            before = self._moved
            _, left = await asyncio.wait(left, timeout=DRAIN_SECONDS)
            if self._moved == before and not self._sending:
                return


# ---------------------------------------------------------------- negotiation


def _dialect(http: web.BaseRequest) -> str:
    """Raises ApiError 400 for a request that asks for no upgrade that is known."""
    asked = http.headers.get("Upgrade", "").lower()
    if "upgrade" not in http.headers.get("Connection", "").lower() or not asked:
        raise failures.bad_request("Upgrade request required")
    if asked == "websocket":
        offered = http.headers.get("Sec-WebSocket-Protocol", "")
        known = (*streams.WEBSOCKET_PROTOCOLS, streams.PORT_FORWARD_TUNNEL)
        if offered and not streams.choose_protocol(offered, known):
            raise failures.no_common_protocol(offered, known)
        return "websocket"
    if asked != "spdy/3.1":
        raise failures.bad_request(
            f'unable to upgrade: "{asked}" is neither websocket nor SPDY/3.1'
        )
    return "spdy"


def _spdy_headers(http: web.BaseRequest, known: tuple[str, ...]) -> dict[str, str]:
    """Of the 101. Raises ApiError 403 when the client offers no protocol that is known."""
    offered = ",".join(http.headers.getall("X-Stream-Protocol-Version", []))
    chosen = streams.choose_protocol(offered, known) if offered else known[0]
    if not chosen:
        raise failures.no_common_protocol(offered, known)
    return {
        "Connection": "Upgrade",
        "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": chosen,
    }


def _first_container(pod: dict[str, Any]) -> str:
    """Port-forward is about the pod; any container stands for it."""
    return str(pod["spec"]["containers"][0]["name"])


class _running:  # noqa: N801 - used like a function
    """Runs a session's reader while it is used, then closes its connection."""

    def __init__(self, session: SpdySession) -> None:
        self._session = session
        self._tasks = Tasks()

    async def __aenter__(self) -> SpdySession:
        self._tasks.spawn(self._session.run(), "spdy-session")
        return self._session

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._tasks.close()
