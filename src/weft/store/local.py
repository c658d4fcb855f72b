"""What the engines of one process share: reads and watches from memory."""

import asyncio
from collections import deque
from collections.abc import Sequence

from weft.store.interface import Compacted, Entry, Event, Range, StoreError
from weft.store.mvcc import Mvcc

WATCH_BUFFER_EVENTS_MAX = 10_000
"""Live events one watcher may lag behind before it is told Compacted."""


class LocalWatch:
    """A watch that buffers what happened since its reader last asked."""

    def __init__(
        self, hub: "WatchHub", prefix: str, from_revision: int, past: Sequence[Event]
    ) -> None:
        self.prefix = prefix
        self._hub = hub
        self._from = from_revision
        self._batches: deque[Sequence[Event]] = deque([past] if past else [])
        self._live = 0
        self._lagged: int | None = None
        self._closed = False
        self._interrupted = False
        self._wake: asyncio.Future[None] | None = None

    def offer(self, batch: Sequence[Event], oldest: int) -> None:
        """Take a batch, or give up when the reader lags too far behind."""
        if batch[0].revision < self._from:
            batch = [event for event in batch if event.revision >= self._from]
            if not batch:
                return
        self._live += len(batch)
        if self._live > WATCH_BUFFER_EVENTS_MAX:
            self._batches.clear()
            self._lagged = oldest
            self._hub.remove(self)
        else:
            self._batches.append(batch)
        self._awake()

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def __aiter__(self) -> "LocalWatch":
        return self

    async def __anext__(self) -> Sequence[Event]:
        while True:
            if self._closed:
                raise StopAsyncIteration
            if self._lagged is not None:
                raise Compacted(self._lagged)
            if self._batches:
                batch = self._batches[0]
                if len(self._batches) > 1:
                    batch = [event for part in self._batches for event in part]
                self._batches.clear()
                self._live = 0
                return batch
            if self._interrupted:
                self._interrupted = False
                return ()
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    def interrupt(self) -> None:
        """As Watch.interrupt."""
        self._interrupted = True
        self._awake()

    def close(self) -> None:
        """End iteration; what is buffered is dropped."""
        self._closed = True
        self._batches.clear()
        self._hub.remove(self)
        self._awake()


class WatchHub:
    """Open watches by prefix: a batch is filtered once per prefix and shared by its watchers."""

    def __init__(self) -> None:
        self._watches: dict[str, dict[LocalWatch, None]] = {}

    def add(self, prefix: str, from_revision: int, past: Sequence[Event]) -> LocalWatch:
        """Open a watch that starts with `past`."""
        watch = LocalWatch(self, prefix, from_revision, past)
        self._watches.setdefault(prefix, {})[watch] = None
        return watch

    def remove(self, watch: LocalWatch) -> None:
        """Forget a watch; idempotent."""
        group = self._watches.get(watch.prefix, {})
        group.pop(watch, None)
        if not group:
            self._watches.pop(watch.prefix, None)

    def publish(self, events: Sequence[Event], oldest: int) -> None:
        """Hand the events of whole revisions to every watch that they concern."""
        for prefix, group in list(self._watches.items()):
            batch = tuple(event for event in events if event.key.startswith(prefix))
            if batch:
                for watch in list(group):
                    watch.offer(batch, oldest)

    def close(self) -> None:
        """End every watch."""
        for group in list(self._watches.values()):
            for watch in list(group):
                watch.close()


class LocalStore:
    """The reading half of Store; engines add `apply`, `compact` and `close`."""

    def __init__(self, mvcc: Mvcc) -> None:
        self._mvcc = mvcc
        self._hub = WatchHub()
        self._closed = False

    @property
    def revision(self) -> int:
        """As Store.revision."""
        return self._mvcc.revision

    @property
    def oldest_revision(self) -> int:
        """As Store.oldest_revision."""
        return self._mvcc.oldest_revision

    async def get(self, key: str) -> Entry | None:
        """As Store.get."""
        self._check_open()
        return self._mvcc.get(key)

    async def range(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0
    ) -> Range:
        """As Store.range."""
        self._check_open()
        return self._mvcc.range(prefix, limit=limit, after=after, revision=revision)

    def watch(self, prefix: str, from_revision: int) -> LocalWatch:
        """As Store.watch."""
        self._check_open()
        return self._hub.add(prefix, from_revision, self._mvcc.history(prefix, from_revision))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
