"""The command's way to the API server of an instance.

Commands that read use the standard library's HTTP client: the asynchronous one, which `apply` and
`delete` need, takes longer to import than such a command otherwise takes altogether.
"""

import asyncio
import contextlib
import http.client
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from weft.api.errors import ApiError
from weft.cli import output
from weft.lib.instance import Settings, data_dir_of, read_running, run_dir_of
from weft.runtime.kubeconfig import Connection as Target
from weft.runtime.kubeconfig import KubeconfigError, ssl_context
from weft.runtime.kubeconfig import read as read_kubeconfig

if TYPE_CHECKING:
    from weft.runtime.http_client import HttpClient

CONNECT_SECONDS_MAX = 10.0
CHUNK_BYTES = 64 * 1024
_MESH_WARNING = re.compile(r"\[WEFT2\d{3}\]$")
UNREACHABLE = (OSError, http.client.HTTPException)


class Connection:
    """Typed calls through `client`, everything else by path."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client: HttpClient | None = None
        self._context: ssl.SSLContext | None = None
        self._idle: list[http.client.HTTPConnection] = []
        self._headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}

    @property
    def target(self) -> Target:
        """Where the server is, and as whom to come."""
        return self._target

    @property
    def client(self) -> "HttpClient":
        """Made when first asked for."""
        if self._client is None:
            from weft.runtime.http_client import HttpClient  # noqa: PLC0415 - slow to import

            self._client = HttpClient(self._target, on_warning=_warn)
        return self._client

    async def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        if self._client is not None:
            await self._client.close()

    async def json(self, method: str, path: str, accept: str = "application/json") -> Any:
        """The decoded answer. Raises ApiError."""
        return orjson.loads(await asyncio.to_thread(self._whole, method, path, accept))

    async def text(self, path: str) -> str:
        """The answer as text. Raises ApiError."""
        body = await asyncio.to_thread(self._whole, "GET", path, "*/*")
        return body.decode(errors="replace")

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """The answer piece by piece, as it comes. Raises ApiError."""
        connection = await asyncio.to_thread(self._connect)
        try:
            answer = await asyncio.to_thread(self._ask, connection, "GET", path, "*/*")
            while chunk := await asyncio.to_thread(answer.read1, CHUNK_BYTES):
                yield chunk
        except UNREACHABLE as error:
            raise self._unreachable(error) from error
        finally:
            _hang_up(connection)

    def _whole(self, method: str, path: str, accept: str) -> bytes:
        """One request; its connection is kept for the next one."""
        while True:
            fresh = not self._idle
            connection = self._connect() if fresh else self._idle.pop()
            try:
                body = self._ask(connection, method, path, accept).read()
            except UNREACHABLE as error:
                connection.close()
                # A connection that was kept may have been closed by the server meanwhile.
                if fresh or method != "GET":
                    raise self._unreachable(error) from error
                continue
            except ApiError:
                connection.close()
                raise
            self._idle.append(connection)
            return body

    def _connect(self) -> http.client.HTTPConnection:
        address = urlsplit(self._target.server)
        host, port = address.hostname or "", address.port
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            self._context = self._context or ssl_context(self._target)
            connection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_SECONDS_MAX, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS_MAX)
        try:
            connection.connect()
        except UNREACHABLE as error:
            raise self._unreachable(error) from error
        connection.sock.settimeout(None)
        return connection

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, accept: str
    ) -> http.client.HTTPResponse:
        prefix = urlsplit(self._target.server).path.rstrip("/")
        connection.request(method, prefix + path, headers={**self._headers, "Accept": accept})
        answer = connection.getresponse()
        if answer.status >= 400:
            raise _refusal(answer.status, answer.read())
        return answer

    def _unreachable(self, error: Exception) -> ApiError:
        return ApiError(503, "ServiceUnavailable", f"{self._target.server}: {error}")


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """Close it, and end the thread that may still be reading from it."""
    with contextlib.suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def _warn(text: str) -> None:
    if _MESH_WARNING.search(text):
        return  # said about one object, which others of the set may mend: `weft apply` says more
    colours = output.style(sys.stderr)
    output.note(f"{colours.busy}warning:{colours.reset} {text}")


def _refusal(code: int, body: bytes) -> ApiError:
    with contextlib.suppress(ValueError):
        status = orjson.loads(body)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return ApiError.from_status(status)
    return ApiError(code, "InternalError", f"{code}: {body[:200].decode(errors='replace')}")


@contextlib.asynccontextmanager
async def connect(data_dir: str | None, code: int = 1) -> AsyncIterator[Connection]:
    """A connection to the instance of this data directory; ends the command, with this exit code,
    if there is none."""
    directory = data_dir_of(data_dir)
    settings = Settings(data_dir=directory, run_dir=run_dir_of(directory))
    target = None
    with contextlib.suppress(KubeconfigError, OSError):
        target = read_kubeconfig(settings.kubeconfig)
    if target is None or read_running(directory) is None:
        output.fail(f"weft does not run on {directory}", "start it with `weft up`", code)
    connection = Connection(target)
    try:
        yield connection
    finally:
        await connection.close()


def run(data_dir: str | None, work: Callable[[Connection], Awaitable[None]]) -> None:
    """Do something with a connection; what the server refuses ends the command with its words."""

    async def connected() -> None:
        async with connect(data_dir) as connection:
            await work(connection)

    try:
        asyncio.run(connected())
    except ApiError as error:
        output.fail(error.message)
    except ExceptionGroup as group:
        found = next((e for e in group.exceptions if isinstance(e, ApiError)), None)
        if found is None:
            raise
        output.fail(found.message)
