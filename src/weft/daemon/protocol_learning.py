"""Listens to the servers of undeclared ports and pins what it learns on the Service."""

import asyncio
import contextlib
import logging

from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Service
from weft.api.registry import kind_for
from weft.api.wellknown import ANNOTATION_LEARNED_PROTOCOLS
from weft.mesh.learned_protocols import (
    Observation,
    Place,
    Port,
    annotation,
    conclusion,
    learned,
    observed,
    undeclared_ports,
)
from weft.mesh.model import MeshModel
from weft.node.dialing import Dialer
from weft.runtime.cache import Cache
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.plan import RecordEvent

log = logging.getLogger("weft.protocols")

LISTEN_SECONDS = 0.5
"""How long a server may take to begin; one that needs longer counts as silent."""
LISTENED_AT_ONCE_MAX = 8
FIRST_BYTES_MAX = 64
PAUSE_SECONDS = 0.1
"""Changes gather this long: pods become ready one after the other."""
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 30.0
"""After an endpoint that did not accept a connection, or an API that did not take the answer; twice
as long each time."""


class ProtocolLearner:
    """Run it beside the mesh loop; tell it of every model."""

    def __init__(
        self, client: Client, cache: Cache, recorder: EventRecorder, dialer: Dialer
    ) -> None:
        self._dialer = dialer
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._changed = asyncio.Event()
        self._known: dict[Place, Observation] = {}
        self._model = MeshModel()

    def on_model(self, model: MeshModel) -> None:
        """There is a new model."""
        self._model = model
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        wait: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                complete = await self._look()
            except (ApiError, OSError) as error:
                log.warning("what was learned about ports is not written error=%s", error)
                complete = False
            longer = min(2 * wait, RETRY_SECONDS_MAX) if wait else RETRY_SECONDS
            wait = None if complete else longer

    async def _look(self) -> bool:
        """Listen to servers that are new; write what is new. False when some are still unknown."""
        ports = undeclared_ports(self._cache.list(Service), self._model.destinations)
        places = {place for port in ports for place in port.places}
        self._known = {place: found for place, found in self._known.items() if place in places}
        limit = asyncio.Semaphore(LISTENED_AT_ONCE_MAX)
        await asyncio.gather(*(self._listen(p, limit) for p in places - self._known.keys()))
        by_service: dict[tuple[str, str], list[Port]] = {}
        for port in ports:
            meta = port.service.metadata
            by_service.setdefault((meta.namespace, meta.name), []).append(port)
        for own in by_service.values():
            await self._write(own)
        return places <= self._known.keys()

    async def _listen(self, place: Place, limit: asyncio.Semaphore) -> None:
        _, address, port = place
        async with limit:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2 * LISTEN_SECONDS):
                    reader, writer = await self._dialer.open_connection(address, port)
                first = b""
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(LISTEN_SECONDS):
                        first = await reader.read(FIRST_BYTES_MAX)
                writer.close()
                self._known[place] = observed(first)

    async def _write(self, ports: list[Port]) -> None:
        service = ports[0].service
        before = learned(service)
        found = {p.number: conclusion(p, self._known, before) for p in ports}
        pinned = {number: protocol for number, protocol in found.items() if protocol}
        if pinned == before:
            return
        meta = service.metadata
        body = {"metadata": {"annotations": {ANNOTATION_LEARNED_PROTOCOLS: annotation(pinned)}}}
        with contextlib.suppress(ApiError) if not pinned else contextlib.nullcontext():
            await self._client.patch(kind_for(Service), meta.name, body, meta.namespace)
        for number in sorted(pinned.keys() | before.keys()):
            if pinned.get(number) != before.get(number):
                text = (
                    f"port {number}: its servers speak first, so it is carried as bytes"
                    if number in pinned
                    else f"port {number}: its protocol is found out per connection again"
                )
                self._recorder.record(RecordEvent(service, "Normal", "ProtocolLearned", text))
