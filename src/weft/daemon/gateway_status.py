"""Writes the statuses of Gateway API objects, when they change and no sooner than they are true."""

import asyncio
import logging
from typing import Any

import msgspec
from msgspec import Struct

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.daemon.mesh_loop import MeshLoop
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339
from weft.mesh.gateway_api_facts import GatewayFacts, gateway_facts, merged, with_facts
from weft.mesh.gateway_api_objects import ObjectStatus
from weft.mesh.model import NodeSettings
from weft.mesh.node_settings import node_settings
from weft.runtime.cache import Cache
from weft.runtime.client import Client
from weft.xds.server import AdsServer

log = logging.getLogger("weft.gateway-api")

LOOK_SECONDS = 0.1
"""How often statuses are compared with what was written; equal ones cost a comparison."""
Json = dict[str, Any]
_Key = tuple[str, str, str]


class _Written(Struct, frozen=True):
    """What was written, and what it was made from."""

    status: ObjectStatus
    facts: GatewayFacts
    acknowledged: bool
    body: Json


def _programmed(written: _Written | None, status: ObjectStatus) -> bool:
    """Whether this generation of a Gateway was programmed already: a later change of something
    else that is on its way to the proxies does not undo that."""
    if written is None or written.status.uid != status.uid or not written.acknowledged:
        return False
    kind = "Programmed"
    return [c for c in written.status.status.get("conditions", ()) if c["type"] == kind] == [
        c for c in status.status.get("conditions", ()) if c["type"] == kind
    ]


def _settled(written: _Written, status: ObjectStatus) -> bool:
    """Whether nothing can be new: what is written of a route depends on its status alone, once
    that was acknowledged."""
    return written.status is status and written.acknowledged and not status.gateway


class GatewayStatusWriter:
    """Run it beside the mesh loop."""

    def __init__(self, client: Client, cache: Cache, mesh: MeshLoop, ads: AdsServer) -> None:
        self._client = client
        self._cache = cache
        self._mesh = mesh
        self._ads = ads
        self._statuses: tuple[ObjectStatus, ...] = ()
        self._number = 0
        """Of the build that they came with."""
        self._seen: tuple[object, ...] = ()
        self._written: dict[_Key, _Written] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
            except (ApiError, OSError) as error:
                log.warning("status not written error=%s", error)
                self._seen = ()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        nodes = tuple(node_settings(node) for node in self._cache.list(Node))
        statuses = self._mesh.statuses
        if statuses is not self._statuses:
            self._statuses, self._number = statuses, self._mesh.number
        in_sync = bool(nodes) and all(self._has(node.name) for node in nodes)
        seen = (id(statuses), nodes, in_sync)
        if self._seen == seen:
            return
        known: dict[_Key, _Written] = {}
        for status in statuses:
            key = (status.cls.__name__, status.namespace, status.name)
            before = self._written.get(key)
            if before is not None and _settled(before, status):
                known[key] = before  # of thousands all but one
                continue
            known[key] = await self._brought_up_to_date(status, before, nodes, in_sync)
        self._written, self._seen = known, seen

    def _has(self, node: str) -> bool:
        """Whether the node's proxy has all that these statuses speak of, whatever came later."""
        return self._ads.answered(node) >= self._number and not self._ads.nacks(node)

    async def _brought_up_to_date(
        self,
        status: ObjectStatus,
        before: _Written | None,
        nodes: tuple[NodeSettings, ...],
        in_sync: bool,
    ) -> _Written:
        facts = gateway_facts(status, nodes) if status.gateway else GatewayFacts()
        acknowledged = in_sync or _programmed(before, status)
        if before is not None and (before.status, before.facts, before.acknowledged) == (
            status, facts, acknowledged,
        ):  # fmt: skip
            return before
        body = with_facts(status, facts, acknowledged)
        if before is None or (before.status.uid, before.body) != (status.uid, body):
            await self._write(status, body)
        return _Written(status, facts, acknowledged, body)

    async def _write(self, status: ObjectStatus, body: Json) -> None:
        kind = registry.kind_for(status.cls)
        try:
            found = msgspec.json.decode(await self._client.get(kind, status.name, status.namespace))
            before = found.get("status") or {}
            made = merged(body, before, rfc3339(now()))
            if found["metadata"].get("uid") == status.uid and made != before:
                await self._client.patch(
                    kind, status.name, {"status": made}, status.namespace, subresource="status"
                )
        except ApiError as error:
            if error.code not in (404, 409):  # deleted, or changed again: the next build knows
                raise
