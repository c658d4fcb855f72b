"""What fills up: memory of containers against their limit, memory and disk of nodes.

A straight line through the last minutes, told only when it explains them, when their second half
alone says the same (what warms up and levels off does not), and when the end is near.
"""

from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from msgspec import Struct

from weft.telemetry.alerting.alerts import AlertKey, Finding
from weft.telemetry.alerting.trends import Line, fitted

MEASURE_SECONDS = 30.0
"""Between two readings."""
POINTS = 24
"""That a line goes through: twelve minutes."""
POINTS_MIN = 16
MISSED_MAX = 2
"""Readings without a word of something: a node may be too busy to answer once."""
FULL_SHARE_MIN = 0.4
"""Nothing is said of what is emptier."""
HORIZON_SECONDS = 3600.0
"""Ends that are further away are not near."""
HOLD_SECONDS = 60.0
SLOPE_SHARE_MIN = 0.5
"""The second half's slope, of that of the whole."""
NEWS_BYTES_MIN = 1 << 20
"""Growth within the window that is worth a word."""
MEMORY, DISK = "MemoryWillRunOut", "DiskWillRunOut"
_MIB = float(1 << 20)


class Vessel(NamedTuple):
    """What can be full."""

    alert: str
    kind: str
    """Pod or Node."""
    namespace: str
    name: str
    part: str = ""
    """The container."""
    start: str = ""
    """Which of its starts: one that starts anew grows anew."""


class Level(Struct, frozen=True):
    """How full it is now."""

    vessel: Vessel
    used_bytes: float
    limit_bytes: float


class Growth:
    """Remembers the last levels of what is still there."""

    def __init__(self) -> None:
        self._levels: dict[Vessel, deque[float]] = {}
        self._limits: dict[Vessel, float] = {}
        self._missed: dict[Vessel, int] = {}

    def measured(self, levels: Iterable[Level]) -> None:
        """One reading, MEASURE_SECONDS after the last. What several in a row do not name is
        forgotten."""
        found = {level.vessel: level for level in levels if level.limit_bytes > 0}
        for vessel, level in found.items():
            kept = self._levels.setdefault(vessel, deque(maxlen=POINTS))
            if self._limits.get(vessel, level.limit_bytes) != level.limit_bytes:
                kept.clear()
            kept.append(level.used_bytes)
            self._limits[vessel] = level.limit_bytes
        self._missed = {v: self._missed.get(v, 0) + 1 for v in self._levels if v not in found}
        for vessel in [v for v, times in self._missed.items() if times > MISSED_MAX]:
            del self._levels[vessel], self._limits[vessel], self._missed[vessel]

    def findings(self) -> list[Finding]:
        here = [v for v in self._levels if v not in self._missed]
        told = (_finding(v, tuple(self._levels[v]), self._limits[v]) for v in here)
        return [each for each in told if each is not None]

    def vessels(self) -> Collection[Vessel]:
        return self._levels.keys()


def seconds_left(values: tuple[float, ...], limit: float) -> tuple[Line, float] | None:
    """The line through them and the time until it meets the limit; None when there is no such
    line, or the end is far."""
    if len(values) < POINTS_MIN or values[-1] < FULL_SHARE_MIN * limit:
        return None
    line, lately = fitted(values), fitted(values[len(values) // 2 :])
    if line is None or lately is None or not (line.sure and lately.sure):
        return None
    if line.slope <= 0 or lately.slope < SLOPE_SHARE_MIN * line.slope:
        return None
    if line.slope * len(values) < NEWS_BYTES_MIN:
        return None
    steps = lately.steps_until(limit)
    if steps is None or steps * MEASURE_SECONDS > HORIZON_SECONDS:
        return None
    return lately, steps * MEASURE_SECONDS


def _finding(vessel: Vessel, values: tuple[float, ...], limit: float) -> Finding | None:
    found = seconds_left(values, limit)
    if found is None:
        return None
    line, seconds = found
    minutes, per_minute = max(1, round(seconds / 60)), 60 / MEASURE_SECONDS * line.slope
    span = round((len(values) - 1) * MEASURE_SECONDS / 60)
    what = {MEMORY: "memory", DISK: "disk"}[vessel.alert]
    if vessel.kind == "Pod":
        whose = f"container {vessel.part} of pod {vessel.namespace}/{vessel.name}"
        summary = f"{whose} will reach its memory limit in about {minutes} min"
        hint = f"kubectl top pod {vessel.name} -n {vessel.namespace} --containers"
    else:
        summary = f"node {vessel.name} will run out of {what} in about {minutes} min"
        hint = (
            "kubectl top pods -A" if vessel.alert == MEMORY else f"weft describe node {vessel.name}"
        )
    return Finding(
        AlertKey(vessel.alert, vessel.namespace, vessel.kind, vessel.name, ""),
        "warning",
        summary,
        f"{values[-1] / _MIB:,.0f} of {limit / _MIB:,.0f} MiB, growing by {per_minute / _MIB:,.1f} "
        f"MiB a minute over the last {span} min",
        value=values[-1],
        hold_seconds=HOLD_SECONDS,
        hint=hint,
    )
