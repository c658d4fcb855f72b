"""Keeps the access rules in memory as the roles and bindings of the store are."""

import asyncio
import logging
from collections.abc import Sequence

from weft.api.kinds import Kind
from weft.api.registry import KINDS
from weft.apiserver import codec, keys
from weft.apiserver.rbac import GROUP, Rbac
from weft.lib.aio import Tasks
from weft.store.interface import Compacted, Event, Store, Watch

log = logging.getLogger("weft.apiserver")
PREFIX = f"{keys.ROOT}{GROUP}/"
RETRY_SECONDS = 0.5
"""Between attempts to follow a store that gives errors."""


class RbacFollower:
    """`start` once, `close` in the end."""

    def __init__(self, store: Store, rbac: Rbac) -> None:
        self._store = store
        self._rbac = rbac
        self._kinds = {k.plural: k for k in KINDS if k.group == GROUP}
        self._tasks = Tasks()
        self._watch: Watch | None = None

    async def start(self) -> None:
        """Returns when everything that is stored is in force."""
        revision = await self._load()
        self._tasks.spawn(self._follow(revision), "rbac")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._tasks.close()

    async def _load(self) -> int:
        found = await self._store.range(PREFIX)
        self._rbac.clear()
        for entry in found.entries:
            self._put(self._kind(entry.key), entry.value)
        return found.revision

    async def _follow(self, revision: int) -> None:
        """A rule that was revoked must not stay in force: whatever goes wrong, all is read anew."""
        known: int | None = revision
        while not self._tasks.closing:
            try:
                if known is None:
                    known = await self._load()
                self._watch = self._store.watch(PREFIX, known + 1)
                async for batch in self._watch:
                    self._apply(batch)
                return
            except Compacted:
                log.warning("access rules are read anew: the watch lagged behind")
            except Exception:
                log.exception("access rules are read anew: they could not be followed")
                await asyncio.sleep(RETRY_SECONDS)
            known = None

    def _apply(self, batch: Sequence[Event]) -> None:
        for event in batch:
            kind = self._kind(event.key)
            if event.type == "put":
                self._put(kind, event.value)
            elif kind is not None:
                self._rbac.remove(kind.plural, keys.names(kind, event.key))

    def _kind(self, key: str) -> Kind | None:
        return self._kinds.get(key[len(PREFIX) :].partition("/")[0])

    def _put(self, kind: Kind | None, value: bytes) -> None:
        if kind is not None:
            self._rbac.put(kind.plural, codec.to_object(value))
