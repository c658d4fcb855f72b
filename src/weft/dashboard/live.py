"""What a page looks at, pushed to it over one WebSocket: objects as they change, documents as they
become others, text as it is written.

A page sends `{"open": 1, "path": "/api/v1/pods", "as": "objects"}` and `{"close": 1}`; it gets
messages with the number that it gave: `{"id": 1, "list": {…}}` then `{"id": 1, "events": [{…}]}`,
or `{"id": 1, "page": {…}}`, or `{"id": 1, "text": "…"}`, or `{"id": 1, "error": {Status}}`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import msgspec
import orjson
from aiohttp import ClientError, WSMsgType, web
from msgspec import Struct, field

from weft.dashboard import guard
from weft.dashboard.backend import Backend, Unreachable
from weft.lib.aio import Tasks

log = logging.getLogger("weft.dashboard")
SUBSCRIPTIONS_MAX = 64
"""Of one page at a time."""
SOCKETS_MAX = 100
MESSAGE_BYTES_MAX = 4096
"""Of what a page sends."""
PAGE_SECONDS = 2.0
"""Between two looks at a document."""
ABSENT_SECONDS = 15.0
"""Between two looks at what is not served or not allowed."""
RETRY_SECONDS = 2.0
HEARTBEAT_SECONDS = 20.0
SESSION_LOOK_SECONDS = 5.0
WAIT_SECONDS = 5
"""For which one question for single requests waits."""
LINE_BYTES_MAX = 8 * 1024 * 1024
GONE = 410


class Wish(Struct, frozen=True):
    """What a page sends."""

    open: int = 0
    close: int = 0
    path: str = ""
    form: Literal["objects", "page", "text", "requests"] = field(default="page", name="as")


class Refused(Exception):
    """The API server's Status, as JSON, for an answer that is none."""

    def __init__(self, code: int, body: bytes) -> None:
        super().__init__(str(code))
        self.code, self.body = code, body


class Live:
    """All pages that are open."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open = 0

    async def serve(
        self, http: web.BaseRequest, token: str, still_open: Callable[[], bool]
    ) -> web.StreamResponse:
        """Talk to one page until it goes, or its session ends."""
        if self._open >= SOCKETS_MAX:
            return web.Response(status=429, text=f"{SOCKETS_MAX} pages are open already")
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX, protocols=("weft.live",)
        )
        self._open += 1
        page = _Page(self._backend, socket, token)
        ending = Tasks()
        try:
            await socket.prepare(http)
            ending.spawn(_close_with_session(socket, still_open), "dashboard-session")
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    continue
                with contextlib.suppress(msgspec.DecodeError):
                    await page.take(msgspec.json.decode(message.data, type=Wish))
        finally:
            self._open -= 1
            await ending.close()
            await page.close()
        return socket


async def _close_with_session(
    socket: web.WebSocketResponse, still_open: Callable[[], bool]
) -> None:
    while still_open():  # noqa: ASYNC110 - time passes, no event
        await asyncio.sleep(SESSION_LOOK_SECONDS)
    await socket.close(code=4401, message=b"the session ended")


class _Page:
    """One page's subscriptions."""

    def __init__(self, backend: Backend, socket: web.WebSocketResponse, token: str) -> None:
        self._backend = backend
        self._socket = socket
        self._token = token
        self._tasks = Tasks()
        self._running: dict[int, asyncio.Task[Any]] = {}

    async def close(self) -> None:
        await self._tasks.close()

    async def take(self, wish: Wish) -> None:
        if wish.close:
            running = self._running.pop(wish.close, None)
            if running is not None:
                running.cancel()
        if not wish.open or wish.open in self._running:
            return
        if not guard.is_api(wish.path.partition("?")[0]):
            await self._error(wish.open, orjson.dumps({"code": 404, "message": "no such path"}))
            return
        if len(self._running) >= SUBSCRIPTIONS_MAX:
            text = f"a page looks at {SUBSCRIPTIONS_MAX} things at most"
            await self._error(wish.open, orjson.dumps({"code": 429, "message": text}))
            return
        follow = {
            "objects": self._objects, "page": self._page, "text": self._text,
            "requests": self._requests,
        }[wish.form]  # fmt: skip
        work = self._keep(wish.open, follow(wish.open, wish.path))
        self._running[wish.open] = self._tasks.spawn(work, "dashboard-live")

    async def _keep(self, number: int, work: Any) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await work
        self._running.pop(number, None)

    async def _send(self, number: int, name: str, body: bytes) -> None:
        await self._socket.send_str(f'{{"id":{number},"{name}":{body.decode()}}}')

    async def _error(self, number: int, body: bytes) -> None:
        await self._send(number, "error", body if body[:1] == b"{" else b"{}")

    async def _trying(self, number: int, once: Callable[[], Any]) -> None:
        """Again and again: what breaks off is begun anew, what is refused is told once."""
        told = b""
        while True:
            pause = RETRY_SECONDS
            try:
                await once()
                told = b""
            except Refused as refused:
                pause = 0 if refused.code == GONE else ABSENT_SECONDS
                if refused.code != GONE and refused.body != told:
                    told = refused.body
                    await self._error(number, told)
            except (ClientError, Unreachable, TimeoutError) as error:
                log.debug("dashboard: look broke off error=%s", error)
            await asyncio.sleep(pause)

    async def _get(self, path: str) -> bytes:
        status, body = await self._backend.get(path, self._token)
        if status != 200:
            raise Refused(status, body)
        return body

    async def _objects(self, number: int, path: str) -> None:
        sign = "&" if "?" in path else "?"

        async def once() -> None:
            body = await self._get(path)
            await self._send(number, "list", body)
            version = orjson.loads(body)["metadata"].get("resourceVersion", "")
            while True:
                where = f"{path}{sign}watch=1&resourceVersion={version}"
                async for lines in self._lines(where):
                    await self._send(number, "events", b"[" + b",".join(lines) + b"]")
                    last = orjson.loads(lines[-1])["object"]
                    version = last.get("metadata", {}).get("resourceVersion", version)

        await self._trying(number, once)

    async def _lines(self, path: str) -> AsyncIterator[list[bytes]]:
        """A watch's events, as many at once as have come. Refused."""
        async with self._backend.stream(path, self._token) as answer:
            if answer.status != 200:
                raise Refused(answer.status, await answer.read())
            rest = b""
            async for piece in answer.content.iter_any():
                *whole, rest = (rest + piece).split(b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    raise Unreachable("an event is too large")
                lines = [line for line in whole if line]
                if any(line.startswith(b'{"type":"ERROR"') for line in lines):
                    raise Refused(GONE, b"")
                if lines:
                    yield lines

    async def _page(self, number: int, path: str) -> None:
        before = b""

        async def once() -> None:
            nonlocal before
            body = await self._get(path)
            if body != before:
                before = body
                await self._send(number, "page", body)

        await self._trying(number, once)

    async def _requests(self, number: int, path: str) -> None:
        """Single requests: asked for again from where the last answer ended."""
        after, sign = 0, "&" if "?" in path else "?"

        async def once() -> None:
            nonlocal after
            while True:
                body = await self._get(f"{path}{sign}after={after}&wait={WAIT_SECONDS}")
                found = orjson.loads(body)
                if found["newest"] < after or found["requests"]:
                    await self._send(number, "page", body)
                after = found["newest"]

        await self._trying(number, once)

    async def _text(self, number: int, path: str) -> None:
        """A log: read to its end, once."""
        try:
            async with self._backend.stream(path, self._token) as answer:
                if answer.status != 200:
                    raise Refused(answer.status, await answer.read())
                async for piece in answer.content.iter_any():
                    await self._send(number, "text", orjson.dumps(piece.decode(errors="replace")))
            await self._send(number, "end", b"true")
        except Refused as refused:
            await self._error(number, refused.body)
        except (ClientError, TimeoutError) as error:
            await self._error(number, orjson.dumps({"message": str(error)}))
