"""What a Workload's status says of what was decided. Pure.

Types, reasons and their order are Kueue's; its tools read them.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from weft.api.conditions import condition
from weft.api.k8s.meta_v1 import Condition
from weft.api.kueue import workload as kueue
from weft.lib.quantity import format_quantity
from weft.lib.timefmt import rfc3339
from weft.scheduler.queues.model import Why
from weft.scheduler.resources import CPU, requested

Conditions = tuple[Condition, ...]
RESERVED, ADMITTED, EVICTED = "QuotaReserved", "Admitted", "Evicted"
PREEMPTED, REQUEUED, FINISHED = "Preempted", "Requeued", "Finished"
_PREEMPTIONS: Mapping[Why, str] = {
    "InClusterQueue": "prioritization in the ClusterQueue",
    "InCohortReclamation": "reclamation within the cohort",
    "InCohortReclaimWhileBorrowing": "reclamation within the cohort while borrowing",
}


class Writer:
    """Changes the conditions of one object, at one time."""

    def __init__(self, conditions: Conditions, generation: int | None, now: float) -> None:
        self.conditions = conditions
        self._generation, self._now = generation, rfc3339(now)

    def put(self, kind: str, status: bool, reason: str, message: str) -> None:
        """It keeps the time at which its status last changed."""
        text = "True" if status else "False"
        old = condition(self.conditions, kind)
        at = old.last_transition_time if old is not None and old.status == text else self._now
        new = Condition(at, message, self._generation, reason, text, kind)
        if old is not None:
            self.conditions = tuple(new if c is old else c for c in self.conditions)
        else:
            self.conditions = (*self.conditions, new)

    def clear(self, kind: str, reason: str, message: str) -> None:
        """It does not hold any more; nothing, when it never did."""
        old = condition(self.conditions, kind)
        if old is not None and old.status == "True":
            self.put(kind, False, reason, message)


def body(conditions: Conditions, **more: Any) -> dict[str, Any]:
    return {"status": {"conditions": [msgspec.to_builtins(c) for c in conditions], **more}}


def writer(obj: kueue.Workload, now: float) -> Writer:
    return Writer(obj.status.conditions, obj.metadata.generation, now)


def admitted(obj: kueue.Workload, admission: kueue.Admission, now: float) -> dict[str, Any]:
    found = writer(obj, now)
    text = f"Quota reserved in ClusterQueue {admission.cluster_queue}"
    found.put(RESERVED, True, RESERVED, text)
    for kind in (EVICTED, PREEMPTED):
        old = condition(found.conditions, kind)
        found.clear(kind, RESERVED, f"Previously: {old.message if old else ''}")
    found.put(ADMITTED, True, ADMITTED, "The workload is admitted")
    return body(found.conditions, admission=msgspec.to_builtins(admission))


def waits(obj: kueue.Workload, reason: str, message: str, now: float) -> dict[str, Any] | None:
    """None: it says so already."""
    found = writer(obj, now)
    found.put(RESERVED, False, reason, message)
    return body(found.conditions) if found.conditions != obj.status.conditions else None


def evicted(
    obj: kueue.Workload, reason: str, message: str, now: float, why: Why | None = None
) -> dict[str, Any]:
    """It is to end; it keeps its quota until it has. `why`: of a preemption."""
    found = writer(obj, now)
    found.put(EVICTED, True, reason, message)
    if why is not None:
        found.put(PREEMPTED, True, why, message)
    return body(found.conditions)


def released(obj: kueue.Workload, now: float) -> dict[str, Any]:
    """It was evicted, and has ended."""
    found = writer(obj, now)
    cause = condition(obj.status.conditions, EVICTED)
    reason, message = (cause.reason, cause.message) if cause is not None else ("", "")
    found.put(RESERVED, False, "Pending", message)
    found.put(ADMITTED, False, "NoReservation", "The workload has no reservation")
    found.put(REQUEUED, reason == "Preempted", reason, message)
    return body(found.conditions, admission=None)


def preempted(by: str, uid: str, why: Why) -> str:
    return f"Preempted to accommodate a workload ({by}, UID: {uid}) due to {_PREEMPTIONS[why]}"


def finished(obj: kueue.Workload, reason: str, message: str, now: float) -> dict[str, Any]:
    found = writer(obj, now)
    found.put(FINISHED, True, reason, message)
    return body(found.conditions)


def assignment(
    pods: kueue.PodSet, flavors: Mapping[str, str], count: int, covered: Iterable[str]
) -> kueue.PodSetAssignment:
    spec = pods.template.spec
    each = dict(requested(spec)) if spec is not None else {}
    if "pods" in flavors:
        each["pods"] = 1
    known = set(covered)
    return kueue.PodSetAssignment(
        name=pods.name,
        flavors={name: flavors[name] for name in each if name in flavors},
        resource_usage={n: quantity(n, much * count) for n, much in each.items() if n in known},
        count=count,
    )


def quantity(name: str, much: int) -> str:
    """Of a resource, as Kubernetes writes it."""
    if name == CPU:
        return format_quantity(Decimal(much) / 1000)
    return format_quantity(Decimal(much), binary=name.endswith(("memory", "storage")))
