"""Writes the statuses of Gateway API objects, when they change and no sooner than they are true."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.gateway.v1 import CONTROLLER_NAME
from weft.api.k8s.core_v1 import Node
from weft.daemon.mesh_loop import MeshLoop
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339
from weft.mesh.gateway_api_objects import ObjectStatus
from weft.mesh.node_settings import node_settings
from weft.runtime.cache import Cache
from weft.runtime.client import Client
from weft.xds.server import AdsServer

log = logging.getLogger("weft.gateway-api")

LOOK_SECONDS = 0.1
"""How often statuses are compared with what was written; equal ones cost a comparison."""
Json = dict[str, Any]
_Key = tuple[str, str, str]


def with_facts(status: ObjectStatus, addresses: Sequence[str], acknowledged: bool) -> Json:
    """The status with what only the shell knows: a Gateway's addresses, and that nothing is
    programmed before the proxies have it."""
    body: Json = dict(status.status)
    if "listeners" not in body:
        return body
    body["addresses"] = [{"type": "IPAddress", "value": address} for address in addresses]
    if not acknowledged:
        body["conditions"] = [_pending(c) for c in body["conditions"]]
        body["listeners"] = [
            {**each, "conditions": [_pending(c) for c in each["conditions"]]}
            for each in body["listeners"]
        ]
    return body


def _pending(condition: Json) -> Json:
    if condition["type"] != "Programmed" or condition["status"] != "True":
        return condition
    text = "node proxies have not acknowledged it yet"
    return {**condition, "status": "False", "reason": "Pending", "message": text}


def merged(wanted: Json, known: Mapping[str, Any], time: str) -> Json:
    """The wanted status over the one that is there: a condition keeps its time while its status
    does, and entries of other controllers stay."""
    made = dict(wanted)
    if "conditions" in wanted:
        made["conditions"] = _timed(wanted["conditions"], known.get("conditions"), time)
    if "listeners" in wanted:
        before = {each.get("name"): each for each in known.get("listeners") or ()}
        made["listeners"] = [
            {**each, "conditions": _timed(
                each["conditions"], before.get(each["name"], {}).get("conditions"), time)}
            for each in wanted["listeners"]
        ]  # fmt: skip
    if "parents" in wanted:
        parents = known.get("parents") or ()
        ours = [p for p in parents if p.get("controllerName") == CONTROLLER_NAME]
        made["parents"] = [p for p in parents if p.get("controllerName") != CONTROLLER_NAME]
        for each in wanted["parents"]:
            same = [p for p in ours if p.get("parentRef") == each["parentRef"]]
            before_it = same[0].get("conditions") if same else ()
            timed = _timed(each["conditions"], before_it, time)
            made["parents"].append({**each, "conditions": timed})
    return made


def _timed(conditions: Sequence[Json], known: Any, time: str) -> list[Json]:
    before = {each.get("type"): each for each in known or ()}
    made = []
    for each in conditions:
        old = before.get(each["type"], {})
        kept = old.get("status") == each["status"]
        made.append({**each, "lastTransitionTime": old["lastTransitionTime"] if kept else time})
    return made


def _programmed(written: tuple[str, Json] | None, status: ObjectStatus) -> bool:
    """Whether this generation of a Gateway was programmed already: a later change of something
    else that is on its way to the proxies does not undo that."""
    if written is None or written[0] != status.uid:
        return False
    kind = "Programmed"
    return [c for c in written[1].get("conditions", ()) if c["type"] == kind] == [
        c for c in status.status.get("conditions", ()) if c["type"] == kind
    ]


class GatewayStatusWriter:
    """Run it beside the mesh loop."""

    def __init__(self, client: Client, cache: Cache, mesh: MeshLoop, ads: AdsServer) -> None:
        self._client = client
        self._cache = cache
        self._mesh = mesh
        self._ads = ads
        self._seen: tuple[object, ...] = ()
        self._written: dict[_Key, tuple[str, Json]] = {}

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
        nodes = [node_settings(node) for node in self._cache.list(Node)]
        addresses = tuple(dict.fromkeys(n.gateway_address for n in nodes))
        statuses = self._mesh.statuses
        in_sync = bool(nodes) and all(self._ads.in_sync(n.name) for n in nodes)
        ports = [{port for port, _ in n.gateway_ports} for n in nodes]
        bound: set[int] = set.intersection(*ports) if ports else set()
        seen = (id(statuses), addresses, in_sync, frozenset(bound))
        if self._seen == seen:
            return
        known: dict[_Key, tuple[str, Json]] = {}
        for status in statuses:
            key = (status.cls.__name__, status.namespace, status.name)
            before = self._written.get(key)
            acknowledged = bound.issuperset(status.ports) and (
                in_sync or _programmed(before, status)
            )
            body = with_facts(status, addresses, acknowledged)
            known[key] = status.uid, body
            if before != known[key]:
                await self._write(status, body)
        self._written, self._seen = known, seen

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
