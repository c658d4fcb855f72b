"""Which key to work on next: each key once, never two at a time, failures with back-off. Pure."""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")

BACKOFF_SECONDS_MIN = 0.05
"""Wait after the first failure of a key; doubles with each further one."""
BACKOFF_SECONDS_MAX = 30.0
BACKOFF_WAKE_SECONDS_MAX = 1.0
"""A change that concerns a failing key cuts its wait to this at most."""


class WorkQueue(Generic[K]):
    """Keys to work on. A key added while it is worked on comes again when that is done."""

    def __init__(self) -> None:
        self._ready: OrderedDict[K, None] = OrderedDict()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._delayed: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._failures: dict[K, int] = {}
        self._failed_at: dict[K, float] = {}

    def __len__(self) -> int:
        """Keys that are ready or delayed."""
        return len(self._ready) + len(self._delayed)

    def add(self, key: K, now: float) -> None:
        """Something about `key` changed: work on it soon."""
        if key in self._working:
            self._again.add(key)
            return
        if failures := self._failures.get(key):
            wait = min(_backoff(failures), BACKOFF_WAKE_SECONDS_MAX)
            if now < (at := self._failed_at[key] + wait):
                self._delay(key, at)
                return
        self._ready.setdefault(key)

    def add_after(self, key: K, seconds: float, now: float) -> None:
        """Work on `key` after a while, or earlier when it is added meanwhile."""
        self._delay(key, now + seconds)

    def pop(self, now: float) -> K | None:
        """The next key, now being worked on; None when nothing is due."""
        self._promote(now)
        if not self._ready:
            return None
        key, _ = self._ready.popitem(last=False)
        self._delayed.pop(key, None)
        self._working.add(key)
        return key

    def done(self, key: K, now: float) -> None:
        """Working on `key` went well: its back-off is forgotten."""
        self._failures.pop(key, None)
        self._failed_at.pop(key, None)
        self.release(key, now)

    def fail(self, key: K, now: float) -> float:
        """Working on `key` failed; it comes again after the seconds this gives."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._failed_at[key] = now
        wait = _backoff(failures)
        self._delay(key, now + wait)
        self.release(key, now)
        return wait

    def release(self, key: K, now: float) -> None:
        """Work on `key` ended without a result: back-off stays as it is."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key, now)

    def next_at(self) -> float | None:
        """When the earliest delayed key is due; None when there is none."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def _delay(self, key: K, at: float) -> None:
        if at < self._delayed.get(key, float("inf")):
            self._delayed[key] = at
            self._count += 1
            heappush(self._heap, (at, self._count, key))

    def _clean(self) -> None:
        while self._heap and self._delayed.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)

    def _promote(self, now: float) -> None:
        self._clean()
        while self._heap and self._heap[0][0] <= now:
            _, _, key = heappop(self._heap)
            del self._delayed[key]
            if key in self._working:
                self._again.add(key)
            else:
                self._ready.setdefault(key)
            self._clean()


def _backoff(failures: int) -> float:
    return float(min(BACKOFF_SECONDS_MIN * 2 ** min(failures - 1, 30), BACKOFF_SECONDS_MAX))
