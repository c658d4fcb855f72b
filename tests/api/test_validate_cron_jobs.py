"""Schedules as robfig/cron's standard parser reads them."""

import pytest

from weft.api.validate.cron_jobs import schedule_problem


@pytest.mark.parametrize(
    "text",
    ["* * * * *", "*/5 0-6,12 1 jan-Mar ?", "30 2 * * MON-FRI", "0 0 1-31/2 * 0", "@hourly",
     "@every 1h30m", "5/15 * * * *"],
)  # fmt: skip
def test_good_schedules(text: str) -> None:
    assert schedule_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("* * * * * *", "found 6"),
        ("60 * * * *", "end of range (60) above maximum (59)"),
        ("* * 0 * *", "beginning of range (0) below minimum (1)"),
        ("5-2 * * * *", "beyond end of range"),
        ("*/0 * * * *", "step of range should be a positive number"),
        ("a * * * *", "failed to parse int from a"),
        ("* * * * 7", "above maximum (6)"),
        ("@often", "unrecognized descriptor"),
        ("@every soon", "unrecognized descriptor"),
    ],
)
def test_bad_schedules(text: str, words: str) -> None:
    assert words in schedule_problem(text)
