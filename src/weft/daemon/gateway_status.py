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
from weft.daemon.object_status import PATIENCE_SECONDS, working_nodes
from weft.lib.aio import now, ticks
from weft.lib.timefmt import rfc3339
from weft.mesh.gateway_api_facts import (
    GatewayFacts,
    gateway_facts,
    merged,
    with_facts,
    with_nodes,
)
from weft.mesh.gateway_api_objects import ObjectStatus
from weft.mesh.model import NodeSettings
from weft.mesh.node_settings import node_settings
from weft.mesh.object_status import acknowledged, programmed
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
    nodes: tuple[str, ...] = ()
    """That worked when a route or policy was acknowledged."""


def _programmed(written: _Written | None, status: ObjectStatus) -> bool:
    """Whether this generation of a Gateway was programmed already: a later change of something
    else that is on its way to the proxies does not undo that."""
    if written is None or written.status.uid != status.uid or not written.acknowledged:
        return False
    kind = "Programmed"
    return [c for c in written.status.status.get("conditions", ()) if c["type"] == kind] == [
        c for c in status.status.get("conditions", ()) if c["type"] == kind
    ]


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
        self._waiting: dict[_Key, tuple[ObjectStatus, float]] = {}
        """Routes and policies that are not in force yet, and since when."""

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
        answered = {n: self._ads.answered(n) for n in working_nodes(self._cache, self._ads)}
        seen = (id(statuses), nodes, in_sync, tuple(answered))
        if self._seen == seen and not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        known: dict[_Key, _Written] = {}
        for status in statuses:
            key = (status.cls.__name__, status.namespace, status.name)
            before = self._written.get(key)
            if "parents" not in status.status and "ancestors" not in status.status:
                known[key] = await self._brought_up_to_date(status, before, nodes, in_sync)
                continue
            same = before if before is not None and before.status is status else None
            if same and same.acknowledged and (same.nodes == tuple(answered) or not in_sync):
                known[key] = same  # of thousands all but one
                continue
            told = await self._in_force(key, status, before, answered, waiting.get(key))
            if told is not None:
                known[key] = told
        self._written, self._seen = known, seen

    async def _in_force(
        self,
        key: _Key,
        status: ObjectStatus,
        before: _Written | None,
        answered: dict[str, int],
        waits: tuple[ObjectStatus, float] | None,
    ) -> _Written | None:
        """A route or policy, and where it is in force. It is given a moment to be, so that most are
        written once."""
        book, its = self._mesh.book, (status.cls, status.namespace, status.name)
        number = book.number(its) if its in book.numbers else self._number
        rejection = self._mesh.rejection(its)
        nodes = acknowledged(answered, self._number if number is None else number, rejection)
        body = with_nodes(status, programmed(nodes, rejection))
        done = body == status.status or (bool(nodes.yes) and not nodes.no)
        if not done:
            since = waits[1] if waits is not None and waits[0] is status else ticks()
            self._waiting[key] = (status, since)
            if rejection is None and ticks() - since < PATIENCE_SECONDS:
                return before
        if before is None or (before.status.uid, before.body) != (status.uid, body):
            await self._write(status, body)
        return _Written(status, GatewayFacts(), done, body, tuple(answered))

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
