"""Where counts are kept."""

from collections import OrderedDict
from typing import Protocol

from weft.ratelimit.gcra import Quota, Verdict, take

KEYS_MAX = 200_000
"""Keys that are remembered; then the longest unused are forgotten, which starts them full."""


class Counters(Protocol):
    """Takes from the allowance of a key, atomically, for whoever shares the counters."""

    async def take(self, key: tuple[str, ...], quota: Quota, now: float, hits: int) -> Verdict:
        """The verdict for `hits` requests of a key at time `now` (seconds since the epoch).
        Raises OSError when the counters cannot be reached."""

    async def close(self) -> None:
        """Let go of what they are kept in."""


class MemoryCounters:
    """Counters of this process. They start full when it starts."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._full_at: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._keys_max = keys_max

    async def take(self, key: tuple[str, ...], quota: Quota, now: float, hits: int) -> Verdict:
        """As the protocol says; cannot fail."""
        verdict, full_at = take(self._full_at.get(key, 0.0), quota, now, hits)
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        while len(self._full_at) > self._keys_max:
            self._full_at.popitem(last=False)
        return verdict

    async def close(self) -> None:
        """As the protocol says."""

    def __len__(self) -> int:
        return len(self._full_at)
