"""The command's HTTP connection: answers, refusals, kept connections, streams that are left."""

import asyncio
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from weft.api.errors import ApiError
from weft.cli.connection import Connection
from weft.runtime.kubeconfig import Connection as Target

STATUS = {"kind": "Status", "code": 404, "reason": "NotFound", "message": 'pods "a" not found'}


class Server(http.server.ThreadingHTTPServer):
    """Says what it was asked; can hang up on kept connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections = 0
        self.hangs_up = False
        self.left = threading.Event()

    @property
    def target(self) -> Target:
        return Target(server=f"http://127.0.0.1:{self.server_address[1]}/", token="secret")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        if self.path == "/stream":
            return self._stream()
        if self.path == "/missing":
            return self._answer(404, json.dumps(STATUS).encode())
        if self.path == "/broken":
            return self._answer(500, b"it broke")
        seen = {"token": self.headers["Authorization"], "accept": self.headers["Accept"]}
        self._answer(200, json.dumps(seen).encode())
        # Closed without a word, as servers do with connections that were idle for too long.
        self.close_connection = self.server.hangs_up
        return None

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in (b"one\n", b"two\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.rfile.read(1)  # until the client hangs up
        self.close_connection = True
        self.server.left.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


async def test_one_connection_serves_many_requests(server: Server) -> None:
    connection = Connection(server.target)
    answers = [await connection.json("GET", "/x", accept="text/x") for _ in range(3)]
    assert answers == [{"token": "Bearer secret", "accept": "text/x"}] * 3
    assert "secret" in await connection.text("/x")
    assert server.connections == 1
    await connection.close()


async def test_requests_side_by_side_do_not_mix(server: Server) -> None:
    connection = Connection(server.target)
    asked = [f"text/{n}" for n in range(8)]
    answers = await asyncio.gather(*(connection.json("GET", "/x", accept=a) for a in asked))
    assert [answer["accept"] for answer in answers] == asked
    await connection.close()


async def test_a_connection_that_the_server_closed_is_replaced(server: Server) -> None:
    server.hangs_up = True
    connection = Connection(server.target)
    for _ in range(3):
        assert await connection.json("GET", "/x")
    assert server.connections == 3
    await connection.close()


async def test_refusals_carry_the_servers_words(server: Server) -> None:
    connection = Connection(server.target)
    with pytest.raises(ApiError, match='pods "a" not found') as refused:
        await connection.json("GET", "/missing")
    assert refused.value.code == 404
    with pytest.raises(ApiError, match="it broke"):
        await connection.text("/broken")
    await connection.close()


async def test_nobody_there() -> None:
    connection = Connection(Target(server="http://127.0.0.1:1"))
    with pytest.raises(ApiError, match="refused") as failed:
        await connection.json("GET", "/x")
    assert failed.value.code == 503
    with pytest.raises(ApiError, match="refused"):
        await anext(connection.stream("/stream"))
    await connection.close()


async def test_a_stream_that_is_left_ends_at_once(server: Server) -> None:
    """Ctrl-C on `weft logs -f`: nothing may wait for the next line."""
    connection = Connection(server.target)
    seen, all_seen = b"", asyncio.Event()

    async def read() -> None:
        nonlocal seen
        async for chunk in connection.stream("/stream"):
            seen += chunk
            if seen == b"one\ntwo\n":
                all_seen.set()

    reading = asyncio.ensure_future(read())
    await asyncio.wait_for(all_seen.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await asyncio.to_thread(server.left.wait, 5)
    await connection.close()


def test_commands_that_read_import_little() -> None:
    """`weft get` is asked many times a day: what takes long to import stays out of it."""
    program = (
        "import sys, weft.cli.main, weft.cli.resources, weft.cli.status\n"
        "print(sorted({'aiohttp', 'grpc', 'cryptography', 'rich', 'weft.api.validation'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
