"""Table columns of the kinds of monitoring.weft.dev."""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.column_parts import age_of, name_of, spec_of, status_of

Json = Mapping[str, Any]
Cells = list[Any]
EVERY_SERVICE = "*"


def _service(obj: Json) -> str:
    return (spec_of(obj).get("service") or {}).get("name") or EVERY_SERVICE


def _rule(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    above, below = spec.get("above"), spec.get("below")
    bound = f"> {above:g}" if above is not None else f"< {below or 0:g}"
    condition = f"{spec.get('signal')} {bound}"
    severity = spec.get("severity") or "warning"
    state = status_of(obj).get("state") or ""
    return [name_of(obj), _service(obj), condition, severity, state, age_of(obj, now)]


def _objective(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    left = status.get("budgetRemainingPercent")
    return [
        *(name_of(obj), _service(obj), f"{spec.get('objective') or 0:g}%"),
        spec.get("window") or "720h",
        "" if left is None else f"{left:.1f}%",
        status.get("state") or "",
        age_of(obj, now),
    ]


def _receiver(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    to = spec.get("url") or f"service/{(spec.get('service') or {}).get('name') or ''}"
    counts = [status.get(name) or 0 for name in ("delivered", "failed")]
    return [name_of(obj), to, *counts, age_of(obj, now)]


GROUP = "monitoring.weft.dev"
TABLES: Mapping[tuple[str, str], tuple[str, Callable[[Json, float], Cells]]] = {
    (GROUP, "AlertRule"): ("Name Service Condition Severity State Age", _rule),
    (GROUP, "ServiceLevelObjective"): (
        "Name Service Objective Window Budget-Left State Age", _objective,
    ),
    (GROUP, "AlertReceiver"): ("Name To Delivered# Failed# Age", _receiver),
}  # fmt: skip
"""By group and kind: the columns, as weft.api.columns reads them, and the cells."""
