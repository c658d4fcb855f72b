"""How many replicas one metric asks for: the cases of Kubernetes' replica calculator."""

import pytest

from weft.controllers.autoscaling_replicas import (
    Pods,
    Tolerance,
    by_average,
    by_total,
    by_utilization,
    by_value,
)

T = Tolerance()


def pods(*usage: float, unready: int = 0, missing: int = 0) -> Pods:
    return Pods(
        {f"p{i}": u for i, u in enumerate(usage)},
        frozenset(f"u{i}" for i in range(unready)),
        frozenset(f"m{i}" for i in range(missing)),
    )


ONE_CORE = {f"{kind}{i}": 1.0 for kind in "pum" for i in range(9)}


@pytest.mark.parametrize(
    ("current", "target", "seen", "wanted"),
    [
        (3, 30, pods(0.3, 0.5, 0.7), 5),  # ScaleUp
        (3, 30, pods(0.5, 0.7, unready=1), 4),  # unready count as idle
        (3, 30, pods(0.7, unready=2), 3),  # the answer would turn around
        (5, 50, pods(0.1, 0.3, 0.5, 0.25, 0.25), 3),  # ScaleDown
        (5, 50, pods(0.1, 0.3, 0.5, unready=2), 2),  # unready are left out
        (3, 100, pods(1.01, 1.02, 1.04), 3),  # within tolerance
        (3, 50, pods(0.1, 0.1, missing=1), 3),  # missing ones count as busy: 1.2 of 1.5
        (2, 100, pods(2.0, missing=1), 2),  # missing ones count as idle when growing
        (4, 100, pods(3.0, missing=1), 4),
        (4, 100, pods(3.0, 3.0, 3.0, missing=1), 9),
    ],
)
def test_utilization(current: int, target: int, seen: Pods, wanted: int) -> None:
    found = by_utilization(current, target, seen, ONE_CORE, T)
    assert found is not None
    assert found.replicas == wanted


def test_utilization_is_told() -> None:
    found = by_utilization(2, 50, pods(0.4, 0.8), ONE_CORE, T)
    assert found is not None
    assert (found.utilization, round(found.average, 3)) == (60, 0.6)


def test_without_numbers_there_is_no_answer() -> None:
    assert by_utilization(2, 50, pods(missing=2), ONE_CORE, T) is None
    assert by_utilization(2, 50, pods(1.0), {}, T) is None
    assert by_average(2, 0.0, pods(1.0), T) is None
    assert by_total(2, 0.0, 1.0, T) is None
    assert by_value(2, 2, 0.0, 1.0, T) is None


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [(pods(20, 10, 30), 4), (pods(10, 10, 10), 2), (pods(15, 15, 16), 3), (pods(30, missing=2), 3)],
)
def test_averages(seen: Pods, wanted: int) -> None:
    found = by_average(3, 15.0, seen, T)
    assert found is not None
    assert found.replicas == wanted


@pytest.mark.parametrize(
    ("current", "total", "wanted"), [(2, 100, 5), (5, 41, 3), (5, 104, 5), (0, 100, 5), (0, 0, 0)]
)
def test_totals_are_shared(current: int, total: float, wanted: int) -> None:
    found = by_total(current, 20.0, total, T)
    assert found is not None
    assert found.replicas == wanted


@pytest.mark.parametrize(
    ("current", "value", "wanted"),
    [(3, 30.0, 6), (3, 15.0, 3), (3, 16.0, 3), (3, 5.0, 1), (0, 30.0, 2)],
)
def test_values(current: int, value: float, wanted: int) -> None:
    found = by_value(current, current, 15.0, value, T)
    assert found is not None
    assert found.replicas == wanted


def test_tolerances_may_differ_by_direction() -> None:
    wide = Tolerance(up=0.5, down=0.0)
    assert by_value(10, 10, 100.0, 140.0, wide).replicas == 10  # type: ignore[union-attr]
    assert by_value(10, 10, 100.0, 89.0, wide).replicas == 9  # type: ignore[union-attr]
