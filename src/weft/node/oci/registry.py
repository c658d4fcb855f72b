"""Pulls images from registries: the OCI distribution specification (1.1), with tokens.

Credentials go to the registry they are for and to the token server that it names, in headers only.
"""

import asyncio
import base64
import contextlib
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from weft.node.oci.blobs import Blobs
from weft.node.oci.documents import (
    ACCEPTED,
    MANIFEST_BYTES_MAX,
    Descriptor,
    ImageError,
    Index,
    Platform,
    choose,
    digest_of,
    read_manifest,
)
from weft.node.oci.references import Reference
from weft.node.oci.registries import Credentials, Endpoint

log = logging.getLogger("weft.node")

CONNECT_SECONDS_MAX = 10.0
SILENCE_SECONDS_MAX = 30.0
"""Without a byte: the transfer is begun again where it ended."""
ATTEMPTS_MAX = 5
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)
LAYERS_AT_ONCE_MAX = 3
TOKEN_BYTES_MAX = 1 << 20
ERROR_BYTES_MAX = 4096
_READ_BYTES = 1 << 18
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_AGAIN = (408, 429, 500, 502, 503, 504)


class _Missing(ImageError):
    """The registry has no such thing."""


class _Interrupted(Exception):
    """Worth another attempt."""


class Source:
    """One registry, for one repository, for the time of one pull."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, reference: Reference
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._reference = reference
        self._base = f"{endpoint.url}/v2/{reference.path}"
        self._authorization = ""
        self._tls = _tls(endpoint)

    async def manifest(self, wanted: str) -> bytes:
        """By tag or digest. ImageError."""
        accept = {"Accept": ", ".join(ACCEPTED)}
        async with self._open(f"{self._base}/manifests/{wanted}", accept) as answer:
            body = await answer.content.read(MANIFEST_BYTES_MAX + 1)
            while len(body) <= MANIFEST_BYTES_MAX and (more := await answer.content.readany()):
                body += more
        if len(body) > MANIFEST_BYTES_MAX:
            raise ImageError(f"the manifest has more than {MANIFEST_BYTES_MAX} bytes")
        if ":" in wanted and digest_of(body) != wanted:
            raise ImageError(f"{wanted} came with other content ({digest_of(body)})")
        return body

    async def blob(self, descriptor: Descriptor, blobs: Blobs) -> None:
        """Fetch it unless it is there; an interrupted transfer goes on where it ended."""
        if blobs.has(descriptor.digest):
            return
        partial = blobs.partial(descriptor.digest)
        why: Exception | None = None
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS)) - 1])
            try:
                await self._fetch(descriptor, partial)
                await asyncio.to_thread(blobs.adopt, partial, descriptor.digest)
                return
            except (_Interrupted, aiohttp.ClientError, TimeoutError) as error:
                why = error
        raise ImageError(f"{descriptor.digest}: {_words(why)}, {ATTEMPTS_MAX} times")

    async def _fetch(self, descriptor: Descriptor, partial: Path) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        if have > descriptor.size:
            partial.unlink()
            have = 0
        if have == descriptor.size and have:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        url = f"{self._base}/blobs/{descriptor.digest}"
        async with self._open(url, headers) as answer:
            mode = "ab" if have and answer.status == 206 else "wb"
            size = have if mode == "ab" else 0
            with partial.open(mode) as file:
                async for data in answer.content.iter_chunked(_READ_BYTES):
                    size += len(data)
                    if size > descriptor.size:
                        break
                    file.write(data)
        if size > descriptor.size:
            partial.unlink()
            raise ImageError(f"{descriptor.digest} is larger than its {descriptor.size} bytes")
        if size < descriptor.size:
            raise _Interrupted(f"{size} of {descriptor.size} bytes came")

    # --- requests

    @contextlib.asynccontextmanager
    async def _open(
        self, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer. ImageError for a final refusal, _Interrupted for a passing one."""
        candidates: list[Credentials | None] = [*self._endpoint.credentials, None]
        while True:
            sent = dict(headers)
            if self._authorization:
                sent["Authorization"] = self._authorization
            # On the way to another host the client leaves Authorization out.
            async with self._session.get(url, headers=sent, ssl=self._tls) as answer:
                challenge = answer.headers.get("WWW-Authenticate", "")
                refused = answer.status in (401, 403) and challenge
                if refused and await self._authorize(challenge, candidates):
                    continue
                if answer.status >= 300:
                    raise await self._refusal(answer)
                yield answer
                return

    async def _authorize(self, challenge: str, candidates: list[Credentials | None]) -> bool:
        """Take the next credentials; False when none are left or none fit."""
        scheme = challenge.partition(" ")[0]
        while candidates:
            user = candidates.pop(0)
            if scheme.lower() == "basic":
                if user is not None:
                    self._authorization = _basic(user)
                    return True
            elif scheme.lower() == "bearer" and (token := await self._token(challenge, user)):
                self._authorization = f"Bearer {token}"
                return True
        return False

    async def _token(self, challenge: str, user: Credentials | None) -> str:
        """From the token server; "" when it refuses these credentials."""
        realm, query = token_request(challenge, self._endpoint.url, self._reference.path)
        if not realm:
            return ""
        if user is not None and user.identity_token:
            form = query | {"grant_type": "refresh_token", "client_id": "weft",
                            "refresh_token": user.identity_token}  # fmt: skip
            request = self._session.post(realm, data=form, ssl=self._tls)
        else:
            headers = {"Authorization": _basic(user)} if user is not None else {}
            request = self._session.get(realm, params=query, headers=headers, ssl=self._tls)
        async with request as answer:
            body = await _start_of(answer, TOKEN_BYTES_MAX)
            if answer.status != 200:
                if answer.status in _AGAIN:
                    raise _Interrupted(f"the token server answered {answer.status}")
                return ""
        return token_in(body)

    async def _refusal(self, answer: aiohttp.ClientResponse) -> Exception:
        name = self._reference.repository
        if answer.status in (401, 403):
            return ImageError(
                f"pull access denied for {name}, repository does not exist or may require"
                " authorization"
            )
        if answer.status == 404:
            return _Missing("not found")
        text = f"{self._endpoint.host} answered {answer.status}{await _error_of(answer)}"
        return _Interrupted(text) if answer.status in _AGAIN else ImageError(text)


async def pull(
    session: aiohttp.ClientSession, reference: Reference, places: tuple[Endpoint, ...],
    blobs: Blobs, platform: Platform,
) -> str:  # fmt: skip
    """Bring an image's content into the blobs, from the first place that has it; the digest of
    its manifest. ImageError; within `blobs.in_use`."""
    failures: list[str] = []
    for place in places:
        try:
            return await _pull_from(Source(session, place, reference), reference, blobs, platform)
        except (ImageError, _Interrupted, aiohttp.ClientError, TimeoutError) as error:
            failures.append(f"{place.host}: {_words(error)}")
    raise ImageError("; ".join(dict.fromkeys(failures)))


async def _pull_from(source: Source, reference: Reference, blobs: Blobs, platform: Platform) -> str:
    body = await _again(source, reference.digest or reference.tag)
    manifest = read_manifest(body)
    if isinstance(manifest, Index):
        body = await _again(source, choose(manifest, platform).digest)
        manifest = read_manifest(body)
        if isinstance(manifest, Index):
            raise ImageError("an index within an index")
    if manifest.config.size > MANIFEST_BYTES_MAX:
        raise ImageError(f"a configuration of {manifest.config.size} bytes")
    limit = asyncio.Semaphore(LAYERS_AT_ONCE_MAX)

    async def fetch(descriptor: Descriptor) -> None:
        async with limit:
            await source.blob(descriptor, blobs)

    try:
        async with asyncio.TaskGroup() as group:
            for descriptor in {d.digest: d for d in (manifest.config, *manifest.layers)}.values():
                group.create_task(fetch(descriptor))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return blobs.put(body)


async def _again(source: Source, wanted: str) -> bytes:
    for attempt in range(ATTEMPTS_MAX):
        if attempt:
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS)) - 1])
        try:
            return await source.manifest(wanted)
        except _Interrupted as error:
            why = error
    raise ImageError(_words(why))


def client_session() -> aiohttp.ClientSession:
    """With this module's limits of time."""
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS_MAX, sock_read=SILENCE_SECONDS_MAX
    )
    return aiohttp.ClientSession(
        timeout=timeout, auto_decompress=False, headers={"User-Agent": "weft"}, trust_env=True
    )


def _tls(endpoint: Endpoint) -> ssl.SSLContext | bool:
    if endpoint.tls.insecure_skip_verify:
        return False
    if endpoint.tls.ca_file:
        try:
            return ssl.create_default_context(cafile=endpoint.tls.ca_file)
        except OSError as error:
            raise ImageError(f"{endpoint.tls.ca_file}: {error.strerror}") from None
    return True


def _basic(user: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{user.username}:{user.password}".encode()).decode()


async def _error_of(answer: aiohttp.ClientResponse) -> str:
    """What the registry says itself."""
    return error_in(await _start_of(answer, ERROR_BYTES_MAX))


async def _start_of(answer: aiohttp.ClientResponse, size: int) -> bytes:
    """Its first bytes: all of them, however many pieces they come in."""
    body = b""
    while len(body) < size and (more := await answer.content.read(size - len(body))):
        body += more
    return body


def token_request(challenge: str, registry: str, path: str) -> tuple[str, dict[str, str]]:
    """(URL of the token server, what to ask it for); the URL is empty where none is named.
    Raises ImageError."""
    parameters = dict(_PARAMETER.findall(challenge.partition(" ")[2]))
    realm = parameters.get("realm", "")
    try:
        scheme = urlsplit(realm).scheme
    except ValueError:
        raise ImageError("the registry names a token server that is no URL") from None
    if realm and scheme != "https" and registry.startswith("https:"):
        raise ImageError("the registry names a token server without TLS")
    query = {"scope": parameters.get("scope") or f"repository:{path}:pull"}
    if service := parameters.get("service"):
        query["service"] = service
    return realm, query


def token_in(body: bytes) -> str:
    """In a token server's answer; "" where there is none that can be sent in a header."""
    try:
        found = json.loads(body)
        token = str(found.get("token") or found.get("access_token") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return token if token.isascii() and token.isprintable() else ""


def error_in(body: bytes) -> str:
    """The first error that a registry's answer names, in brackets."""
    try:
        error: Any = json.loads(body)["errors"][0]
        return f" ({error.get('code', '')}: {error.get('message', '')})"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""


def _words(error: Exception | None) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached ({error.os_error.strerror or error.os_error})"
    if isinstance(error, TimeoutError):
        return "gave no answer in time"
    return str(error) or type(error).__name__
