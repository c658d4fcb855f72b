"""Where a signal is going: a straight line through the last minutes, and when it meets a bound."""

import math
from collections.abc import Sequence

from msgspec import Struct

POINTS_MIN = 8
SIGMA = 5.0
"""How many times its own uncertainty a slope must be, for the trend to be one."""
DETERMINATION_MIN = 0.7
"""Share of the variation that the line must explain."""


class Line(Struct, frozen=True):
    """A fitted line over the steps 0, 1, 2, ..."""

    last: float
    """Its value at the last step."""
    slope: float
    """Per step."""
    sure: bool
    """Chance does not explain the slope, and the line explains the values."""

    def steps_until(self, bound: float) -> float | None:
        """Steps from the last until the line meets the bound; None when it moves away from it, or
        has passed it."""
        distance = bound - self.last
        if not self.slope or distance == 0 or (distance > 0) != (self.slope > 0):
            return None
        return distance / self.slope


def fitted(values: Sequence[float]) -> Line | None:
    """By least squares. None with too few values."""
    count = len(values)
    if count < POINTS_MIN:
        return None
    middle, mean = (count - 1) / 2, sum(values) / count
    squares = sum((i - middle) ** 2 for i in range(count))
    slope = sum((i - middle) * (v - mean) for i, v in enumerate(values)) / squares
    residual = sum((v - mean - slope * (i - middle)) ** 2 for i, v in enumerate(values))
    total = sum((v - mean) ** 2 for v in values)
    error = math.sqrt(residual / (count - 2) / squares)
    explained = 1 - residual / total if total else 0.0
    sure = abs(slope) > SIGMA * error and explained >= DETERMINATION_MIN
    return Line(mean + slope * middle, slope, sure)
