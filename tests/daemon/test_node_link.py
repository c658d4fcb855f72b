"""The link: calls both ways, streams, and what becomes of both when the connection ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from weft.api.errors import ApiError
from weft.apiserver.access import User
from weft.apiserver.logs import LogOptions
from weft.apiserver.streams import Options, Place
from weft.daemon.agent_link import AgentLink, StreamServer
from weft.daemon.node_link import LINK_PATH, STREAM_PATH, LinkDownError
from weft.daemon.node_links import NodeLinks

NODE = User("system:node:n1", ("system:nodes",))
PLACE = Place("n1", "default", "web", "uid", "c")


class Program:
    """A process that answers what it reads in capitals, twice, and ends with code 7."""

    def __init__(self) -> None:
        self.input: asyncio.Queue[bytes] = asyncio.Queue()
        self.done = asyncio.Event()
        self.size = (0, 0)
        self.closed = False

    async def read(self, stream: str) -> bytes:
        if stream == "stderr":
            await self.done.wait()
            return b""
        data = await self.input.get()
        if not data:
            self.done.set()
        return data.upper()

    async def write(self, data: bytes) -> None:
        await self.input.put(data)

    async def end_input(self) -> None:
        await self.input.put(b"")

    def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)

    async def wait(self) -> int:
        await self.done.wait()
        return 7

    async def close(self) -> None:
        self.closed = True


class Port:
    """A connection that sends back what it gets."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self, size: int) -> bytes:
        return await self.queue.get()

    async def write(self, data: bytes) -> None:
        await self.queue.put(data)

    async def end_output(self) -> None:
        await self.queue.put(b"")

    async def close(self) -> None:
        return


class Both:
    """A control plane and one node."""

    links: NodeLinks
    link: AgentLink
    program: Program


async def _log(place: Place, options: LogOptions) -> AsyncIterator[bytes]:
    for number in range(3):
        yield f"{place.pod} {number} {options.tail_lines}\n".encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - another connection's state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(user: User = NODE) -> AsyncIterator[Both]:
    async def double(args: Mapping[str, Any]) -> int:
        return int(args["number"]) * 2

    async def refuse(_: Mapping[str, Any]) -> None:
        raise ApiError(409, "Conflict", "no")

    both = Both()
    both.links = NodeLinks(lambda node: {"double": double, "refuse": refuse})
    both.program = Program()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        accept = {LINK_PATH: both.links.accept, STREAM_PATH: both.links.accept_stream}
        try:
            return await accept[request.path](request, user)
        except ApiError as error:
            return web.Response(status=error.code)

    server = web.ServerRunner(web.Server(handle))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{server.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:

        async def start(kind: str, place: Place, options: Options) -> Any:
            if options.command == ("missing",):
                raise ApiError(500, "InternalError", "container not found")
            return both.program

        async def connect(place: Place, port: int) -> Any:
            if port == 1:
                raise OSError("refused")
            return Port()

        streams = StreamServer(session, url, start=start, connect=connect, read_log=_log)
        both.link = AgentLink(session, url, {"double": double, "stream": streams.open})
        task = asyncio.ensure_future(both.link.run())
        if user is NODE:
            await until(lambda: both.link.connected and both.links.connected("n1"))
        yield both
        task.cancel()
        await streams.close()
        await both.links.close()
    await server.cleanup()


async def test_both_sides_call_each_other() -> None:
    async with connected() as both:
        assert await both.link.call("double", number=21) == 42
        assert await both.links.call("n1", "double", number=4) == 8
        with pytest.raises(ApiError, match="no") as caught:
            await both.link.call("refuse")
        assert caught.value.code == 409
        with pytest.raises(ApiError, match="no method"):
            await both.links.call("n1", "format")
        with pytest.raises(LinkDownError):
            await both.links.call("n2", "double", number=1)


async def test_a_process_on_another_node() -> None:
    async with connected() as both:
        process = await both.links.exec(PLACE, Options("c", ("cat",)))
        process.resize(80, 24)
        await process.write(b"hello")
        assert await process.read("stdout") == b"HELLO"
        await process.end_input()
        assert await process.read("stdout") == b""
        assert await process.read("stderr") == b""
        assert await process.wait() == 7
        assert both.program.size == (80, 24)
        await process.close()
        await until(lambda: both.program.closed)
        with pytest.raises(ApiError, match="container not found"):
            await both.links.exec(PLACE, Options("c", ("missing",)))


async def test_a_connection_and_a_log() -> None:
    async with connected() as both:
        port = await both.links.connect(PLACE, 8080)
        await port.write(b"x" * 3_000_000)
        got = b""
        while len(got) < 3_000_000:
            got += await port.read(65536)
        await port.end_output()
        assert await port.read(10) == b""
        await port.close()
        with pytest.raises(OSError, match="refused"):
            await both.links.connect(PLACE, 1)
        log = both.links.read_log(PLACE, LogOptions("c", tail_lines=3))
        assert b"".join([piece async for piece in log]).splitlines()[-1] == b"web 2 3"


async def test_a_lost_link_ends_calls_and_streams_and_comes_back() -> None:
    async with connected() as both:
        process = await both.links.exec(PLACE, Options("c", ("cat",)))
        reading = asyncio.ensure_future(process.read("stdout"))
        await both.links.close()
        assert await asyncio.wait_for(reading, 5) == b""
        assert await process.wait() == 137
        await process.close()
        await until(lambda: both.links.connected("n1"))
        assert await both.links.call("n1", "double", number=1) == 2


async def test_only_nodes_connect() -> None:
    async with connected(User("alice", ("system:masters",))) as both:
        await asyncio.sleep(0.05)
        assert not both.links.nodes()
