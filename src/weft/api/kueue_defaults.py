"""Values that Kueue fills in for absent fields. Source: its definitions' defaults.

Every function changes the JSON it is given, which the caller must own.
"""

from typing import Any

Json = dict[str, Any]


def cluster_queue(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(spec, queueingStrategy="BestEffortFIFO", stopPolicy="None")
    _set(
        _sub(spec, "flavorFungibility"),
        whenCanBorrow="MayStopSearch",
        whenCanPreempt="TryNextFlavor",
    )
    preemption = _sub(spec, "preemption")
    _set(preemption, reclaimWithinCohort="Never", withinClusterQueue="Never")
    _set(_sub(preemption, "borrowWithinCohort"), policy="Never")


def local_queue(obj: Json) -> None:
    _set(_sub(obj, "spec"), stopPolicy="None")


def workload(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(spec, active=True)
    for pods in spec.get("podSets") or ():
        _set(pods, name="main", count=1)


def _sub(target: Json, key: str) -> Json:
    found = target.get(key)
    if found is None:
        found = target[key] = {}
    assert isinstance(found, dict)
    return found


def _set(target: Json, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value
