"""The API server as the dashboard reaches it: over a Unix socket, in somebody's name."""

from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web

BASE = "http://weft"
PASSED_ON = ("Accept", "Content-Type", "Sec-WebSocket-Protocol")
"""Headers of a browser's request that the API server gets; no others, so nobody impersonates."""
PASSED_BACK = ("Content-Type", "Warning", "Retry-After", "ETag", "Audit-Id")
CONNECTIONS_MAX = 2000
CONNECT_SECONDS_MAX = 10.0
PIECE_BYTES = 64 * 1024
AGENT = "weft-dashboard"
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Unreachable(Exception):
    """The API server does not answer: says why."""


class Backend:
    """Requests with a user's token."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: ClientSession | None = None

    @property
    def session(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=UnixConnector(self._socket, limit=CONNECTIONS_MAX),
                timeout=ClientTimeout(total=None, connect=CONNECT_SECONDS_MAX),
                auto_decompress=True,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def user_of(self, token: str) -> str | None:
        """The name of whom a token stands for; None when it is not known. Unreachable."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            async with self.session.post(BASE + WHO_AM_I, json=body, headers=_as(token)) as answer:
                if answer.status not in (200, 201):
                    return None
                found = orjson.loads(await answer.read())
                return str(found["status"]["userInfo"]["username"])
        except (ClientError, OSError, TimeoutError) as error:
            raise Unreachable(str(error)) from error
        except ValueError:  # a token with characters that no header holds
            return None

    async def get(self, path: str, token: str) -> tuple[int, bytes]:
        """Status and body of a document. Unreachable."""
        try:
            async with self.session.get(BASE + path, headers=_as(token)) as answer:
                return answer.status, await answer.read()
        except (ClientError, OSError, TimeoutError) as error:
            raise Unreachable(str(error)) from error

    def stream(self, path: str, token: str) -> Any:
        """A document that goes on: the context of an aiohttp response."""
        return self.session.get(BASE + path, headers=_as(token))

    async def relay(
        self, http: web.BaseRequest, token: str, safe: dict[str, str]
    ) -> web.StreamResponse:
        """Pass a browser's request on, and the answer back as it comes. Unreachable."""
        head = _as(token) | {name: http.headers[name] for name in PASSED_ON if name in http.headers}
        body = http.content if http.body_exists else None
        try:
            async with self.session.request(
                http.method, BASE + http.path_qs, headers=head, data=body, allow_redirects=False
            ) as answer:
                back = web.StreamResponse(status=answer.status, headers=safe)
                for name in PASSED_BACK:
                    for value in answer.headers.getall(name, []):
                        back.headers.add(name, value)
                back.headers["Cache-Control"] = "no-store"
                await back.prepare(http)
                async for piece in answer.content.iter_any():
                    await back.write(piece)
                await back.write_eof()
                return back
        except (ClientError, OSError, TimeoutError) as error:
            if isinstance(error, ConnectionResetError):
                raise
            raise Unreachable(str(error)) from error


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "User-Agent": AGENT}
