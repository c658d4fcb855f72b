"""Connections of clients: a request's head has so long to come, so that those who send it byte by
byte hold nothing for ever. Nobody is known yet when this counts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

HEAD_SECONDS_MAX = 32.0
"""From the connection, or from a later request's first byte, to the end of the request's head; as
kube-apiserver's."""
IDLE_SECONDS_MAX = 90.0
"""Between requests, then the connection is closed; as kube-apiserver's."""
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """One connection. A request is being worked on, or its head is awaited."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._working = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio.Protocol's."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """As asyncio.Protocol's."""
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As asyncio.Protocol's."""
        if not self._working and self._timer is None:
            self._await_head()
        super().data_received(data)

    def begin(self) -> None:
        """A head is complete."""
        self._working = True
        self._came()

    def end(self) -> None:
        """Its request is answered."""
        self._working = False

    def _await_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HEAD_SECONDS_MAX, self._too_late)

    def _came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_TOO_LATE)
            self.transport.close()


class Connections(web.Server):
    """Makes them; `handler` answers each request."""

    def __init__(self, handler: Handler) -> None:
        async def handle(http: web.BaseRequest) -> web.StreamResponse:
            connection = http.protocol
            assert isinstance(connection, Connection)
            connection.begin()
            try:
                return await handler(http)
            finally:
                connection.end()

        self._made_with: dict[str, Any] = {
            "access_log": None, "keepalive_timeout": IDLE_SECONDS_MAX,
        }  # fmt: skip
        super().__init__(handle, handler_cancellation=True, **self._made_with)

    def __call__(self) -> Connection:
        """A protocol for a new connection."""
        return Connection(self, loop=asyncio.get_running_loop(), **self._made_with)
