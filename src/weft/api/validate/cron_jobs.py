"""CronJobs: their schedules, time zones and the Jobs they make."""

import re
import zoneinfo
from collections.abc import Mapping
from functools import cache
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required, under
from weft.api.validate import names, workloads

Json = Mapping[str, Any]

_SPEC: Location = ("spec",)
NAME_LENGTH_MAX = 52
"""The rest of 63 characters is for the time in the names of Jobs."""
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every ([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[int, int, Mapping[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: n for n, name in enumerate(_DAYS)}),
)
"""Of a schedule: lowest and highest value, and names."""


def schedule_problem(text: str) -> str:
    """What is wrong with a schedule of five fields or a macro; "" when nothing is (the parser
    of Kubernetes is robfig/cron's standard one)."""
    if text.startswith("@"):
        known = text in _MACROS or _EVERY.fullmatch(text)
        return "" if known else f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: {fields}"
    for field, (low, high, known_names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if problem := _range_problem(part, low, high, known_names):
                return problem
    return ""


def _range_problem(text: str, low: int, high: int, known: Mapping[str, int]) -> str:
    body, slash, step = text.partition("/")
    if slash and (not step.isdecimal() or int(step) == 0):
        return f"step of range should be a positive number: {text}"
    if body in ("*", "?"):
        return ""
    first, dash, last = body.partition("-")
    numbers = [_number(word, known) for word in ((first, last) if dash else (first,))]
    if None in numbers:
        return f"failed to parse int from {text}"
    start, end = numbers[0], numbers[-1]
    assert start is not None
    assert end is not None
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {text}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {text}"
    return (
        f"beginning of range ({start}) beyond end of range ({end}): {text}" if start > end else ""
    )


def _number(word: str, known: Mapping[str, int]) -> int | None:
    if word.lower() in known:
        return known[word.lower()]
    return int(word) if word.isdecimal() else None


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def validate(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    name = str((obj.get("metadata") or {}).get("name") or "")
    errors: list[FieldError] = []
    if len(name) > NAME_LENGTH_MAX:
        text = f"must be no more than {NAME_LENGTH_MAX} characters"
        errors.append(invalid(("metadata", "name"), name, text))
    errors += _timing(spec)
    errors += names.not_negative(
        spec, _SPEC, "startingDeadlineSeconds", "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    )  # fmt: skip
    template = spec.get("jobTemplate") or {}
    job = template.get("spec") or {}
    at: Location = (*_SPEC, "jobTemplate")
    errors += names.labels((template.get("metadata") or {}).get("labels"), (*at, "metadata"))
    if job.get("manualSelector"):
        errors.append(forbidden((*at, "spec", "manualSelector"), "must be `false`"))
    return errors + under(at, workloads.validate_job({"spec": job}))


def _timing(spec: Json) -> list[FieldError]:
    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    at: Location = (*_SPEC, "schedule")
    if not schedule:
        return [required(at)]
    if "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [invalid(at, schedule, text)]
    if problem := schedule_problem(schedule):
        return [invalid(at, schedule, problem, "example: */5 * * * * (minute, hour, day, month, "
                        "day of the week)")]  # fmt: skip
    if zone is None:
        return []
    here: Location = (*_SPEC, "timeZone")
    if zone.lower() == "local":
        return [invalid(here, zone, "timeZone must be an explicit time zone as defined in "
                        "https://www.iana.org/time-zones")]  # fmt: skip
    if not zone:
        return [invalid(here, zone, "timeZone must be nil or non-empty string")]
    known = _zones()  # none on machines without a time zone database
    return [] if zone in known or not known else [invalid(here, zone, f"unknown time zone {zone}")]
