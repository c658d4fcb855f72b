"""The command's way to the API server of an instance."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

from weft.api.errors import ApiError
from weft.cli import output
from weft.lib.instance import Settings, data_dir_of, run_dir_of
from weft.runtime.http_client import HttpClient, ssl_context
from weft.runtime.kubeconfig import Connection as Target
from weft.runtime.kubeconfig import KubeconfigError
from weft.runtime.kubeconfig import read as read_kubeconfig


class Connection:
    """Typed calls through `client`, everything else by path."""

    def __init__(self, target: Target) -> None:
        self.client = HttpClient(target, on_warning=_warn)
        self._server = target.server
        self._headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl_context(target)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )

    async def close(self) -> None:
        await self.client.close()
        await self._session.close()

    async def json(self, method: str, path: str, accept: str = "application/json") -> Any:
        """The decoded answer. Raises ApiError."""
        async with self._request(method, path, {"Accept": accept}) as answer:
            return orjson.loads(await answer.read())

    async def text(self, path: str) -> str:
        """The answer as text. Raises ApiError."""
        async with self._request("GET", path, {}) as answer:
            return await answer.text()

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """The answer piece by piece, as it comes. Raises ApiError."""
        async with self._request("GET", path, {}) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        wanted = {**self._headers, **headers}
        try:
            async with self._session.request(method, self._server + path, headers=wanted) as answer:
                if answer.status >= 400:
                    raise _refusal(answer.status, await answer.read())
                yield answer
        except aiohttp.ClientConnectionError as error:
            raise ApiError(503, "ServiceUnavailable", f"{self._server}: {error}") from error


def _warn(text: str) -> None:
    colours = output.style(sys.stderr)
    output.note(f"{colours.busy}warning:{colours.reset} {text}")


def _refusal(code: int, body: bytes) -> ApiError:
    with contextlib.suppress(ValueError):
        status = orjson.loads(body)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return ApiError.from_status(status)
    return ApiError(code, "InternalError", f"{code}: {body[:200].decode(errors='replace')}")


@contextlib.asynccontextmanager
async def connect(data_dir: str | None) -> AsyncIterator[Connection]:
    """A connection to the instance of this data directory; ends the command if there is none."""
    directory = data_dir_of(data_dir)
    settings = Settings(data_dir=directory, run_dir=run_dir_of(directory))
    try:
        target = read_kubeconfig(settings.kubeconfig)
    except (KubeconfigError, OSError):
        place = "" if data_dir is None and "WEFT_HOME" not in os.environ else f" on {directory}"
        output.fail(f"weft does not run{place}", "start it with `weft up`")
    connection = Connection(target)
    try:
        yield connection
    finally:
        await connection.close()
