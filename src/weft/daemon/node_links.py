"""The control plane's ends of the links to all nodes that have joined."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from weft.api.errors import ApiError
from weft.apiserver.access import User
from weft.apiserver.logs import LogOptions
from weft.apiserver.node_authorizer import node_of
from weft.apiserver.streams import Options, Place
from weft.daemon.node_link import (
    HEARTBEAT_SECONDS,
    MESSAGE_BYTES_MAX,
    ROOTS,
    Channel,
    Handler,
    LinkDownError,
    Peer,
)
from weft.daemon.remote_streams import RemoteConnection, RemoteProcess, read_log

log = logging.getLogger("weft.nodes")

OPEN_SECONDS_MAX = 10.0
"""From asking a node to open a stream until it is open."""


class NodeLinks:
    """All links, by node. `handlers_of(node)` gives what a node may call."""

    def __init__(self, handlers_of: Callable[[str], Mapping[str, Handler]]) -> None:
        self._handlers_of = handlers_of
        self._peers: dict[str, Peer] = {}
        self._awaited: dict[str, tuple[str, asyncio.Future[Channel], asyncio.Event]] = {}
        """Stream -> the node that shall open it, who waits for it, and when it ended."""
        self._open: dict[str, set[Channel]] = {}
        self.on_change: Callable[[str, bool], None] = lambda *_: None
        """Called with a node and whether it is connected now."""

    # --- connections

    async def accept(self, http: web.BaseRequest, user: User) -> web.StreamResponse:
        """A node's link, for as long as it lasts. Raises ApiError 403."""
        node = require_node(user)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX)
        await socket.prepare(http)
        peer = Peer(socket, self._handlers_of(node))
        before, self._peers[node] = self._peers.get(node), peer
        if before is not None:
            await before.close()
        log.info("node connected node=%s", node)
        self.on_change(node, True)
        try:
            await peer.run()
        finally:
            if self._peers.get(node) is peer:
                del self._peers[node]
                for channel in tuple(self._open.get(node, ())):
                    await channel.close()
                self.on_change(node, False)
                log.info("node disconnected node=%s", node)
        return socket

    async def accept_stream(self, http: web.BaseRequest, user: User) -> web.StreamResponse:
        """A stream that a node was asked to open. Raises ApiError 403, 404."""
        node, wanted = require_node(user), http.query.get("id", "")
        found = self._awaited.get(wanted)
        if found is None or found[0] != node or found[1].done():
            raise ApiError(404, "NotFound", "nobody waits for this stream")
        # Without pings: a reader that is slow leaves answers unread. The link tells who is gone.
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_BYTES_MAX)
        await socket.prepare(http)
        _, future, ended = found
        channel = Channel(socket)
        self._open.setdefault(node, set()).add(channel)
        try:
            future.set_result(channel)
            await ended.wait()
        finally:
            self._open[node].discard(channel)
        return socket

    async def close(self) -> None:
        for peer in tuple(self._peers.values()):
            await peer.close()

    def nodes(self) -> tuple[str, ...]:
        return tuple(self._peers)

    def connected(self, node: str) -> bool:
        return node in self._peers

    async def call(self, node: str, method: str, **args: Any) -> Any:
        """As Peer.call. Raises ApiError, LinkDownError, TimeoutError."""
        peer = self._peers.get(node)
        if peer is None:
            raise LinkDownError(f"node {node} is not connected")
        return await peer.call(method, **args)

    async def uses(self, node: str, roots: str) -> bool:
        """Whether a node trusts these roots and shows a certificate of the first."""
        try:
            async with asyncio.timeout(OPEN_SECONDS_MAX):
                told = await self.call(node, ROOTS)
        except (ApiError, LinkDownError, TimeoutError):
            return False
        return bool(told["trusted"] == roots and told["shown"])

    # --- streams

    @contextlib.asynccontextmanager
    async def _opened(self, node: str, kind: str, args: Mapping[str, Any]) -> AsyncIterator[Any]:
        """A channel; closed at the end. Raises ApiError, OSError."""
        ident = secrets.token_urlsafe(16)
        future: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        ended = asyncio.Event()
        self._awaited[ident] = (node, future, ended)
        try:
            try:
                async with asyncio.timeout(OPEN_SECONDS_MAX):
                    await self.call(node, "stream", id=ident, kind=kind, **args)
                    channel = await future
            except TimeoutError as error:
                raise LinkDownError(f"node {node} did not open a stream in time") from error
            finally:
                self._awaited.pop(ident, None)
            try:
                yield channel
            finally:
                await channel.close()
        finally:
            ended.set()

    async def exec(self, where: Place, options: Options, kind: str = "exec") -> RemoteProcess:
        """As NodeStreams.exec, and with `kind` attach as its attach."""
        args = {"place": msgspec.to_builtins(where), "options": msgspec.to_builtins(options)}
        stack = contextlib.AsyncExitStack()
        try:
            channel = await stack.enter_async_context(self._opened(where.node, kind, args))
        except LinkDownError as error:
            raise _unavailable(error) from error
        return RemoteProcess(channel, stack)

    async def connect(self, where: Place, port: int) -> RemoteConnection:
        """As NodeStreams.connect."""
        args = {"place": msgspec.to_builtins(where), "port": port}
        stack = contextlib.AsyncExitStack()
        try:
            channel = await stack.enter_async_context(self._opened(where.node, "connect", args))
        except ApiError as error:
            raise OSError(error.message) from error
        return RemoteConnection(channel, stack)

    async def read_log(self, where: Place, options: LogOptions) -> AsyncIterator[bytes]:
        """A container's log. Raises ApiError."""
        args = {"place": msgspec.to_builtins(where), "log": msgspec.to_builtins(options)}
        try:
            async with self._opened(where.node, "log", args) as channel:
                async for piece in read_log(channel):
                    yield piece
        except LinkDownError as error:
            raise _unavailable(error) from error


def require_node(user: User) -> str:
    """Raises ApiError 403: only nodes have links, also when a role lets others in."""
    node = node_of(user)
    if not node:
        raise ApiError(403, "Forbidden", "only nodes connect here")
    return node


def _unavailable(error: Exception) -> ApiError:
    return ApiError(503, "ServiceUnavailable", f"{error} [WEFT2686]")
