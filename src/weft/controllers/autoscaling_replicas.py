"""How many replicas one metric asks for. Numbers only.

Source of the formulas: Kubernetes' HPA replica calculator ("Algorithm details" of its
documentation): the ratio of usage to target, a tolerance, pods without numbers counted against
the direction of the change.
"""

import math
from collections.abc import Callable, Mapping

from msgspec import Struct

TOLERANCE_DEFAULT = 0.1
"""A ratio that is nearer to 1 changes nothing."""
UTILIZATION_OF_MISSING_MIN = 100
"""What a pod without numbers uses at least, in per cent of its request, when scaling down."""
_ROUNDING = 1e-9
RatioOf = Callable[[Mapping[str, float]], float]


class Tolerance(Struct, frozen=True):
    """How far the ratio may be from 1 in either direction without a change."""

    up: float = TOLERANCE_DEFAULT
    down: float = TOLERANCE_DEFAULT

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down - _ROUNDING <= ratio <= 1.0 + self.up + _ROUNDING


class Pods(Struct, frozen=True):
    """The target's pods as one metric sees them; pods that end are in none of these."""

    usage: Mapping[str, float]
    """Of pods that are ready and were measured."""
    unready: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    """Ready, but not measured."""


class Answer(Struct, frozen=True):
    replicas: int
    average: float
    """What was measured, per pod (or the value of an object)."""
    utilization: int | None = None
    """In per cent of the requests."""


def by_utilization(
    current: int, target: int, pods: Pods, requests: Mapping[str, float], tolerance: Tolerance
) -> Answer | None:
    """Replicas that bring usage to `target` per cent of the requests; None without numbers."""
    ratio = _utilization_ratio(pods.usage, requests, target)
    if ratio is None:
        return None
    average = sum(pods.usage.values()) / len(pods.usage)
    percent = int(ratio * target + _ROUNDING)
    fallback = max(UTILIZATION_OF_MISSING_MIN, target) / 100
    high = {name: requests.get(name, 0.0) * fallback for name in pods.missing}

    def of(usage: Mapping[str, float]) -> float:
        return _utilization_ratio(usage, requests, target) or 0.0

    replicas = _replicas(current, ratio, pods, high, of, tolerance)
    return Answer(replicas, average, percent)


def by_average(current: int, target: float, pods: Pods, tolerance: Tolerance) -> Answer | None:
    """Replicas that bring the average per pod to `target`; None without numbers."""
    if not pods.usage or target <= 0:
        return None

    def of(usage: Mapping[str, float]) -> float:
        return sum(usage.values()) / len(usage) / target

    ratio = of(pods.usage)
    high = dict.fromkeys(pods.missing, target)
    replicas = _replicas(current, ratio, pods, high, of, tolerance)
    return Answer(replicas, ratio * target)


def by_total(current: int, target: float, total: float, tolerance: Tolerance) -> Answer | None:
    """Replicas that share a total so that each has `target` of it."""
    if target <= 0:
        return None
    ratio = total / (target * current) if current else math.inf if total > 0 else 1.0
    replicas = current if tolerance.covers(ratio) else _ceil(total / target)
    return Answer(replicas, total / current if current else total)


def by_value(
    current: int, ready: int, target: float, value: float, tolerance: Tolerance
) -> Answer | None:
    """Replicas that bring a value, which more replicas lower in proportion, to `target`."""
    if target <= 0:
        return None
    ratio = value / target
    if current == 0:
        return Answer(_ceil(ratio), value)
    return Answer(current if tolerance.covers(ratio) else _ceil(ratio * ready), value)


def _replicas(  # noqa: PLR0917
    current: int,
    ratio: float,
    pods: Pods,
    high: Mapping[str, float],
    ratio_of: RatioOf,
    tolerance: Tolerance,
) -> int:
    """Pods without numbers use much when the rest asks for fewer replicas, nothing when it asks
    for more; if that turns the answer around, nothing changes."""
    unready = pods.unready if ratio > 1.0 else frozenset()
    if not unready and not pods.missing:
        return current if tolerance.covers(ratio) else _ceil(ratio * len(pods.usage))
    usage = dict(pods.usage)
    if ratio < 1.0:
        usage |= high
    elif ratio > 1.0:
        usage |= dict.fromkeys(pods.missing, 0.0)
    usage |= dict.fromkeys(unready, 0.0)
    anew = ratio_of(usage)
    turned = (ratio < 1.0 < anew) or (anew < 1.0 < ratio)
    if tolerance.covers(anew) or turned:
        return current
    wanted = _ceil(anew * len(usage))
    backwards = (anew < 1.0 and wanted > current) or (anew > 1.0 and wanted < current)
    return current if backwards else wanted


def _utilization_ratio(
    usage: Mapping[str, float], requests: Mapping[str, float], target: int
) -> float | None:
    requested = sum(requests.get(name, 0.0) for name in usage)
    if requested <= 0 or target <= 0:
        return None
    return sum(usage.values()) * 100 / requested / target


def _ceil(value: float) -> int:
    return math.ceil(value - _ROUNDING)
