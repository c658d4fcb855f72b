"""Keeps what ResourceQuotas say is used: charged in the transaction that creates an object,
counted anew when something ends.

Each namespace that ever had a quota has a marker key which every write of a quota's spec changes.
A creation expects the marker it saw, so none slips past a quota that is created meanwhile; it
expects the quotas it charged, so no two of them spend the same rest.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from weft.api.kinds import Kind
from weft.apiserver import codec, failures, keys, quotas, verbs
from weft.apiserver.definitions import Definitions
from weft.store.interface import (
    Compacted,
    Conflict,
    Entry,
    Event,
    Expect,
    Put,
    Store,
    StoreError,
    Txn,
)

log = logging.getLogger("weft.apiserver")
MARKERS = "/quotas/"
RECOUNT_SECONDS = 0.05
"""How long endings are gathered before quotas are counted anew."""
RETRY_SECONDS = 0.5


class Charges(Struct, frozen=True):
    """What goes with the transaction of a write."""

    ops: tuple[Put, ...] = ()
    expect: tuple[Expect, ...] = ()


class QuotaLedger:
    """One per store. `run` beside the server."""

    def __init__(self, store: Store, definitions: Definitions) -> None:
        self._store = store
        self._definitions = definitions
        self._kind = verbs.known_kind("resourcequotas")
        self._turns: dict[str, asyncio.Lock] = {}

    # ------------------------------------------------------------ writes

    @contextlib.asynccontextmanager
    async def turn(self, kind: Kind, namespace: str) -> AsyncIterator[None]:
        """In a namespace with quotas creations are charged one after the other: they would only
        undo each other's decisions."""
        if not kind.namespaced or await self._store.get(MARKERS + namespace) is None:
            yield
            return
        async with self._turns.setdefault(namespace, asyncio.Lock()):
            yield

    async def charge(
        self, kind: Kind, namespace: str, new: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> Charges:
        """For a creation or a replacement that is otherwise ready. Raises ApiError 403."""
        if not kind.namespaced:
            return Charges()
        key = MARKERS + namespace
        marker = await self._store.get(key)
        seen = Expect(key, marker.mod_revision if marker else 0)
        ops: list[Put] = []
        if kind is self._kind:
            if old is None or old.get("spec") != new.get("spec"):
                ops.append(Put(key, b"{}"))
        elif old is not None and not quotas.can_change(kind):
            return Charges()
        expect = [seen]
        if marker is not None:
            for entry in await self._quotas(namespace):
                written = await self._charged(entry, kind, namespace, new, old)
                if written is not None:
                    ops.append(Put(entry.key, codec.to_stored(self._kind, written)))
                    expect.append(Expect(entry.key, entry.mod_revision))
        return Charges(tuple(ops), tuple(expect))

    async def _quotas(self, namespace: str) -> Sequence[Entry]:
        return (await self._store.range(keys.prefix(self._kind, namespace))).entries

    async def _charged(
        self, entry: Entry, kind: Kind, namespace: str, new: Mapping[str, Any], old: Any
    ) -> dict[str, Any] | None:
        quota = codec.to_object(entry.value)
        if kind is self._kind and old is not None:
            return None
        for last in (False, True):
            if last or not quotas.is_current(quota):
                quota = await self._recounted(quota, namespace)
            try:
                return quotas.charged(quota, kind, new, old)
            except ValueError:
                return None  # validation has told of it
            except quotas.Exceeded as refusal:
                if last:  # what ended meanwhile is counted
                    raise failures.forbidden(kind, new["metadata"]["name"], str(refusal)) from None
        return None

    async def _recounted(self, quota: Mapping[str, Any], namespace: str) -> dict[str, Any]:
        names = quotas.names_wanted(quota)
        total: dict[str, Decimal] = {}
        for kind in self._definitions.catalog.kinds:
            if not kind.namespaced or not quotas.counted_by(names, kind):
                continue
            for entry in (await self._store.range(keys.prefix(kind, namespace))).entries:
                obj = codec.to_object(entry.value)
                if quotas.concerns(quota, kind, obj):
                    with contextlib.suppress(ValueError):
                        for name, amount in quotas.usage(kind, obj).items():
                            total[name] = total.get(name, Decimal(0)) + amount
        return quotas.counted(quota, total)

    # ------------------------------------------------------------ endings

    async def run(self) -> None:
        """Count anew where something ended or a quota changed; until cancelled."""
        while True:
            watch = self._store.watch(keys.ROOT, self._store.revision + 1)
            try:
                markers = (await self._store.range(MARKERS)).entries
                dirty = {entry.key.removeprefix(MARKERS) for entry in markers}
                await self._follow(watch.__aiter__(), dirty)
            except Compacted:
                log.info("quotas are counted anew: the watch lagged behind")
            except StoreError as error:
                log.warning("quotas are not counted error=%s", error)
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                watch.close()

    async def _follow(self, batches: Any, dirty: set[str]) -> None:
        while True:
            for namespace in sorted(dirty):
                await self.recount(namespace)
            dirty.clear()
            batch: Sequence[Event] = await anext(batches)
            for event in batch:
                if namespace := self._touched(event):
                    dirty.add(namespace)
            if dirty:
                await asyncio.sleep(RECOUNT_SECONDS)

    def _touched(self, event: Event) -> str:
        """The namespace in which less may be used now, "" when there is none."""
        kind = self._definitions.catalog.by_key(event.key)
        if kind is None or not kind.namespaced:
            return ""
        changing = event.type == "delete" or kind is self._kind
        if changing or (event.previous is not None and _may_release(kind, event.value)):
            return keys.names(kind, event.key)[0]
        return ""

    async def recount(self, namespace: str) -> None:
        """Write what is used, where that is not what the quotas say."""
        if await self._store.get(MARKERS + namespace) is None:
            return
        for entry in await self._quotas(namespace):
            quota = codec.to_object(entry.value)
            after = await self._recounted(quota, namespace)
            if after["status"] == (quota.get("status") or {}):
                continue
            txn = Txn(
                (Put(entry.key, codec.to_stored(self._kind, after)),),
                (Expect(entry.key, entry.mod_revision),),
            )
            with contextlib.suppress(Conflict):  # its writer's event comes here, too
                await self._store.apply(txn)


def _may_release(kind: Kind, value: bytes) -> bool:
    """Whether an object may take less after a change: pods that ended do."""
    if not kind.group and kind.plural == "pods":
        return b'"Succeeded"' in value or b'"Failed"' in value
    return quotas.can_change(kind)
