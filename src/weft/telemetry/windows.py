"""Counts over time in fixed memory: the last minutes finely, the last hours coarsely."""

from array import array
from collections.abc import Sequence

from msgspec import Struct


class Tier(Struct, frozen=True):
    """How finely, and for how long, counts are kept."""

    step_seconds: int
    steps: int


TIERS = (Tier(5, 60), Tier(60, 180))
"""Five minutes in steps of five seconds; three hours in steps of a minute."""


class Ring:
    """The sums of some columns in the last steps; older ones are overwritten."""

    def __init__(self, tier: Tier, width: int) -> None:
        self._tier = tier
        self._width = width
        self._cells = array("d", bytes(8 * width * tier.steps))
        self._newest = 0
        """Number of the newest step since the epoch."""

    def add(self, now: float, row: Sequence[float]) -> None:
        """Add a row to the step that `now` is in; what is older than the ring is left out."""
        step = int(now // self._tier.step_seconds)
        self._forget_before(step)
        if step <= self._newest - self._tier.steps:
            return
        start = step % self._tier.steps * self._width
        for column, value in enumerate(row, start):
            if value:
                self._cells[column] += value

    def _forget_before(self, step: int) -> None:
        empty = array("d", bytes(8 * self._width))
        first = max(self._newest + 1, step - self._tier.steps + 1)
        for old in range(first, step + 1):
            start = old % self._tier.steps * self._width
            self._cells[start : start + self._width] = empty
        self._newest = max(self._newest, step)

    def dump(self) -> tuple[int, bytes]:
        """All of it, for `restore`."""
        return self._newest, self._cells.tobytes()

    def restore(self, newest: int, cells: bytes) -> None:
        """What `dump` gave; of another size nothing is taken."""
        if len(cells) == len(self._cells) * self._cells.itemsize:
            self._newest, self._cells = newest, array("d", cells)

    def rows(self, now: float, count: int) -> list[list[float]]:
        """The last `count` whole steps before `now`, oldest first."""
        last = int(now // self._tier.step_seconds) - 1
        return [self._row(step) for step in range(last - count + 1, last + 1)]

    def _row(self, step: int) -> list[float]:
        if not self._newest - self._tier.steps < step <= self._newest:
            return [0.0] * self._width
        start = step % self._tier.steps * self._width
        return list(self._cells[start : start + self._width])


class Window:
    """Rows over time. `last` sums them over a span, `series` gives them step by step."""

    def __init__(self, width: int, tiers: tuple[Tier, ...] = TIERS) -> None:
        self._width = width
        self._rings = [(tier, Ring(tier, width)) for tier in tiers]

    def add(self, now: float, row: Sequence[float]) -> None:
        for _, ring in self._rings:
            ring.add(now, row)

    def dump(self) -> list[tuple[int, bytes]]:
        """All of it, to be kept over a restart."""
        return [ring.dump() for _, ring in self._rings]

    def restore(self, rings: Sequence[tuple[int, bytes]]) -> None:
        """What `dump` gave."""
        for (_, ring), (newest, cells) in zip(self._rings, rings, strict=False):
            ring.restore(newest, cells)

    def last(self, now: float, seconds: float) -> list[float]:
        """The sums over the last `seconds`, to the nearest step."""
        columns = zip(*self._rows(now, seconds)[1], strict=True)
        return [sum(column) for column in columns]

    def series(self, now: float, seconds: float) -> tuple[int, list[list[float]]]:
        """Seconds of a step, and the rows of the last `seconds`, oldest first."""
        return self._rows(now, seconds)

    def _rows(self, now: float, seconds: float) -> tuple[int, list[list[float]]]:
        tier, ring = next(
            (pair for pair in self._rings if pair[0].step_seconds * pair[0].steps >= seconds),
            self._rings[-1],
        )
        count = min(tier.steps - 1, max(1, round(seconds / tier.step_seconds)))
        return tier.step_seconds, ring.rows(now, count)
