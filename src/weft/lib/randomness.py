"""Random numbers of the operating system, fetched many at a time: each fetch is a system call."""

import os

POOL_BYTES = 4096
SPARE_BYTES = 8
"""Beyond what a number needs, so that the remainder favours none (by more than 2**-64)."""


class Randomness:
    """For names and identifiers, not for keys."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def below(self, limit: int) -> int:
        """A number in [0, limit)."""
        size = (limit.bit_length() + 7) // 8 + SPARE_BYTES
        if self._at + size > len(self._pool):
            self._pool, self._at = os.urandom(max(POOL_BYTES, size)), 0
        taken = self._pool[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken) % limit
