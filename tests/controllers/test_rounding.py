"""Counts and percentages."""

import pytest

from weft.controllers.support.rounding import scaled


@pytest.mark.parametrize(
    ("value", "total", "up", "count"),
    [
        (3, 10, True, 3),
        ("25%", 10, True, 3),
        ("25%", 10, False, 2),
        ("100%", 7, False, 7),
        ("0%", 7, True, 0),
        ("150%", 2, True, 3),
        (None, 4, True, 1),
        ("a lot", 4, True, 1),
        (-3, 4, True, 0),
        ("5", 4, True, 1),
    ],
)
def test_scaled(value: int | str | None, total: int, up: bool, count: int) -> None:
    assert scaled(value, total, "25%", up=up) == count
