"""Writes the statuses of Istio's and weft's own objects: what is wrong, and where it is in force.

A status is written when it says something new, and no sooner than it is true. Objects that are in
force everywhere cost nothing, whatever pods come and go.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from weft.api import registry
from weft.api.conditions import is_true
from weft.api.diagnostics import Diagnostic
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.api.objects import decode
from weft.api.snapshot import meta
from weft.daemon.mesh_loop import STATUS_CLASSES, MeshLoop
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339
from weft.mesh.object_book import named
from weft.mesh.object_status import Rejection, acknowledged, merged, status
from weft.mesh.quarantine import Key, key
from weft.runtime.cache import Cache
from weft.runtime.client import Client
from weft.xds.server import AdsServer

log = logging.getLogger("weft.status")

LOOK_SECONDS = 0.05
"""While some object is not in force yet."""
IDLE_LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 0.5
"""So long an object is given to be in force before its status says that it is not yet."""
OVERDUE_SECONDS = 10.0
"""After which the log says what an object waits for."""
WRITES_PER_LOOK_MAX = 50
RECOUNT_SECONDS = 30.0
"""How often it is looked whether the nodes that statuses name have changed. A node that comes
would otherwise have all objects written at once."""
Json = dict[str, Any]
Findings = Mapping[tuple[str, str, str], tuple[Diagnostic, ...]]
"""(kind, namespace, name) -> what is wrong."""


def by_object(diagnostics: tuple[Diagnostic, ...]) -> Findings:
    found: dict[tuple[str, str, str], tuple[Diagnostic, ...]] = {}
    for each in diagnostics:
        key = (each.kind, each.namespace, each.name)
        found[key] = (*found.get(key, ()), each)
    return found


def working_nodes(cache: Cache, ads: AdsServer) -> tuple[str, ...]:
    """A machine that is gone shall not keep objects from being in force."""
    return tuple(
        node.metadata.name
        for node in cache.list(Node)
        if ads.connected(node.metadata.name) or is_true(node.status.conditions, "Ready")
    )


def in_force(cache: Cache, mesh: MeshLoop, ads: AdsServer, obj: Struct) -> bool:
    """Whether the proxies of all working nodes have an object as it is here."""
    its = key(obj)
    number = mesh.book.number(its)
    if number is None or mesh.rejection(its) is not None:
        return False
    known, wanted = meta(mesh.book.numbers[its][0]), meta(obj)
    if (known.uid, known.generation) != (wanted.uid, wanted.generation):
        return False
    return all(ads.answered(node) >= number for node in working_nodes(cache, ads))


class ObjectStatusWriter:
    """Run it beside the mesh loop."""

    def __init__(self, client: Client, cache: Cache, mesh: MeshLoop, ads: AdsServer) -> None:
        self._client = client
        self._cache = cache
        self._mesh = mesh
        self._ads = ads
        self._diagnostics: tuple[Diagnostic, ...] = ()
        self._findings: Findings = {}
        self._written: dict[Key, tuple[str, Json]] = {}
        """uid and status."""
        self._since: dict[Key, float] = {}
        """Since when an object waits to be in force."""
        self._told: set[Key] = set()
        """Of which the log says that they wait."""
        self._recounted = 0.0

    async def resume(self) -> None:
        """Objects that an earlier run found refused are held back from the start: the proxies
        still have what was in force then."""
        for cls in STATUS_CLASSES:
            kind = registry.kind_for(cls)
            try:
                page = await self._client.list(kind)
            except ApiError as error:
                log.warning("statuses not read kind=%s error=%s", kind.plural, error)
                continue
            for item in page.items:
                if b'"Rejected"' in item or b'"NotBuilt"' in item:
                    self._resume(cls, msgspec.json.decode(item))

    def _resume(self, cls: type[Struct], found: Json) -> None:
        metadata, before = found["metadata"], found.get("status") or {}
        conditions = before.get("conditions") or ()
        rejected = [c for c in conditions if c.get("reason") in ("Rejected", "NotBuilt")]
        obj = self._cache.get(cls, metadata["name"], metadata.get("namespace", ""))
        if not rejected or obj is None:
            return
        if before.get("observedGeneration") != metadata.get("generation"):
            return
        spec = before.get("inForce")
        instead = None if spec is None else decode(cls, {**found, "spec": spec, "status": {}})
        if rejected[0]["reason"] == "NotBuilt":
            if instead is not None:
                self._mesh.faults.keep(instead)  # this run may be able to build it
            return
        message = str(rejected[0].get("message", ""))
        node, _, error = message.removeprefix("the proxy of node ").partition(" refused it, ")
        self._mesh.book.resume(obj, instead, Rejection(node, error.partition(": ")[2], spec))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
            except Exception:
                log.exception("statuses not looked through")
            await asyncio.sleep(LOOK_SECONDS if self._mesh.book.open else IDLE_LOOK_SECONDS)

    async def _look(self) -> None:
        book, nodes = self._mesh.book, working_nodes(self._cache, self._ads)
        refused = {
            (r.type_url, r.name) for node in nodes for r in self._ads.nacks(node)
        }  # fmt: skip
        book.still_refused(frozenset(refused))
        if self._mesh.diagnostics is not self._diagnostics:
            self._compare_findings()
        if now() - self._recounted > RECOUNT_SECONDS:
            self._recounted = now()
            book.open.update(k for k in book.numbers if k[0] in STATUS_CLASSES)
            for gone in self._written.keys() - book.numbers.keys():
                del self._written[gone]
        if not book.open:
            return
        answered = {node: self._ads.answered(node) for node in nodes}
        if nodes and min(answered.values()) >= self._mesh.number:
            self._mesh.try_suspects()
        written = 0
        for its in tuple(book.open):
            if written >= WRITES_PER_LOOK_MAX:
                break
            written += await self._consider(its, answered)

    def _compare_findings(self) -> None:
        before, self._diagnostics = self._findings, self._mesh.diagnostics
        self._findings = by_object(self._diagnostics)
        changed = {k for k in before.keys() | self._findings.keys()
                   if before.get(k) != self._findings.get(k)}  # fmt: skip
        book = self._mesh.book
        book.open.update(k for k in book.numbers if (k[0].__name__, *k[1:]) in changed)

    async def _consider(self, its: Key, answered: Mapping[str, int]) -> bool:
        """Write an object's status if it says something new. Whether it was written."""
        book = self._mesh.book
        number = book.number(its)
        if number is None:
            return False  # the next build reads it
        obj, rejection = book.numbers[its][0], self._mesh.rejection(its)
        nodes = acknowledged(answered, number, rejection)
        done = bool(nodes.yes) and not nodes.no
        if done:
            book.in_force(its)
        elif rejection is None and now() - self._since.setdefault(its, now()) < PATIENCE_SECONDS:
            return False
        if done or rejection is not None:
            book.open.discard(its)
            self._since.pop(its, None)
            self._told.discard(its)
        else:
            self._tell_overdue(its, nodes.no)
        if its[0] not in STATUS_CLASSES:
            return False
        found = self._findings.get((its[0].__name__, *its[1:]), ())
        body = status(meta(obj).generation or 0, found, nodes, rejection)
        said = meta(obj).uid, body
        if self._written.get(its) == said:
            return False
        self._written[its] = said
        try:
            await self._write(its, obj, body)
        except (ApiError, OSError) as error:
            log.warning("status not written object=%s error=%s", named(its), error)
            del self._written[its]  # tried again when objects are looked through next
        return True

    def _tell_overdue(self, its: Key, nodes: Iterable[str]) -> None:
        """Say once what proxies have not answered for."""
        if its in self._told or now() - self._since[its] < OVERDUE_SECONDS:
            return
        self._told.add(its)
        for node in nodes:
            waits_for = ", ".join(self._ads.unanswered(node)) or "nothing that was sent to it"
            log.warning("not in force after %.0f s object=%s node=%s waits for: %s",
                        OVERDUE_SECONDS, named(its), node, waits_for)  # fmt: skip

    async def _write(self, its: Key, obj: Struct, body: Json) -> None:
        cls, namespace, name = its
        kind = registry.kind_for(cls)
        try:
            found = msgspec.json.decode(await self._client.get(kind, name, namespace))
            metadata, before = found["metadata"], found.get("status") or {}
            made = merged(body, before, rfc3339(now()))
            same = (metadata.get("uid"), metadata.get("generation"))
            if same != (meta(obj).uid, meta(obj).generation) or made == before:
                return
            # A merge patch keeps what it does not name.
            cleared = {"names": None, "missing": None, **made["nodes"]}
            patch = {"inForce": None, **made, "nodes": cleared}
            await self._client.patch(kind, name, {"status": patch}, namespace, subresource="status")
        except ApiError as error:
            if error.code not in (404, 409):  # deleted, or changed again: the next build knows
                raise
