"""Table columns of Queues."""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.column_parts import age_of, name_of, spec_of, status_of

Json = Mapping[str, Any]


def queue(obj: Json, now: float) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    return [
        *(name_of(obj), spec.get("policy") or "FirstComeFirstServed", spec.get("cohort") or ""),
        *(status.get("admitted") or 0, status.get("pending") or 0, status.get("next") or ""),
        age_of(obj, now),
    ]


Cells = Callable[[Json, float], list[Any]]
TABLES: Mapping[tuple[str, str], tuple[str, Cells]] = {
    ("queue.weft.dev", "Queue"): ("Name Policy Cohort Admitted# Pending# Next Age", queue),
}
