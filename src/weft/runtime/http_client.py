"""The client interface over HTTP: for other processes, other machines, any Kubernetes API."""

import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import msgspec
import orjson
from msgspec import Raw, Struct

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.registry import by_name
from weft.api.wellknown import MANAGER
from weft.runtime import kubeconfig
from weft.runtime.client import ObjectList, PatchType, Propagation, WatchEvent
from weft.runtime.kubeconfig import Connection, ssl_context

REQUEST_SECONDS_MAX = 60.0
CONNECT_SECONDS_MAX = 10.0
WATCH_SILENCE_SECONDS_MAX = 300.0
"""A watch without a single byte for so long is dead; servers send bookmarks every minute."""
WATCH_LINE_BYTES_MAX = 16 * 1024 * 1024

_PATCH_TYPES: dict[PatchType, str] = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_GONE = 410


class _ListMeta(Struct, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_token: str = msgspec.field(default="", name="continue")


class _List(Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[Raw, ...] = ()


class _Line(Struct, frozen=True):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Raw


_LIST = msgspec.json.Decoder(_List)
_LINE = msgspec.json.Decoder(_Line)


class HttpClient:
    """As runtime.client.Client. Also raises ApiError 503 when the server cannot be reached and
    504 when it does not answer in time. Must be constructed while an event loop runs."""

    def __init__(
        self, connection: Connection, on_warning: Callable[[str], None] | None = None
    ) -> None:
        """`on_warning` is given what the server has to say about accepted requests."""
        self._on_warning = on_warning
        self._server = connection.server.rstrip("/")
        headers = {"Accept": "application/json", "User-Agent": MANAGER}
        if connection.token:
            headers["Authorization"] = f"Bearer {connection.token}"
        secure = self._server.startswith("https:")
        self._context = ssl_context(connection) if secure else None
        context: ssl.SSLContext | bool = self._context or False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
        )
        self._server_name = connection.tls_server_name or None

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str = "") -> "HttpClient":
        """For a context of a kubeconfig file. Raises KubeconfigError."""
        return cls(kubeconfig.read(path, context))

    @property
    def session(self) -> aiohttp.ClientSession:
        """With what this client trusts and shows, for connections of other kinds."""
        return self._session

    @property
    def server(self) -> str:
        """Base URL."""
        return self._server

    def show(self, certificate: Path, key: Path) -> None:
        """From the next connection on, show this certificate. Raises ssl.SSLError, OSError."""
        if self._context is not None:
            self._context.load_cert_chain(certificate, key)

    def trust(self, roots: str) -> None:
        """From the next connection on, believe servers of these roots (PEM), too. Raises
        ssl.SSLError."""
        if self._context is not None:
            self._context.load_verify_locations(cadata=roots)

    async def read(self, path: str) -> bytes:
        """A document that is no object."""
        return await self._request("GET", path)

    async def get(self, kind: Kind, name: str, namespace: str = "") -> bytes:
        """As Client.get."""
        return await self._request("GET", _path(kind, namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """As Client.list."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit or ""),
            "continue": continue_token,
        }
        body = await self._request("GET", _path(kind, namespace), query)
        try:
            found = _LIST.decode(body)
        except msgspec.MsgspecError as error:
            raise _unreadable(self._server, error) from error
        items = tuple(_identified(kind, bytes(item)) for item in found.items)
        return ObjectList(items, found.metadata.resource_version, found.metadata.continue_token)

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """As Client.watch; with bookmarks. Ends when the server ends it."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_SECONDS_MAX, sock_read=WATCH_SILENCE_SECONDS_MAX
        )
        try:
            async with self._session.get(
                self._server + _path(kind, namespace),
                params=_given(query),
                timeout=timeout,
                server_hostname=self._server_name,
            ) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                async for line in _lines(response.content):
                    yield _watch_event(self._server, line)
        except TimeoutError as error:
            raise ApiError(504, "Timeout", f"{self._server} went silent on a watch") from error
        except aiohttp.ClientError as error:
            raise _unreachable(self._server, error) from error

    async def create(
        self, kind: Kind, obj: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False
    ) -> bytes:
        """As Client.create; `namespace` may also stand in the object."""
        namespace = namespace or _metadata(obj, "namespace")
        return await self._request("POST", _path(kind, namespace), _write(dry_run), obj)

    async def update(
        self,
        kind: Kind,
        obj: Mapping[str, Any],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """As Client.update."""
        path = _path(kind, _metadata(obj, "namespace"), _metadata(obj, "name"), subresource)
        return await self._request("PUT", path, _write(dry_run), obj)

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """As Client.patch."""
        path = _path(kind, namespace, name, subresource)
        media = _PATCH_TYPES[patch_type]
        return await self._request("PATCH", path, _write(dry_run), body, media)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation: Propagation | None = None,
        uid: str = "",
    ) -> bytes:
        """As Client.delete."""
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self._request("DELETE", _path(kind, namespace, name), {}, options)

    async def bind(self, name: str, namespace: str, node: str) -> None:
        """As Client.bind."""
        pods = by_name("pods")
        assert pods is not None
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._request("POST", _path(pods, namespace, name, "binding"), _write(False), body)

    async def evict(self, name: str, namespace: str, uid: str) -> None:
        """POST pods/NAME/eviction for the pod of this uid. Raises ApiError, 429 while a
        PodDisruptionBudget forbids it."""
        pods = by_name("pods")
        assert pods is not None
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        await self._request("POST", _path(pods, namespace, name, "eviction"), _write(False), body)

    async def request_token(
        self, account: str, namespace: str, request: Mapping[str, Any]
    ) -> bytes:
        """As Client.request_token."""
        accounts = by_name("serviceaccounts")
        assert accounts is not None
        path = _path(accounts, namespace, account, "token")
        return await self._request("POST", path, {}, request)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        media: str = "application/json",
    ) -> bytes:
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method,
                self._server + path,
                params=_given(query or {}),
                data=data,
                headers={"Content-Type": media} if data is not None else {},
                server_hostname=self._server_name,
            ) as response:
                content = await response.read()
        except TimeoutError as error:
            raise ApiError(504, "Timeout", f"{self._server} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise _unreachable(self._server, error) from error
        if response.status >= 400:
            raise _error(response.status, content)
        if self._on_warning is not None:
            for text in response.headers.getall("Warning", ()):
                self._on_warning(_warning(text))
        return content


def _warning(header: str) -> str:
    """The text of a Warning header (RFC 7234 5.5): `299 - "text"`."""
    _, _, quoted = header.partition('"')
    return re.sub(r"\\(.)", r"\1", quoted.rpartition('"')[0]) or header


def _path(kind: Kind, namespace: str = "", name: str = "", subresource: str = "") -> str:
    root = f"/apis/{kind.group}" if kind.group else "/api"
    place = f"/namespaces/{quote(namespace, safe='')}" if kind.namespaced and namespace else ""
    tail = "".join(f"/{quote(part, safe='')}" for part in (name, subresource) if part)
    return f"{root}/{kind.version}{place}/{kind.plural}{tail}"


def _metadata(obj: Mapping[str, Any], field: str) -> str:
    return str((obj.get("metadata") or {}).get(field) or "")


def _given(query: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in query.items() if value}


def _write(dry_run: bool) -> dict[str, str]:
    return {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})


def _identified(kind: Kind, item: bytes) -> bytes:
    """Items of a list of kube-apiserver lack apiVersion and kind: put them in front."""
    if b'"apiVersion"' in item[:40] or item[:1] != b"{" or item == b"{}":
        return item
    body = orjson.loads(item)
    return orjson.dumps({"apiVersion": kind.api_version, "kind": kind.kind} | body)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for data in content.iter_any():
        start = len(rest)
        rest += data
        if rest.find(b"\n", start) >= 0:
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in lines:
                if line.strip():
                    yield line
        if len(rest) > WATCH_LINE_BYTES_MAX:
            raise ApiError(500, "InternalError", f"a watch line has over {len(rest)} bytes")


def _watch_event(server: str, line: bytes) -> WatchEvent:
    try:
        event = _LINE.decode(line)
        if event.type == "ERROR":
            raise ApiError.from_status(orjson.loads(bytes(event.object)))
    except (msgspec.MsgspecError, ValueError) as error:
        raise _unreadable(server, error) from error
    return WatchEvent(event.type, event.object)


def _error(code: int, content: bytes) -> ApiError:
    """The server's own Status, or one made from what it said instead."""
    try:
        body = orjson.loads(content)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return ApiError.from_status({"code": code} | body)
    text = content[:200].decode(errors="replace").strip()
    reason = "Expired" if code == _GONE else "Unknown"
    return ApiError(code, reason, f"the server answered {code}: {text or '(nothing)'}")


def _unreachable(server: str, error: Exception) -> ApiError:
    return ApiError(503, "ServiceUnavailable", f"cannot reach {server}: {error}")


def _unreadable(server: str, error: Exception) -> ApiError:
    return ApiError(502, "InternalError", f"{server} answered what is not Kubernetes': {error}")
