"""Demand some time ahead, for autoscalers that ask for it: scaling before the load is there.

Opt-in by the annotation `weft.dev/predict-seconds` of the HorizontalPodAutoscaler. Here stands what
is remembered, what is asked of whoever forecasts (statsmodels, in `daemon/forecaster`), and what
its answer means. A forecast only ever adds replicas.
"""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.wellknown import ANNOTATION_PREDICT_SECONDS

HORIZON_SECONDS_MAX = 3600.0
POINTS_MIN = 10
"""Fewer say nothing about a trend."""
GAP_SHARE_MAX = 0.1
"""Of a track: what is missing for longer is not made up, the track begins anew."""
RISE_MIN = 0.5
"""A rise of less than this many replicas is noise."""
REFIT_STEPS = 3
DAY_SECONDS = 86400


class Tier(Struct, frozen=True):
    """How finely demand is remembered, and for how long."""

    step_seconds: float
    points_max: int
    periods: tuple[int, ...] = ()
    """Steps in which people's lives repeat; shorter ones are found in what is remembered."""

    @property
    def refit_seconds(self) -> float:
        return self.step_seconds * (REFIT_STEPS if self.step_seconds < DAY_SECONDS / 96 else 1)


TIERS = (
    Tier(5.0, 240),
    Tier(60.0, 480),
    Tier(900.0, 15 * 96, (96, 7 * 96)),
)
"""20 minutes for trends, 8 hours for patterns of up to 2 hours, 15 days for days and weeks."""


class Track(Struct, frozen=True):
    """The most demand in each step; `last` is the number of the last step since 1970."""

    last: int = 0
    values: tuple[float, ...] = ()


class History(Struct, frozen=True):
    tracks: tuple[Track, ...] = tuple(Track() for _ in TIERS)


class Interval(Struct, frozen=True):
    """Replicas: what is expected, and between what it will be four times out of five."""

    expected: float
    low: float
    high: float


class Question(Struct, frozen=True):
    """What is asked of whoever forecasts."""

    values: tuple[float, ...]
    steps: int
    periods: tuple[int, ...]


class Outlook(Struct, frozen=True):
    """The answer for one tier: points at `start`, `start + step_seconds`..."""

    start: float
    step_seconds: float
    points: tuple[Interval, ...]
    periods: tuple[int, ...] = ()
    """Of the patterns that were found, in steps."""


class Peak(Struct, frozen=True):
    """The most that will be needed within the horizon."""

    replicas: int
    low: int
    high: int
    period_seconds: float = 0.0
    """Of the pattern that says so; 0.0 for a trend."""


def horizon(annotations: Mapping[str, str]) -> float:
    """How far ahead to look; 0.0 when nobody asked, or what was asked cannot be read."""
    try:
        seconds = float(annotations.get(ANNOTATION_PREDICT_SECONDS, "0"))
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), HORIZON_SECONDS_MAX) if math.isfinite(seconds) else 0.0


def remembered(history: History, at: float, replicas: int) -> History:
    """With one more measurement."""
    if len(history.tracks) != len(TIERS):  # of another version
        history = History()
    pairs = zip(TIERS, history.tracks, strict=True)
    return History(tuple(_tracked(tier, track, at, float(replicas)) for tier, track in pairs))


def _tracked(tier: Tier, track: Track, at: float, value: float) -> Track:
    step = int(at // tier.step_seconds)
    behind = step - track.last
    if track.values and behind == 0:
        if value <= track.values[-1]:
            return track
        return replace(track, values=(*track.values[:-1], value))
    if not track.values or not 0 < behind <= max(2.0, tier.points_max * GAP_SHARE_MAX):
        return Track(step, (value,))
    filled = (track.values[-1],) * (behind - 1)
    return Track(step, (*track.values, *filled, value)[-tier.points_max :])


def question(tier: Tier, track: Track, seconds: float) -> Question | None:
    """None: too little is known yet."""
    if len(track.values) < POINTS_MIN:
        return None
    steps = math.ceil(seconds / tier.step_seconds) + REFIT_STEPS
    return Question(track.values, steps, tier.periods)


def ahead(outlooks: Sequence[Outlook], now: float, seconds: float) -> Peak | None:
    """The highest point within the horizon. The finest tier knows the trend; coarser ones are
    heard only about patterns, which it cannot see."""
    found: tuple[Interval, float] | None = None
    for outlook in outlooks:
        finest = outlook.step_seconds == TIERS[0].step_seconds
        if not (outlook.periods or finest):
            continue
        period = max(outlook.periods, default=0) * outlook.step_seconds
        for i, point in enumerate(outlook.points):
            at = outlook.start + i * outlook.step_seconds
            within = now - outlook.step_seconds < at <= now + seconds
            if within and (found is None or point.expected > found[0].expected):
                found = point, period
    if found is None:
        return None
    top = found[0]
    return Peak(_up(top.expected), _up(top.low), _up(top.high), found[1])


def _up(replicas: float) -> int:
    """A rise by less than RISE_MIN above whole replicas is none."""
    return max(0, math.ceil(replicas - RISE_MIN))
