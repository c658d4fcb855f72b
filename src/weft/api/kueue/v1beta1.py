"""kueue.x-k8s.io/v1beta1: the fields that v1beta2 renamed, and how to translate them.

Source: apis/kueue/v1beta1, *_conversion.go, of Kueue 0.15. Every function makes a new object and
leaves the given one as it is.
"""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
RENAMED: Mapping[str, Mapping[str, str]] = {
    "ClusterQueueSpec": {"cohortName": "cohort"},
    "LocalQueueStatus": {"flavorsUsage": "flavorUsage"},
}
"""Message -> name in v1beta2 -> name in v1beta1."""
ADDED: Mapping[str, Mapping[str, Json]] = {
    "ClusterQueueSpec": {
        "admissionChecks": {
            "description": "AdmissionChecks. weft refuses them.",
            "type": "array",
            "items": {"type": "string"},
        },
    },
    "WorkloadSpec": {
        "priorityClassName": {"description": "The class of its priority.", "type": "string"},
        "priorityClassSource": {
            "description": "kueue.x-k8s.io/workloadpriorityclass or"
            " scheduling.k8s.io/priorityclass.",
            "type": "string",
        },
    },
}
"""Message -> fields that only v1beta1 has."""
REMOVED: Mapping[str, tuple[str, ...]] = {"WorkloadSpec": ("priorityClassRef",)}
_SOURCES = {
    "kueue.x-k8s.io/workloadpriorityclass": ("kueue.x-k8s.io", "WorkloadPriorityClass"),
    "scheduling.k8s.io/priorityclass": ("scheduling.k8s.io", "PriorityClass"),
}


def cluster_queue_to_stored(obj: Mapping[str, Any]) -> Json:
    def spec(its: Json) -> None:
        _move(its, "cohort", "cohortName")
        checks = its.pop("admissionChecks", None)
        if checks:
            its["admissionChecksStrategy"] = {"admissionChecks": [{"name": n} for n in checks]}

    return _with(obj, "spec", spec)


def cluster_queue_to_view(obj: Mapping[str, Any]) -> Json:
    return _with(obj, "spec", lambda its: _move(its, "cohortName", "cohort"))


def local_queue_to_stored(obj: Mapping[str, Any]) -> Json:
    return _with(obj, "status", lambda its: _move(its, "flavorUsage", "flavorsUsage"))


def local_queue_to_view(obj: Mapping[str, Any]) -> Json:
    return _with(obj, "status", lambda its: _move(its, "flavorsUsage", "flavorUsage"))


def workload_to_stored(obj: Mapping[str, Any]) -> Json:
    def spec(its: Json) -> None:
        name, source = its.pop("priorityClassName", None), its.pop("priorityClassSource", None)
        if name and source in _SOURCES:
            group, kind = _SOURCES[source]
            its["priorityClassRef"] = {"group": group, "kind": kind, "name": name}

    return _with(obj, "spec", spec)


def workload_to_view(obj: Mapping[str, Any]) -> Json:
    def spec(its: Json) -> None:
        ref = its.pop("priorityClassRef", None) or {}
        for source, (group, kind) in _SOURCES.items():
            if (ref.get("group"), ref.get("kind")) == (group, kind):
                its["priorityClassName"], its["priorityClassSource"] = ref.get("name"), source

    return _with(obj, "spec", spec)


def _move(target: Json, old: str, new: str) -> None:
    if old in target:
        target[new] = target.pop(old)


def _with(obj: Mapping[str, Any], part: str, change: Any) -> Json:
    made = dict(obj)
    if isinstance(made.get(part), dict):
        made[part] = dict(made[part])
        change(made[part])
    return made
