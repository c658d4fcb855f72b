"""Table columns of Flagger's kinds, as its definitions have them."""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.column_parts import name_of, spec_of, status_of

Json = Mapping[str, Any]
_GROUP = "flagger.app"


def _canary(obj: Json, now: float) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    analysis = spec.get("analysis") or {}
    steps = analysis.get("stepWeights")
    return [
        *(name_of(obj), status.get("phase") or "", str(status.get("canaryWeight") or 0)),
        *(spec.get("suspend"), str(status.get("failedChecks") or 0), analysis.get("interval")),
        *(analysis.get("mirror"), _text(analysis.get("stepWeight"))),
        "" if not steps else f"[{','.join(map(str, steps))}]",
        *(_text(analysis.get("maxWeight")), status.get("lastTransitionTime") or ""),
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _template(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), (spec_of(obj).get("provider") or {}).get("type") or ""]


def _provider(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), spec_of(obj).get("type") or ""]


TABLES: Mapping[tuple[str, str], tuple[str, Callable[[Json, float], list[Any]]]] = {
    (_GROUP, "Canary"): (
        "Name Status Weight +Suspended +FailedChecks +Interval +Mirror +StepWeight +StepWeights "
        "+MaxWeight LastTransitionTime",
        _canary,
    ),
    (_GROUP, "MetricTemplate"): ("Name Provider", _template),
    (_GROUP, "AlertProvider"): ("Name Type", _provider),
}
