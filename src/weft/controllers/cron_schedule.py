"""When a cron schedule is due.

cronsim knows the calendar; what Kubernetes' parser (robfig/cron) reads otherwise is rewritten for
it. On a day when the clocks skip a time that is due, it is due right after the gap (Kubernetes
skips it); a time that comes twice is due once.
"""

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_RANGES = ("0-59", "0-23", "1-31", "1-12", "0-6")
_EVERY = re.compile(r"^@every\s+((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)$")
_UNIT = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SCHEDULES_CACHED_MAX = 1024
_EPOCH = datetime.fromtimestamp(0, UTC)


class ScheduleError(ValueError):
    """A schedule or a time zone that cannot be read."""


class NeverDueError(ScheduleError):
    """A schedule that can be read and names no day that there is, such as 31 February."""


def zone(name: str) -> tzinfo:
    """The time zone; UTC for an empty name. Raises ScheduleError."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ScheduleError(f"unknown time zone {name}") from error


def following(schedule: str, zone_name: str, after: float) -> float | None:
    """The first time after `after` (seconds since the epoch); None when there is none ever.

    Raises ScheduleError."""
    if every := _period(schedule):
        return float(int(after) + every)
    return _step(schedule, zone_name, after, back=False)


def latest(schedule: str, zone_name: str, since: float, now: float) -> float | None:
    """The last time after `since` and not after `now`; None when there is none.

    Raises ScheduleError."""
    if every := _period(schedule):
        periods = int(now - int(since)) // every
        return float(int(since) + periods * every) if periods > 0 else None
    found = _step(schedule, zone_name, now + 1, back=True)
    return found if found is not None and found > since else None


def _step(schedule: str, zone_name: str, at: float, *, back: bool) -> float | None:
    start = datetime.fromtimestamp(int(at), zone(zone_name))
    try:
        return next(CronSim(plain(schedule), start, reverse=back)).timestamp()
    except StopIteration:
        return None
    except CronSimError as error:
        raise _unreadable(schedule, error) from error


def _unreadable(schedule: str, error: Exception) -> ScheduleError:
    """cronsim refuses a day that none of the months has as it refuses what it cannot read."""
    fields = plain(schedule).split()
    if len(fields) != len(_RANGES):
        return ScheduleError(str(error))
    try:
        for other in (2, 3):  # each of day and month is readable without the other
            CronSim(" ".join([*fields[:other], "*", *fields[other + 1 :]]), _EPOCH)
    except CronSimError:
        return ScheduleError(str(error))
    return NeverDueError("no month of it has such a day")


@lru_cache(maxsize=_SCHEDULES_CACHED_MAX)
def plain(schedule: str) -> str:
    """The schedule in the words that cron has everywhere."""
    fields = MACROS.get(schedule, schedule).split()
    if len(fields) != len(_RANGES):
        return schedule
    return " ".join(
        ",".join(_part(part, whole) for part in field.split(","))
        for field, whole in zip(fields, _RANGES, strict=True)
    )


def _part(text: str, whole: str) -> str:
    """`?` is `*`; `5/10` runs to the end; `*/2` is a restriction like any other (two restricted
    day fields mean either day)."""
    body, slash, step = text.partition("/")
    if not slash or step == "1":
        return "*" if body in ("*", "?") else body
    if body in ("*", "?"):
        body = whole
    elif "-" not in body:
        body = f"{body}-{whole.partition('-')[2]}"
    return f"{body}/{step}"


def _period(schedule: str) -> int:
    """Whole seconds of `@every 1h30m`, one at least; 0 for other schedules."""
    found = _EVERY.match(schedule)
    if found is None:
        return 0
    total = sum(float(n) * _SECONDS[unit] for n, unit in _UNIT.findall(found[1]))
    return max(1, int(total))
