"""An API client that remembers what it has listed and watched, on this machine: an agent that
starts while the control plane is away finds its pods, names and addresses as they were."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.lib.files import PRIVATE_DIRECTORY_MODE, replace_file
from weft.runtime.client import ObjectList, WatchEvent
from weft.runtime.http_client import HttpClient
from weft.runtime.informer import head
from weft.runtime.kubeconfig import Connection

log = logging.getLogger("weft.nodes")

WRITE_SECONDS = 0.5
"""Between a change and its being written; changes gather meanwhile."""
UNREACHABLE = (503, 504)
OBJECTS_MAX = 500
"""Longer lists are not remembered: one page is a whole list then."""


class _Remembered(Struct):
    """One list, kept current by its watch."""

    items: dict[str, Raw]
    revision: str
    dirty: bool = True


class RememberingClient(HttpClient):
    """As HttpClient. Its memory is a private directory that a reboot may empty."""

    def __init__(self, connection: Connection, directory: Path, *, secrets: bool) -> None:
        """`secrets`: the directory is on a file system in memory, so Secrets may be there."""
        super().__init__(connection)
        directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        self._directory = directory
        self._secrets = secrets
        self._known: dict[str, _Remembered] = {}
        self.stale: set[str] = set()
        """Plurals of kinds of which only the memory is known so far."""

    def remembers(self, plural: str) -> bool:
        return any(self._directory.glob(f"{plural}.*.json"))

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
        """As HttpClient.list; while the server cannot be reached, what is remembered."""
        name = _name(kind, namespace, field_selector)
        try:
            page = await super().list(
                kind,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=limit,
                continue_token=continue_token,
            )
        except ApiError as error:
            kept = self._kept(name) if error.code in UNREACHABLE else None
            if kept is None or name in self._known:
                raise
            self.stale.add(kind.plural)
            self._known[name] = _Remembered(kept.items, kept.revision, dirty=False)
            items = tuple(bytes(raw) for raw in kept.items.values())
            return ObjectList(items, kept.revision)
        self.stale.discard(kind.plural)
        whole = not page.continue_token and not continue_token and not label_selector
        if whole and (self._secrets or kind.plural != "secrets"):
            found = {_key(item): Raw(item) for item in page.items}
            self._known[name] = _Remembered(found, page.resource_version)
        return page

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """As HttpClient.watch."""
        known = self._known.get(_name(kind, namespace, field_selector))
        stream = super().watch(
            kind,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        try:
            async for event in stream:
                self.stale.discard(kind.plural)
                if known is not None:
                    _apply(known, event)
                yield event
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def keep(self) -> None:
        """Write what changed; until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            for name, known in tuple(self._known.items()):
                if known.dirty:
                    known.dirty = False
                    body = msgspec.json.encode(known)
                    try:
                        await asyncio.to_thread(replace_file, self._directory / name, body)
                    except OSError as error:
                        log.warning("not remembered list=%s error=%s", name, error)

    def forget(self) -> None:
        """All of before: the server has the truth."""
        for path in self._directory.glob("*.json"):
            if path.name not in self._known:
                path.unlink(missing_ok=True)

    def _kept(self, name: str) -> _Remembered | None:
        try:
            return msgspec.json.decode((self._directory / name).read_bytes(), type=_Remembered)
        except (OSError, msgspec.MsgspecError):
            return None


def _name(kind: Kind, namespace: str, field_selector: str) -> str:
    digest = hashlib.sha256(f"{kind.group}/{namespace}/{field_selector}".encode()).hexdigest()
    return f"{kind.plural}.{digest[:16]}.json"


def _key(item: bytes | Raw) -> str:
    (namespace, name), _ = head(item)
    return f"{namespace}/{name}"


def _apply(known: _Remembered, event: WatchEvent) -> None:
    _, revision = head(event.object)
    if revision:
        known.revision = str(revision)
    if event.type == "DELETED":
        known.items.pop(_key(event.object), None)
    elif event.type != "BOOKMARK":
        # A copy: the event's bytes are part of a larger buffer.
        known.items[_key(event.object)] = Raw(bytes(event.object))
    known.dirty = known.dirty or event.type != "BOOKMARK"
