"""When cron schedules are due."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from weft.controllers import cron_schedule
from weft.controllers.cron_schedule import ScheduleError, following, latest


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("*/5 * * * *", "2026-03-01 10:02", "2026-03-01 10:05"),
        ("*/5 * * * *", "2026-03-01 10:05", "2026-03-01 10:10"),
        ("@hourly", "2026-03-01 10:02", "2026-03-01 11:00"),
        ("@daily", "2026-03-01 10:02", "2026-03-02 00:00"),
        ("@weekly", "2026-03-01 10:02", "2026-03-08 00:00"),
        ("@monthly", "2026-03-01 10:02", "2026-04-01 00:00"),
        ("@yearly", "2026-03-01 10:02", "2027-01-01 00:00"),
        ("0 0 ? * MON-FRI", "2026-02-27 10:02", "2026-03-02 00:00"),
        ("5/20 * * * *", "2026-03-01 10:26", "2026-03-01 10:45"),
        ("30 4 1,15 * 5", "2026-03-02 00:00", "2026-03-06 04:30"),
        ("0 0 */10 * MON", "2026-03-01 01:00", "2026-03-02 00:00"),
        ("0 12 29 2 *", "2026-03-01 00:00", "2028-02-29 12:00"),
        ("@every 1h30m", "2026-03-01 10:02", "2026-03-01 11:32"),
    ],
)
def test_the_next_time(schedule: str, after: str, due: str) -> None:
    assert following(schedule, "", at(after)) == at(due)


def test_zones_have_their_own_days() -> None:
    found = following("0 3 * * *", "America/New_York", at("2026-07-01 05:00"))
    assert found == at("2026-07-01 03:00", "America/New_York") == at("2026-07-01 07:00")


def test_a_time_that_the_clocks_skip_is_due_after_the_gap() -> None:
    berlin = "Europe/Berlin"
    assert following("30 2 * * *", berlin, at("2026-03-29 00:00", berlin)) == at(
        "2026-03-29 03:00", berlin
    )


def test_a_time_that_comes_twice_is_due_once() -> None:
    berlin = "Europe/Berlin"
    first = following("30 2 * * *", berlin, at("2026-10-25 00:00", berlin))
    assert first is not None
    assert following("30 2 * * *", berlin, first) == at("2026-10-26 02:30", berlin)


def test_the_last_time_that_was_due() -> None:
    since, now = at("2026-03-01 10:02"), at("2026-03-01 10:20")
    assert latest("*/5 * * * *", "", since, now) == now
    assert latest("*/5 * * * *", "", since, now - 1) == at("2026-03-01 10:15")
    assert latest("*/5 * * * *", "", now, now + 60) is None
    assert latest("@every 5m", "", since, now) == at("2026-03-01 10:17")
    assert latest("@every 5m", "", since, since + 60) is None


@pytest.mark.parametrize(
    ("schedule", "zone"), [("x * * * *", ""), ("* * *", ""), ("* * * * *", "Mars")]
)
def test_what_cannot_be_read(schedule: str, zone: str) -> None:
    with pytest.raises(ScheduleError):
        following(schedule, zone, 0.0)


def test_star_steps_are_restrictions() -> None:
    assert cron_schedule.plain("*/2 */1 ? * 1-5/2") == "0-59/2 * * * 1-5/2"


@pytest.mark.parametrize(
    ("schedule", "never"),
    [("59 23 31 2 *", True), ("0 0 31 4,6 *", True), ("0 0 32 2 *", False), ("0 0 1 13 *", False),
     ("99 0 31 2 *", False)],
)  # fmt: skip
def test_days_that_no_month_has_are_told_apart(schedule: str, never: bool) -> None:
    with pytest.raises(ScheduleError) as refused:
        following(schedule, "", 0.0)
    assert isinstance(refused.value, cron_schedule.NeverDueError) is never
