"""Durations counted by how long they were, as Prometheus' histograms are."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """Counts in fixed buckets; the last is for all that is longer."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """In Prometheus' text form; `labels` are what stands between the braces besides `le`."""
        before, below = f"{labels}," if labels else "", 0
        bounds = (*(f"{bound:g}" for bound in self._bounds), "+Inf")
        for bound, count in zip(bounds, self._counts, strict=True):
            below += count
            yield f'{name}_bucket{{{before}le="{bound}"}} {below}'
        braces = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{braces} {self._sum:.6g}"
        yield f"{name}_count{braces} {below}"
