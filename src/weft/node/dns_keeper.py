"""Tells the node's DNS server the names of now: writes them to its file whenever they change."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from weft.api.istio.networking_v1 import ServiceEntry
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.snapshot import Snapshot
from weft.api.wellknown import LABEL_SERVICE_NAME
from weft.lib.aio import ticks
from weft.lib.files import replace_file
from weft.node.dns.names import Names, encoded
from weft.node.dns_records import CLASSES, build_zone

log = logging.getLogger("weft.node")

GATHER_SECONDS = 0.003
"""Changes that come together are written together."""
SHARE_OF_TIME = 8
"""In a burst of changes: after a write, this many times as long nothing is written."""
PAUSE_SECONDS_MAX = 1.0


class NamesKeeper:
    """`write` once, then `run`."""

    def __init__(
        self,
        path: Path,
        objects: Snapshot,
        namespaces: Callable[[], Mapping[str, str]],
        upstreams: tuple[str, ...],
    ) -> None:
        """`objects` must hold CLASSES; `namespaces` says those of pods by address."""
        self._path = path
        self._objects = objects
        self._namespaces = namespaces
        self._upstreams = upstreams
        self._dirty = asyncio.Event()
        self._written = b""

    def changed(self) -> None:
        """Something that names are made of."""
        self._dirty.set()

    def object_changed(
        self, cls: type[Struct], before: Struct | None, after: Struct | None
    ) -> None:
        """Endpoints count where they have names: pods that come and go change few zones."""
        if cls not in CLASSES:
            return
        found = after if after is not None else before
        if not isinstance(found, EndpointSlice) or self._is_named(found):
            self._dirty.set()

    def _is_named(self, piece: EndpointSlice) -> bool:
        name = piece.metadata.labels.get(LABEL_SERVICE_NAME, "")
        service = self._objects.get(Service, name, piece.metadata.namespace)
        return service is None or service.spec.cluster_ip in ("", "None")

    async def write(self) -> None:
        """OSError."""
        self._dirty.clear()
        objects = self._objects
        zone = build_zone(
            objects.list(Service), objects.list(EndpointSlice), objects.list(ServiceEntry)
        )
        data = encoded(Names(zone, self._namespaces(), self._upstreams))
        if data != self._written:
            await asyncio.to_thread(_replace, self._path, data)
            self._written = data

    async def close(self) -> None:
        """Write what is not written yet; nothing runs any more."""
        if self._dirty.is_set():
            with contextlib.suppress(OSError):
                await self.write()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(GATHER_SECONDS)
            started = ticks()
            try:
                await self.write()
            except OSError as error:
                log.warning("names not written path=%s error=%s", self._path, error)
                self._dirty.set()
                await asyncio.sleep(PAUSE_SECONDS_MAX)
            await asyncio.sleep(min((ticks() - started) * SHARE_OF_TIME, PAUSE_SECONDS_MAX))


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, data, durable=False)
