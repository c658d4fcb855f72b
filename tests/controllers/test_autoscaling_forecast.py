"""Forecasts of demand, and scaling ahead of it."""

import pytest

from tests.controllers.test_autoscaling import Scene
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.wellknown import ANNOTATION_PREDICT_SECONDS
from weft.controllers.autoscaling_behavior import Moment
from weft.controllers.autoscaling_forecast import ahead, horizon, kept


def series(*replicas: int, step: float = 5.0) -> list[Moment]:
    return [Moment(i * step, n) for i, n in enumerate(replicas)]


def test_a_rising_trend_is_continued() -> None:
    rising = series(*range(1, 21))  # one more every five seconds
    assert 22 <= ahead(rising, 20) <= 25
    assert ahead(rising, 60) > ahead(rising, 20)


@pytest.mark.parametrize(
    "demand",
    [
        series(5, 5, 5, 5, 5, 5, 5, 5),
        series(9, 8, 7, 6, 5, 4, 3),
        series(1, 9),
        series(),
        series(3, 4, 3, 4, 3, 4, 3, 4, 3),
    ],
)
def test_no_trend_no_forecast(demand: list[Moment]) -> None:
    assert ahead(demand, 10) == 0


def test_horizons() -> None:
    assert [horizon({ANNOTATION_PREDICT_SECONDS: t}) for t in ("60", "x", "-1", "nan", "1e9")] == [
        60,
        0,
        0,
        0,
        3600,
    ]
    assert horizon({}) == 0


def test_old_demand_is_forgotten() -> None:
    assert kept([Moment(0, 1), Moment(1000, 2)], 1001) == (Moment(1000, 2),)


def predicting(**spec: object) -> Scene:
    scene = Scene(maxReplicas=30, **spec)
    note = {"metadata": {"annotations": {ANNOTATION_PREDICT_SECONDS: "60"}}}
    scene.w.patch(HorizontalPodAutoscaler, "h", note)
    return scene


def test_it_scales_ahead_of_the_load() -> None:
    plain, early = Scene(maxReplicas=30), predicting()
    for step in range(1, 13):
        reactive, predictive = plain.turn(step * 10.0, 5), early.turn(step * 10.0, 5)
    assert reactive == 12
    assert predictive > reactive
    assert any("forecast" in e.message for e in early.w.events)


def test_a_limit_that_will_be_hit_is_told_once() -> None:
    scene = predicting()
    for step in range(1, 28):
        scene.turn(step * 10.0, 5)
    (warning,) = [e for e in scene.w.events if e.reason == "DemandAboveMaximum"]
    assert warning.type == "Warning"
    assert "more than the maximum of 30" in warning.message
