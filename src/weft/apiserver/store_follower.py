"""Keeps something in memory as a part of the store is, from the moment it is started."""

import asyncio
import logging
from abc import ABC, abstractmethod

from weft.lib.aio import Tasks
from weft.store.interface import Compacted, Store, Watch

log = logging.getLogger("weft.apiserver")
RETRY_SECONDS = 0.5
"""Between attempts to follow a store that gives errors."""


class StoreFollower(ABC):
    """`start` once, `close` in the end. Whatever goes wrong, all is read anew: what was taken away
    in the store must not stay in force here."""

    def __init__(self, store: Store, prefix: str, what: str) -> None:
        """`prefix` of the keys; `what` they hold, for the log."""
        self._store = store
        self._prefix = prefix
        self._what = what
        self._tasks = Tasks()
        self._watch: Watch | None = None

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def put(self, key: str, value: bytes) -> None:
        """Know an object that was written."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Forget an object that was deleted."""

    async def start(self) -> None:
        """Returns when everything that is stored is known."""
        revision = await self._load()
        self._tasks.spawn(self._follow(revision), f"follow {self._what}")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._tasks.close()

    async def _load(self) -> int:
        found = await self._store.range(self._prefix)
        self.clear()
        for entry in found.entries:
            self.put(entry.key, entry.value)
        return found.revision

    async def _follow(self, revision: int) -> None:
        known: int | None = revision
        while not self._tasks.closing:
            try:
                if known is None:
                    known = await self._load()
                self._watch = self._store.watch(self._prefix, known + 1)
                async for batch in self._watch:
                    for event in batch:
                        if event.type == "put":
                            self.put(event.key, event.value)
                        else:
                            self.remove(event.key)
                return
            except Compacted:
                log.warning("%s are read anew: the watch lagged behind", self._what)
            except Exception:
                log.exception("%s are read anew: they could not be followed", self._what)
                await asyncio.sleep(RETRY_SECONDS)
            known = None
