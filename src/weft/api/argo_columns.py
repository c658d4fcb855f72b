"""Table columns of the kinds of Argo Rollouts, as its definitions have them, and the state."""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.column_parts import age_of, name_of, spec_of, status_of

Json = Mapping[str, Any]


def _rollout(obj: Json, now: float) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    counts = [status.get(n) or 0 for n in ("replicas", "updatedReplicas", "availableReplicas")]
    steps = ((spec.get("strategy") or {}).get("canary") or {}).get("steps") or ()
    at = status.get("currentStepIndex")
    weights = (status.get("canary") or {}).get("weights") or {}
    return [
        name_of(obj),
        spec.get("replicas", 1),
        *counts,
        age_of(obj, now),
        status.get("phase") or "",
        f"{at}/{len(steps)}" if steps and at is not None else "",
        str((weights.get("canary") or {}).get("weight", "")),
        status.get("message") or "",
    ]


def _run(obj: Json, now: float) -> list[Any]:
    status = status_of(obj)
    return [name_of(obj), status.get("phase") or "", age_of(obj, now), status.get("message") or ""]


def _template(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), age_of(obj, now)]


TABLES: Mapping[tuple[str, str], tuple[str, Callable[[Json, float], list[Any]]]] = {
    ("argoproj.io", "Rollout"): (
        "Name Desired# Current# Up-to-date# Available# Age +Status +Step +Weight +Message",
        _rollout,
    ),
    ("argoproj.io", "AnalysisRun"): ("Name Status Age +Message", _run),
    ("argoproj.io", "Experiment"): ("Name Status Age +Message", _run),
    ("argoproj.io", "AnalysisTemplate"): ("Name Age", _template),
    ("argoproj.io", "ClusterAnalysisTemplate"): ("Name Age", _template),
}
