"""A sorted set of strings in buckets: cheap inserts and prefix slices at 100,000 keys and more."""

import sys
from bisect import bisect_left, insort

BUCKET_KEYS = 512
"""Target keys per bucket; a bucket splits at twice this size."""


class SortedKeys:
    """Unique keys in code point order, which is also the order of their UTF-8 bytes."""

    def __init__(self) -> None:
        self._buckets: list[list[str]] = []
        self._last: list[str] = []
        """The greatest key of each bucket."""

    def add(self, key: str) -> None:
        """Insert a key that is not in the set."""
        if not self._buckets:
            self._buckets.append([key])
            self._last.append(key)
            return
        at = min(bisect_left(self._last, key), len(self._last) - 1)
        bucket = self._buckets[at]
        insort(bucket, key)
        if len(bucket) > 2 * BUCKET_KEYS:
            self._buckets.insert(at, bucket[:BUCKET_KEYS])
            self._last.insert(at, bucket[BUCKET_KEYS - 1])
            del bucket[:BUCKET_KEYS]
            at += 1
        self._last[at] = bucket[-1]

    def remove(self, key: str) -> None:
        """Remove a key that is in the set."""
        at = bisect_left(self._last, key)
        bucket = self._buckets[at]
        del bucket[bisect_left(bucket, key)]
        if bucket:
            self._last[at] = bucket[-1]
        else:
            del self._buckets[at]
            del self._last[at]

    def between(
        self, low: str, high: str | None, limit: int = sys.maxsize
    ) -> tuple[list[str], int]:
        """The first `limit` keys in [low, high) in order, and how many more follow; `high` None
        is no upper bound."""
        found: list[str] = []
        remaining = 0
        for at in range(bisect_left(self._last, low), len(self._buckets)):
            bucket = self._buckets[at]
            start = bisect_left(bucket, low) if bucket[0] < low else 0
            end = len(bucket)
            if high is not None and self._last[at] >= high:
                end = bisect_left(bucket, high)
            taken = bucket[start : min(end, start + limit - len(found))]
            found += taken
            remaining += max(0, end - start) - len(taken)
            if end < len(bucket):
                break
        return found, remaining


def prefix_end(prefix: str) -> str | None:
    """The least string greater than every string that starts with `prefix`; None: unbounded."""
    stem = prefix.rstrip("\U0010ffff")
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None
