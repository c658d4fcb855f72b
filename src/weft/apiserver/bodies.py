"""Reads the bodies of requests: so much, so long, so many at once. A client that sends slowly
costs no more than its own place."""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web

from weft.apiserver import failures
from weft.apiserver.access import User

BODY_BYTES_MAX = 3 * 1024 * 1024
"""As kube-apiserver's limit for resource requests."""
BODY_SECONDS_MAX = 30.0
"""For a whole body to come; then 408."""
BODIES_MAX = 1000
"""That are being read at once; more are answered 429."""
BODIES_OF_USER_MAX = 200
RETRY_AFTER_SECONDS = 1


class Bodies:
    """Counts what is being read."""

    def __init__(self, seconds_max: float = BODY_SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._reading: dict[str, int] = {}
        self._total = 0

    async def read(self, http: web.BaseRequest, user: User) -> bytes:
        """The whole body. Raises ApiError 408, 413, 429."""
        if (http.content_length or 0) > BODY_BYTES_MAX:
            raise failures.too_large(BODY_BYTES_MAX)
        with self._place(user.name):
            try:
                async with asyncio.timeout(self._seconds_max):
                    return await _read(http)
            except TimeoutError:
                raise failures.body_too_slow(self._seconds_max) from None

    @contextlib.contextmanager
    def _place(self, user: str) -> Iterator[None]:
        mine = self._reading.get(user, 0)
        if self._total >= BODIES_MAX or mine >= BODIES_OF_USER_MAX:
            raise failures.too_many_requests(RETRY_AFTER_SECONDS)
        self._total += 1
        self._reading[user] = mine + 1
        try:
            yield
        finally:
            self._total -= 1
            self._reading[user] -= 1
            if not self._reading[user]:
                del self._reading[user]


async def _read(http: web.BaseRequest) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in http.content.iter_any():
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise failures.too_large(BODY_BYTES_MAX)
        pieces.append(piece)
    return b"".join(pieces)
