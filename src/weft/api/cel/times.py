"""CEL's timestamps and durations, to the microsecond. Pure."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from weft.api.cel.syntax import CelError
from weft.api.cel.values import no_overload
from weft.lib.durations import parse_duration


def timestamp(value: Any) -> datetime.datetime:
    """Raises CelError."""
    if isinstance(value, datetime.datetime):
        return value
    try:
        if isinstance(value, str):
            found = datetime.datetime.fromisoformat(value)
            if found.tzinfo is None:
                raise ValueError("no time zone")
            return found
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.datetime.fromtimestamp(value, datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise CelError(f"parsing time {value!r}: {error}") from error
    raise no_overload("timestamp", value)


def duration(value: Any) -> datetime.timedelta:
    """Raises CelError."""
    if isinstance(value, datetime.timedelta):
        return value
    if not isinstance(value, str):
        raise no_overload("duration", value)
    try:
        return datetime.timedelta(seconds=parse_duration(value))
    except (ValueError, OverflowError) as error:
        raise CelError(f'time: invalid duration "{value}"') from error


def _part(name: str, read: Callable[[datetime.datetime], int]) -> Callable[..., int]:
    def run(value: Any, zone: Any = "UTC") -> int:
        if not isinstance(value, datetime.datetime) or not isinstance(zone, str):
            raise no_overload(name, value, zone)
        return read(value.astimezone(_zone(zone)))

    return run


def _zone(name: str) -> datetime.tzinfo:
    if name[:1] in ("+", "-"):
        return timestamp(f"2000-01-01T00:00:00{name}").tzinfo or datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise CelError(f"unknown time zone {name}") from error


def _either(
    name: str,
    of_time: Callable[[datetime.datetime], int],
    of_duration: Callable[[datetime.timedelta], int],
) -> Callable[..., int]:
    part = _part(name, of_time)

    def run(value: Any, zone: Any = "UTC") -> int:
        if isinstance(value, datetime.timedelta):
            return of_duration(value)
        return part(value, zone)

    return run


def _microseconds(value: datetime.timedelta) -> int:
    return value // datetime.timedelta(microseconds=1)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {"timestamp": timestamp, "duration": duration}
METHODS: Mapping[str, Callable[..., Any]] = {
    "getFullYear": _part("getFullYear", lambda t: t.year),
    "getMonth": _part("getMonth", lambda t: t.month - 1),
    "getDate": _part("getDate", lambda t: t.day),
    "getDayOfMonth": _part("getDayOfMonth", lambda t: t.day - 1),
    "getDayOfWeek": _part("getDayOfWeek", lambda t: t.isoweekday() % 7),
    "getDayOfYear": _part("getDayOfYear", lambda t: t.timetuple().tm_yday - 1),
    "getHours": _either("getHours", lambda t: t.hour, lambda d: int(d.total_seconds() / 3600)),
    "getMinutes": _either("getMinutes", lambda t: t.minute, lambda d: int(d.total_seconds() / 60)),
    "getSeconds": _either("getSeconds", lambda t: t.second, lambda d: int(d.total_seconds())),
    "getMilliseconds": _either(
        "getMilliseconds", lambda t: t.microsecond // 1000, lambda d: _microseconds(d) // 1000
    ),
}
