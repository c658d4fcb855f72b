"""Table columns of Kueue's kinds, as its definitions have them."""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.column_parts import age_of, name_of, spec_of, status_of

Json = Mapping[str, Any]
_GROUP = "kueue.x-k8s.io"


def _cluster_queue(obj: Json, now: float) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    return [
        *(name_of(obj), spec.get("cohortName") or "", spec.get("queueingStrategy") or ""),
        *(status.get("pendingWorkloads") or 0, status.get("admittedWorkloads") or 0),
    ]


def _local_queue(obj: Json, now: float) -> list[Any]:
    status = status_of(obj)
    return [
        *(name_of(obj), spec_of(obj).get("clusterQueue") or ""),
        *(status.get("pendingWorkloads") or 0, status.get("admittedWorkloads") or 0),
    ]


def _workload(obj: Json, now: float) -> list[Any]:
    status = status_of(obj)
    states = {c.get("type"): c.get("status") or "" for c in status.get("conditions") or ()}
    return [
        *(name_of(obj), spec_of(obj).get("queueName") or ""),
        (status.get("admission") or {}).get("clusterQueue") or "",
        *(states.get("Admitted", ""), states.get("Finished", ""), age_of(obj, now)),
    ]


def _priority_class(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), obj.get("value") or 0]


def _plain(obj: Json, now: float) -> list[Any]:
    return [name_of(obj), age_of(obj, now)]


TABLES: Mapping[tuple[str, str], tuple[str, Callable[[Json, float], list[Any]]]] = {
    (_GROUP, "ClusterQueue"): (
        "Name Cohort +Strategy Pending_Workloads# +Admitted_Workloads#", _cluster_queue,
    ),
    (_GROUP, "LocalQueue"): (
        "Name ClusterQueue Pending_Workloads# Admitted_Workloads#", _local_queue,
    ),
    (_GROUP, "Workload"): ("Name Queue Reserved_in Admitted Finished Age", _workload),
    (_GROUP, "WorkloadPriorityClass"): ("Name Value#", _priority_class),
    (_GROUP, "ResourceFlavor"): ("Name Age", _plain),
    (_GROUP, "Cohort"): ("Name Age", _plain),
}  # fmt: skip
