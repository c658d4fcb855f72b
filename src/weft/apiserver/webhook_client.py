"""Calls webhooks: by URL, or as a Service at one of its ready endpoints.

A Service is called at its endpoints' own addresses, under its name as TLS knows it
(`NAME.NAMESPACE.svc`): the server needs no place in the pods' network.
"""

import asyncio
import base64
import binascii
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
from msgspec import Struct

from weft.api import registry
from weft.apiserver import codec, keys, verbs
from weft.store.interface import Store

log = logging.getLogger("weft.apiserver")
ANSWER_BYTES_MAX = 8 * 1024 * 1024
CALLS_MAX = 200
"""Calls of webhooks at once; more wait, within their own time."""
CONTEXTS_KEPT_MAX = 64
SERVICE_NAME = "kubernetes.io/service-name"
ENDPOINTS_TRIED_MAX = 3


SocketFactory = Callable[[Any], socket.socket]
"""As aiohttp's TCPConnector takes it."""


class CallFailed(Exception):
    """Why a webhook gave no answer, in one sentence."""


class Place(Struct, frozen=True):
    """Where to connect, and under which name."""

    url: str
    server_name: str = ""
    host: str = ""


class WebhookClient:
    """Keeps connections open between calls; `close` in the end."""

    def __init__(self, store: Store, socket_factory: SocketFactory | None = None) -> None:
        self._store = store
        self._socket_factory = socket_factory
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._free = asyncio.Semaphore(CALLS_MAX)
        self._turn = 0

    async def close(self) -> None:
        """Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        """POST a review to where a clientConfig says. Raises CallFailed, within `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._free:
                return await self._call(config, body, seconds)
        except TimeoutError:
            raise CallFailed(f"context deadline exceeded after {seconds:g} s") from None

    async def _call(self, config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        context = self._context(str(config.get("caBundle") or ""))
        places = await self._places(config)
        failed = CallFailed("it has no ready endpoints")
        for place in places:
            try:
                return await self._post(place, context, body, seconds)
            except aiohttp.ClientConnectorError as error:
                failed = CallFailed(f'Post "{place.host or place.url}": {error}')
            except (aiohttp.ClientError, OSError) as error:
                why = str(error) or type(error).__name__
                raise CallFailed(f'Post "{place.host or place.url}": {why}') from error
        raise failed

    async def _post(
        self, place: Place, context: ssl.SSLContext, body: bytes, seconds: float
    ) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=self._socket_factory),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=True,
            )
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if place.host:
            headers["Host"] = place.host
        async with self._session.post(
            place.url,
            data=body,
            headers=headers,
            ssl=context,
            server_hostname=place.server_name or None,
            allow_redirects=False,
            params={"timeout": f"{seconds:g}s"},
        ) as response:
            if response.status != 200:
                raise CallFailed(f"the server answered {response.status}")
            pieces: list[bytes] = []
            size = 0
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > ANSWER_BYTES_MAX:
                    raise CallFailed(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
                pieces.append(piece)
            return b"".join(pieces)

    def _context(self, bundle: str) -> ssl.SSLContext:
        found = self._contexts.get(bundle)
        if found is None:
            try:
                roots = base64.b64decode(bundle).decode() if bundle else None
                found = ssl.create_default_context(cadata=roots)
            except (binascii.Error, ValueError, ssl.SSLError) as error:
                raise CallFailed(f"caBundle holds no certificates: {error}") from error
            if len(self._contexts) >= CONTEXTS_KEPT_MAX:
                self._contexts.clear()
            self._contexts[bundle] = found
        return found

    async def _places(self, config: Mapping[str, Any]) -> Sequence[Place]:
        if url := config.get("url"):
            return (Place(str(url)),)
        service = config.get("service") or {}
        namespace, name = service.get("namespace") or "", service.get("name") or ""
        port = service.get("port") or 443
        host = f"{name}.{namespace}.svc"
        path = "/" + str(service.get("path") or "").lstrip("/")
        found = await self._endpoints(namespace, name, port)
        self._turn += 1
        start = self._turn % len(found) if found else 0
        tried = [*found[start:], *found[:start]][:ENDPOINTS_TRIED_MAX]
        return [Place(f"https://{at}{path}", host, f"{host}:{port}") for at in tried]

    async def _endpoints(self, namespace: str, name: str, port: int) -> list[str]:
        """`address:port` of every ready endpoint. Raises CallFailed."""
        entry = await self._store.get(keys.key(verbs.known_kind("services"), name, namespace))
        if entry is None:
            raise CallFailed(f'service "{name}" not found in namespace "{namespace}"')
        ports = (codec.to_object(entry.value).get("spec") or {}).get("ports") or ()
        known = next((p for p in ports if p.get("port") == port), None)
        if known is None:
            raise CallFailed(f'service "{namespace}/{name}" has no port {port}')
        slices = registry.by_resource("discovery.k8s.io", "v1", "endpointslices")
        assert slices is not None
        found: list[str] = []
        for item in (await self._store.range(keys.prefix(slices, namespace))).entries:
            if codec.labels(item.value).get(SERVICE_NAME) == name:
                found += _ready(codec.to_object(item.value), known.get("name") or "")
        return sorted(found)


def _ready(slice_: Mapping[str, Any], port_name: str) -> list[str]:
    ports = [p["port"] for p in slice_.get("ports") or () if (p.get("name") or "") == port_name]
    if not ports:
        return []
    return [
        f"[{address}]:{ports[0]}" if ":" in address else f"{address}:{ports[0]}"
        for endpoint in slice_.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in (endpoint.get("addresses") or ())[:1]
    ]
