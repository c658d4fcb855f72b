"""ClusterQueues, Cohorts and ResourceFlavors as queues. Pure."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.api.kueue.common import ResourceGroup
from weft.api.kueue.v1beta2 import ClusterQueue, Cohort, ResourceFlavor
from weft.api.snapshot import Snapshot
from weft.scheduler.queues import model
from weft.scheduler.queues.model import Fungibility, Group, Preemption, Queue, charge
from weft.scheduler.resources import amount

ACTIVE = ("Ready", "Can admit new workloads")
STOPS = ("Hold", "HoldAndDrain")


class Setup(Struct, frozen=True):
    """What there is to be admitted to."""

    queues: Mapping[str, Queue]
    """Of active ClusterQueues: those that are not lend nothing either."""
    cohorts: Mapping[str, model.Cohort]
    inactive: Mapping[str, tuple[str, str]]
    """ClusterQueue -> reason and message."""


def setup(snapshot: Snapshot) -> Setup:
    cohorts = {c.metadata.name: c for c in snapshot.list(Cohort)}
    circular = {name for name in cohorts if _is_circular(name, cohorts)}
    flavors = {f.metadata.name for f in snapshot.list(ResourceFlavor)}
    queues, inactive = {}, {}
    for obj in snapshot.list(ClusterQueue):
        why = _inactive(obj, flavors, circular)
        if why is None:
            queues[obj.metadata.name] = _queue(obj)
        else:
            inactive[obj.metadata.name] = why
    made = {name: _cohort(c) for name, c in cohorts.items() if name not in circular}
    return Setup(queues, made, inactive)


def _is_circular(name: str, cohorts: Mapping[str, Cohort]) -> bool:
    """Whether the way up from it never ends."""
    seen = set()
    while name in cohorts:
        if name in seen:
            return True
        seen.add(name)
        name = cohorts[name].spec.parent_name
    return False


def _inactive(
    obj: ClusterQueue, flavors: Iterable[str], circular: Iterable[str]
) -> tuple[str, str] | None:
    spec = obj.spec
    if obj.metadata.deletion_timestamp:
        return "Terminating", "Can't admit new workloads; clusterQueue is terminating"
    reasons: list[tuple[str, str]] = []
    if spec.stop_policy in STOPS:
        reasons.append(("Stopped", "is stopped"))
    named = [f.name for group in spec.resource_groups for f in group.flavors]
    if missing := [name for name in named if name not in flavors]:
        text = f"references missing ResourceFlavor(s): {', '.join(missing)}"
        reasons.append(("FlavorNotFound", text))
    if spec.cohort_name in circular:
        text = f"cohort {spec.cohort_name} is part of itself by way of its parents"
        reasons.append(("CohortCycle", text))
    if not reasons:
        return None
    return reasons[0][0], f"Can't admit new workloads: {', '.join(t for _, t in reasons)}."


def _queue(obj: ClusterQueue) -> Queue:
    spec = obj.spec
    quotas = _quotas(spec.resource_groups)
    return Queue(
        name=obj.metadata.name,
        policy="Priority",
        quota=quotas["nominal_quota"],
        cohort=spec.cohort_name,
        borrowing=quotas["borrowing_limit"],
        lending=quotas["lending_limit"],
        passing="Nobody" if spec.queueing_strategy == "StrictFIFO" else "Anybody",
        preemption=_preemption(obj),
        groups=tuple(
            Group(group.covered_resources, tuple(f.name for f in group.flavors))
            for group in spec.resource_groups
        ),
        only_groups=True,
        fungibility=_fungibility(obj),
        kind="ClusterQueue",
    )


def _cohort(obj: Cohort) -> model.Cohort:
    quotas = _quotas(obj.spec.resource_groups)
    return model.Cohort(
        *(obj.metadata.name, obj.spec.parent_name, quotas["nominal_quota"]),
        *(quotas["borrowing_limit"], quotas["lending_limit"]),
    )


def _quotas(groups: Iterable[ResourceGroup]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {
        field: {} for field in ("nominal_quota", "borrowing_limit", "lending_limit")
    }
    for group in groups:
        for flavor in group.flavors:
            for resource in flavor.resources:
                for field, amounts in found.items():
                    if (value := getattr(resource, field)) is not None:
                        amounts[charge(resource.name, flavor.name)] = amount(resource.name, value)
    return found


def _preemption(obj: ClusterQueue) -> Preemption:
    spec = obj.spec.preemption
    if spec is None:
        return model.NO_PREEMPTION
    borrow = spec.borrow_within_cohort
    return Preemption(
        within=spec.within_cluster_queue or "Never",
        reclaim=spec.reclaim_within_cohort or "Never",
        borrowing=borrow is not None and borrow.policy == "LowerPriority",
        borrowing_priority_max=borrow.max_priority_threshold if borrow is not None else None,
    )


def _fungibility(obj: ClusterQueue) -> Fungibility:
    spec = obj.spec.flavor_fungibility
    if spec is None:
        return Fungibility()
    return Fungibility(
        before_borrowing=spec.when_can_borrow == "TryNextFlavor",
        before_preempting=spec.when_can_preempt != "MayStopSearch",
        borrowing_is_better=spec.preference != "PreemptionOverBorrowing",
    )
