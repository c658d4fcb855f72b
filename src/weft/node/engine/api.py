"""A client of a container engine's REST API over its Unix socket (Docker Engine API; Podman serves
the same)."""

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any
from urllib.parse import urlencode

import aiohttp

from weft.node.engine.states import api_version, refusal, shortcomings

CALL_SECONDS_MAX = 120.0
CONNECT_SECONDS_MAX = 10.0
_HEADERS_BYTES_MAX = 1 << 16
_MESSAGE_BYTES_MAX = 2000
_SCHEME = "unix://"
NAMES = {"docker": "Docker", "podman": "Podman"}


class EngineError(Exception):
    """The engine refused something, or does not answer (`status` 0)."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def socket_of(kind: str, given: str, environment: Mapping[str, str], as_root: bool) -> str:
    """Where the engine listens: as told, as its own tools are told, or the usual place."""
    if given:
        return given.removeprefix(_SCHEME)
    said = environment.get("DOCKER_HOST" if kind == "docker" else "CONTAINER_HOST", "")
    if said.startswith(_SCHEME):
        return said.removeprefix(_SCHEME)
    own = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if kind == "podman":
        return "/run/podman/podman.sock" if as_root else f"{own}/podman/podman.sock"
    rootless = f"{own}/docker.sock"
    system = "/var/run/docker.sock"
    usable = not as_root and os.path.exists(rootless) and not os.access(system, os.W_OK)
    return rootless if usable else system


class EngineApi:
    """One engine. `open` before use, then `close`."""

    def __init__(self, kind: str, socket: str) -> None:
        self.kind = kind
        self.socket = socket
        self.version = ""
        """Of the engine, for people."""
        self.architecture = ""
        self.missing: tuple[str, ...] = ()
        """What it does not do, as sentences."""
        self._prefix = ""
        self._session: aiohttp.ClientSession | None = None

    @property
    def podman(self) -> bool:
        return self.kind == "podman"

    async def open(self) -> None:
        """EngineError says what to do."""
        self._look_at_socket()
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self.socket, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        version = await self.call("GET", "/version")
        info = await self.call("GET", "/info")
        name = NAMES.get(self.kind, self.kind)
        try:
            self._prefix = f"/v{api_version(version)}"
        except ValueError as error:
            raise EngineError(f"{name} at {self.socket}: {error}") from None
        if why := refusal(info, os.geteuid() == 0, os.uname().release):
            raise EngineError(f"{name} at {self.socket}: {why}")
        self.version = str(version.get("Version") or "")
        self.architecture = str(info.get("Architecture") or os.uname().machine)
        self.missing = shortcomings(info)

    def _look_at_socket(self) -> None:
        name = NAMES.get(self.kind, self.kind)
        start = "start it (`systemctl start docker`)"
        if self.kind == "podman":
            start = "start it (`systemctl start podman.socket`, or `podman system service -t 0`)"
        try:
            found = os.stat(self.socket)
        except OSError as error:
            raise EngineError(
                f"{name} does not run: {self.socket}: {error.strerror}; {start}, or name its socket"
                " with --engine-socket"
            ) from None
        if not stat.S_ISSOCK(found.st_mode):
            raise EngineError(f"{self.socket} is no socket; name {name}'s with --engine-socket")
        if not os.access(self.socket, os.R_OK | os.W_OK):
            group = "; join its group (`usermod -aG docker`)" if self.kind == "docker" else ""
            raise EngineError(f"{name}'s socket {self.socket} is not for this user{group}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self, method: str, path: str, body: Any = None, *,
        query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
        upload: "IO[bytes] | bytes | None" = None, wait: float | None = CALL_SECONDS_MAX,
    ) -> Any:  # fmt: skip
        """The answer, decoded; an answer of many documents is their list. EngineError."""
        sent = dict(headers or {})
        if upload is not None:
            sent["Content-Type"] = "application/x-tar"
        try:
            async with self._http().request(
                method, self._url(path, query), json=body if upload is None else None,
                data=upload, headers=sent, timeout=_timeout(wait),
            ) as answer:  # fmt: skip
                data = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(error) from error
        if answer.status >= 400:
            raise EngineError(message_of(data), answer.status)
        return _decoded(data)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, Any]
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """An answer without an end. EngineError."""
        try:
            async with self._http().get(self._url(path, query), timeout=_timeout(None)) as answer:
                if answer.status >= 400:
                    raise EngineError(message_of(await answer.read()), answer.status)
                yield answer.content
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(error) from error

    async def hijack(
        self, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that carries the container's own streams after the answer. EngineError."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"POST {self._prefix}{path}{_query(query)} HTTP/1.1\r\nHost: engine\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                reader, writer = await asyncio.open_unix_connection(
                    self.socket, limit=_HEADERS_BYTES_MAX
                )
                try:
                    writer.write(head.encode() + data)
                    answer = await reader.readuntil(b"\r\n\r\n")
                    status = int(answer.split(b" ", 2)[1])
                    if status >= 400:
                        text = await reader.read(_HEADERS_BYTES_MAX)
                        raise EngineError(message_of(_body(answer, text)), status)
                except BaseException:
                    writer.close()
                    raise
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise self._silent(error) from error
        return reader, writer

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise EngineError("the engine's client is closed")
        return self._session

    def _url(self, path: str, query: Mapping[str, Any] | None) -> Any:
        return f"http://engine{self._prefix}{path}{_query(query)}"

    def _silent(self, error: BaseException) -> EngineError:
        why = str(error) or type(error).__name__
        return EngineError(f"{NAMES.get(self.kind, self.kind)} at {self.socket}: {why}")


def _timeout(wait: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=wait, connect=CONNECT_SECONDS_MAX)


def _query(query: Mapping[str, Any] | None) -> str:
    return f"?{urlencode(query)}" if query else ""


def _decoded(data: bytes) -> Any:
    if not data.strip():
        return None
    try:
        return json.loads(data)
    except ValueError:
        found = []
        for line in data.splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found


def message_of(data: bytes) -> str:
    """What the engine complained."""
    try:
        text = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        text = data.decode(errors="replace")
    return text.strip()[:_MESSAGE_BYTES_MAX] or "it does not say why"


def _body(head: bytes, text: bytes) -> bytes:
    """Of an answer in pieces, the JSON in it."""
    if b"chunked" in head.lower():
        start, end = text.find(b"{"), text.rfind(b"}")
        return text[start : end + 1]
    return text
