"""How long Jobs run: as they say, or as those before them did. Pure."""

import re
import statistics
from collections.abc import Iterable, Mapping

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.wellknown import ANNOTATION_DURATION
from weft.lib.durations import parse_duration
from weft.lib.timefmt import parse_rfc3339

REMEMBERED_MAX = 10
"""Runs of one kind of Job that count, the newest."""
_NUMBERED = re.compile(r"[-.]?(?:\d+|[a-z0-9]{5})$")
"""What tells one run from another: a number, or what the API server appends to generateName."""

Known = Mapping[tuple[str, str], float]
"""(namespace, what they have in common) -> median of the seconds."""


def learned(jobs: Iterable[Job]) -> Known:
    """Of the Jobs that are complete."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for job in jobs:
        began, ended = job.status.start_time, job.status.completion_time
        if began and ended:
            seconds = max(parse_rfc3339(ended) - parse_rfc3339(began), 1.0)
            found.setdefault(_kind(job.metadata), []).append((ended, seconds))
    return {
        kind: statistics.median(seconds for _, seconds in sorted(runs)[-REMEMBERED_MAX:])
        for kind, runs in found.items()
    }


def expected(job: Job, known: Known) -> float | None:
    """Seconds: declared, or learned, or at most."""
    declared = duration(job.metadata)
    if declared is not None:
        return declared
    before = known.get(_kind(job.metadata))
    if before is not None:
        return before
    most = job.spec.active_deadline_seconds
    return float(most) if most is not None else None


def duration(meta: ObjectMeta) -> float | None:
    """What the annotation says."""
    written = meta.annotations.get(ANNOTATION_DURATION, "")
    try:
        return max(parse_duration(written), 1.0) if written else None
    except (ValueError, OverflowError):
        return None


def _kind(meta: ObjectMeta) -> tuple[str, str]:
    """Runs of one CronJob, of one generateName, or whose names differ in a number at the end."""
    owner = next((o for o in meta.owner_references if o.controller), None)
    if owner is not None:
        return meta.namespace, f"{owner.kind}/{owner.name}"
    return meta.namespace, meta.generate_name or _NUMBERED.sub("", meta.name) or meta.name
