"""Stabilisation, rates and bounds of autoscaling."""

from typing import Any

import msgspec
import pytest

from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscalerBehavior
from weft.controllers.autoscaling_behavior import Bounds, Memory, Moment, Normalised, normalise

NOW = 10_000.0


def set_to(
    current: int,
    wanted: int,
    behavior: Any = None,
    *,
    bounds: tuple[int, int] = (1, 100),
    recommended: tuple[tuple[float, int], ...] = (),
    changed: tuple[tuple[float, int], ...] = (),
) -> Normalised:
    memory = Memory(
        tuple(Moment(NOW - ago, n) for ago, n in recommended),
        tuple(Moment(NOW - ago, n) for ago, n in changed),
    )
    given = msgspec.convert(behavior, HorizontalPodAutoscalerBehavior) if behavior else None
    return normalise(current, wanted, Bounds(*bounds), given, memory, NOW)


def test_up_is_immediate_and_down_waits_five_minutes() -> None:
    assert set_to(2, 5).replicas == 5
    held = set_to(5, 2, recommended=((200, 4), (299, 5), (301, 9)))
    assert held.replicas == 5
    assert held.able[0] == "ScaleDownStabilized"
    assert set_to(5, 2, recommended=((301, 9),)).replicas == 2


def test_windows_can_be_set() -> None:
    down = {"scaleDown": {"stabilizationWindowSeconds": 10}}
    assert set_to(5, 2, down, recommended=((11, 5),)).replicas == 2
    up = {"scaleUp": {"stabilizationWindowSeconds": 60}}
    held = set_to(2, 8, up, recommended=((30, 3),))
    assert (held.replicas, held.able[0]) == (3, "ScaleUpStabilized")


@pytest.mark.parametrize(
    ("current", "wanted", "bounds", "replicas", "reason"),
    [
        (2, 50, (1, 100), 6, "ScaleUpLimit"),  # four pods beat 100 per cent
        (20, 90, (1, 100), 40, "ScaleUpLimit"),  # 100 per cent beats four pods
        (20, 90, (1, 30), 30, "TooManyReplicas"),
        (20, 1, (3, 100), 3, "TooFewReplicas"),
        (20, 25, (1, 100), 25, None),
    ],
)
def test_the_default_rates(
    current: int, wanted: int, bounds: tuple[int, int], replicas: int, reason: str | None
) -> None:
    found = set_to(current, wanted, bounds=bounds)
    assert found.replicas == replicas
    assert (found.limited[0] if found.limited else None) == reason


def test_rates_count_what_changed_within_the_period() -> None:
    up = {"scaleUp": {"policies": [{"type": "Pods", "value": 3, "periodSeconds": 60}]}}
    assert set_to(5, 20, up).replicas == 8
    assert set_to(7, 20, up, changed=((30, 2),)).replicas == 8
    assert set_to(8, 20, up, changed=((30, 3),)).replicas == 8
    assert set_to(8, 20, up, changed=((61, 3),)).replicas == 11


def test_the_way_down_has_rates_too() -> None:
    base = {"stabilizationWindowSeconds": 0}
    policies = [
        {"type": "Pods", "value": 2, "periodSeconds": 60},
        {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]
    most = {"scaleDown": base | {"policies": policies}}
    assert set_to(10, 1, most).replicas == 5
    least = {"scaleDown": base | {"policies": policies, "selectPolicy": "Min"}}
    found = set_to(10, 1, least)
    assert (found.replicas, found.limited and found.limited[0]) == (8, "ScaleDownLimit")


def test_a_direction_can_be_closed() -> None:
    closed = {"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}
    assert set_to(10, 1, closed).replicas == 10
    assert set_to(10, 12, closed).replicas == 12


def test_old_memories_are_dropped() -> None:
    memory = Memory((Moment(NOW - 3601, 1), Moment(NOW - 5, 2)), (Moment(NOW - 3601, 1),))
    assert memory.trimmed(NOW) == Memory((Moment(NOW - 5, 2),), ())
