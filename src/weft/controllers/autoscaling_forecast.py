"""Demand some time ahead, for autoscalers that ask for it: scaling before the load is there.

Opt-in by the annotation `weft.dev/predict-seconds` of the HorizontalPodAutoscaler. The forecast is
Holt's linear method (double exponential smoothing) over the replicas that metrics asked for. It
only ever adds replicas. Libraries that do the same (statsmodels) bring a hundred megabytes.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from weft.api.wellknown import ANNOTATION_PREDICT_SECONDS
from weft.controllers.autoscaling_behavior import Moment

HORIZON_SECONDS_MAX = 3600.0
SAMPLES_MIN = 6
"""Fewer say nothing about a trend."""
HISTORY_SECONDS = 900.0
"""Older demand is forgotten."""
LEVEL_WEIGHT = 0.5
TREND_WEIGHT = 0.2
RISE_MIN = 0.5
"""A rise of less than this many replicas is noise."""


def horizon(annotations: Mapping[str, str]) -> float:
    """How far ahead to look; 0.0 when nobody asked, or what was asked cannot be read."""
    try:
        seconds = float(annotations.get(ANNOTATION_PREDICT_SECONDS, "0"))
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), HORIZON_SECONDS_MAX) if math.isfinite(seconds) else 0.0


def ahead(demand: Sequence[Moment], seconds: float) -> int:
    """Replicas that will be needed that many seconds after the last moment; 0 without a rising
    trend."""
    if len(demand) < SAMPLES_MIN or seconds <= 0:
        return 0
    level, trend = float(demand[0].replicas), 0.0
    for before, moment in pairwise(demand):
        step = moment.at - before.at
        if step <= 0:
            continue
        expected = level + trend * step
        following = LEVEL_WEIGHT * moment.replicas + (1 - LEVEL_WEIGHT) * expected
        trend = TREND_WEIGHT * (following - level) / step + (1 - TREND_WEIGHT) * trend
        level = following
    rise = trend * seconds
    return math.ceil(level + rise - 1e-9) if rise >= RISE_MIN else 0


def kept(demand: Sequence[Moment], now: float) -> tuple[Moment, ...]:
    return tuple(m for m in demand if m.at > now - HISTORY_SECONDS)
