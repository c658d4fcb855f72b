"""Processes and sockets in pods from the command's side: WebSockets to the API server."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import IO, Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from weft.api.errors import ApiError
from weft.lib.fdio import FdStream
from weft.runtime.kubeconfig import Connection as Target
from weft.runtime.kubeconfig import ssl_context

EXEC_PROTOCOL = "v5.channel.k8s.io"
FORWARD_PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PIECE_BYTES = 32 * 1024
EXIT_UNKNOWN = 1


def pod_path(namespace: str, pod: str, what: str, query: Sequence[tuple[str, str]]) -> str:
    """The path of a pod's subresource."""
    return f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/{what}?{urlencode(query)}"


@contextlib.asynccontextmanager
async def open_socket(
    target: Target, path: str, protocol: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Raises ApiError with the server's own words."""
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    trust = ssl_context(target) if target.server.startswith("https:") else False
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        try:
            ws = await session.ws_connect(
                target.server + path, protocols=(protocol,), headers=headers, max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError:
            raise await _refused(session, target.server + path, headers) from None
        except aiohttp.ClientError as error:
            raise ApiError(503, "ServiceUnavailable", f"{target.server}: {error}") from error
        async with ws:
            yield ws


async def _refused(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> ApiError:
    """A failed handshake hides the answer: asked once more for it."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with session.get(url, headers=headers | upgrade) as answer:
        body = await answer.read()
    with contextlib.suppress(ValueError):
        status = orjson.loads(body)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return ApiError.from_status(status)
    return ApiError(answer.status, "InternalError", body[:200].decode(errors="replace"))


class Files:
    """What a remote process reads and writes here."""

    def __init__(
        self,
        stdin: FdStream | None,
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


async def execute(
    target: Target, namespace: str, pod: str, container: str, command: Sequence[str],
    files: Files, *, terminal: bool = False,
) -> int:  # fmt: skip
    """Run a command in a pod; its exit code. Raises ApiError."""
    query = [("command", word) for word in command]
    query += [("stdout", "true"), ("stderr", "false" if terminal else "true")]
    query += [("container", container)] if container else []
    query += [("stdin", "true")] if files.stdin is not None else []
    query += [("tty", "true")] if terminal else []
    path = pod_path(namespace, pod, "exec", query)
    async with open_socket(target, path, EXEC_PROTOCOL) as ws:
        sending = asyncio.ensure_future(_send_input(ws, files.stdin)) if files.stdin else None
        watching = _follow_size(ws) if terminal else contextlib.nullcontext()
        try:
            with watching:
                return await _receive(ws, files)
        finally:
            if sending is not None:
                sending.cancel()


async def _send_input(ws: aiohttp.ClientWebSocketResponse, stdin: FdStream) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await stdin.read(PIECE_BYTES):
            await ws.send_bytes(bytes((STDIN,)) + data)
        await ws.send_bytes(bytes((CLOSE, STDIN)))


async def _receive(ws: aiohttp.ClientWebSocketResponse, files: Files) -> int:
    status: Any = None
    async for message in ws:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDOUT:
            files.stdout(data)
        elif channel == STDERR:
            files.stderr(data)
        elif channel == ERROR:
            status = orjson.loads(data)
    if status is None:
        raise ApiError(503, "ServiceUnavailable", "the connection ended before the command did")
    return exit_code(status)


def exit_code(status: dict[str, Any]) -> int:
    """Of the Status that ends an exec. Raises ApiError when it says something else."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiError.from_status({"code": 500, "reason": "InternalError", **status})


@contextlib.contextmanager
def _follow_size(ws: aiohttp.ClientWebSocketResponse) -> Iterator[None]:
    """Tell the size of our terminal, now and whenever it changes."""
    loop = asyncio.get_running_loop()
    told: set[asyncio.Future[None]] = set()

    def tell() -> None:
        size = os.get_terminal_size(sys.stdout.fileno())
        body = orjson.dumps({"Width": size.columns, "Height": size.lines})
        task = asyncio.ensure_future(ws.send_bytes(bytes((RESIZE,)) + body))
        told.add(task)
        task.add_done_callback(told.discard)

    loop.add_signal_handler(signal.SIGWINCH, tell)
    try:
        tell()
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@contextlib.contextmanager
def raw_terminal(file: IO[str]) -> Iterator[None]:
    """Keys go through unread and unechoed while this lasts."""
    before = termios.tcgetattr(file)
    try:
        tty.setraw(file)
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


async def forward(
    target: Target, namespace: str, pod: str, port: int,
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
) -> str:  # fmt: skip
    """Carry one local connection to a port of a pod; what went wrong there, "" for nothing."""
    path = pod_path(namespace, pod, "portforward", [("ports", str(port))])
    told = b""
    try:
        async with open_socket(target, path, FORWARD_PROTOCOL) as ws:
            sending = asyncio.ensure_future(_send_local(ws, reader))
            begun: set[int] = set()
            try:
                async for message in ws:
                    channel, data = message.data[0], message.data[1:]
                    if channel not in begun:  # the first on each is the port's number
                        begun.add(channel)
                    elif channel == 0:
                        writer.write(data)
                        await writer.drain()
                    else:
                        told += data
                        break
            finally:
                sending.cancel()
    except ApiError as error:
        return error.message
    except ConnectionError:
        return ""
    finally:
        writer.close()
    return told.decode(errors="replace")


async def _send_local(ws: aiohttp.ClientWebSocketResponse, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            await ws.send_bytes(b"\0" + data)
