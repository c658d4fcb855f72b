"""What is remembered of demand, what is asked, and what an answer means. The fits themselves:
`tests/daemon/test_forecaster.py`."""

import pytest

from weft.api.wellknown import ANNOTATION_PREDICT_SECONDS
from weft.controllers.autoscaling_forecast import (
    POINTS_MIN,
    TIERS,
    History,
    Interval,
    Outlook,
    Peak,
    ahead,
    horizon,
    question,
    remembered,
)

FINE, MIDDLE, COARSE = TIERS
START = 1_800_000_000.0


def seen(*replicas: int, step: float = 5.0, history: History | None = None) -> History:
    found = history or History()
    for i, n in enumerate(replicas):
        found = remembered(found, START + i * step, n)
    return found


def outlook(*expected: float, step: float = 5.0, periods: tuple[int, ...] = ()) -> Outlook:
    points = tuple(Interval(e, e - 2, e + 2) for e in expected)
    return Outlook(START, step, points, periods)


def test_horizons() -> None:
    assert [horizon({ANNOTATION_PREDICT_SECONDS: t}) for t in ("60", "x", "-1", "nan", "1e9")] == [
        60,
        0,
        0,
        0,
        3600,
    ]
    assert horizon({}) == 0


def test_each_tier_keeps_the_most_of_each_step() -> None:
    found = seen(*[3, 9, 4] * 20)  # five minutes
    fine, middle, coarse = found.tracks
    assert fine.values == (3, 9, 4) * 20
    assert set(middle.values) == {9}
    assert len(middle.values) == 5
    assert coarse.values == (9,)


def test_memory_is_bounded_and_short_gaps_are_filled() -> None:
    found = seen(*range(FINE.points_max + 50))
    assert found.tracks[0].values[-1] == FINE.points_max + 49
    assert len(found.tracks[0].values) == FINE.points_max
    later = remembered(found, START + (FINE.points_max + 52) * 5.0, 7)
    assert later.tracks[0].values[-4:] == (289, 289, 289, 7)
    much_later = remembered(found, START + 86400.0, 7)
    assert much_later.tracks[0].values == (7,)
    assert len(much_later.tracks[2].values) > 90, "days are remembered across a night"


def test_a_question_needs_some_points() -> None:
    assert question(FINE, seen(*[1] * (POINTS_MIN - 1)).tracks[0], 60.0) is None
    asked = question(FINE, seen(*[1] * POINTS_MIN).tracks[0], 60.0)
    assert asked is not None
    assert asked.steps >= 12, "to the horizon, though the answer comes later"
    assert COARSE.periods == (96, 672), "days and weeks"


def test_the_highest_point_within_the_horizon() -> None:
    rising = outlook(*range(1, 41))
    peak = ahead([rising], START, 60.0)
    assert peak == Peak(13, 11, 15)
    assert ahead([rising], START + 1000.0, 60.0) is None, "an old answer says nothing"
    assert ahead([], START, 60.0) is None
    assert ahead([outlook(4.4)], START, 60.0) == Peak(4, 2, 6), "less than half a replica is noise"


@pytest.mark.parametrize(("periods", "replicas"), [((), 5), ((96,), 30)])
def test_coarse_tiers_are_heard_about_patterns_only(
    periods: tuple[int, ...], replicas: int
) -> None:
    day = outlook(2, 30, 3, step=900.0, periods=periods)
    peak = ahead([outlook(5, 5, 5), day], START, 1200.0)
    assert peak is not None
    assert peak.replicas == replicas
    assert peak.period_seconds == (86400.0 if periods else 0.0)
