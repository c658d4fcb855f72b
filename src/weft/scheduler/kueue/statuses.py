"""The status of ClusterQueues and LocalQueues: whether they admit, what waits, what is used."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from weft.api.kueue.common import FlavorUsage, ResourceGroup, ResourceUsage
from weft.api.kueue.queues import ClusterQueueStatus, LocalQueueStatus
from weft.api.kueue.v1beta2 import ClusterQueue, LocalQueue
from weft.api.snapshot import Snapshot
from weft.runtime.plan import Action, Patch
from weft.scheduler.kueue.conditions import Conditions, Writer, quantity
from weft.scheduler.kueue.queues import ACTIVE, STOPS, Setup
from weft.scheduler.kueue.workloads import Item
from weft.scheduler.queues.model import Decision, charge
from weft.scheduler.resources import amount


def plan(
    snapshot: Snapshot, setup: Setup, items: Sequence[Item], decision: Decision, now: float
) -> list[Action]:
    """As it will be once this plan is carried out."""
    alive = [i for i in items if i.ended is None]
    on = [
        *(i for i in alive if i.is_admitted),
        *(replace(i, workload=decision.chosen[i.workload.key])
          for i in alive if i.workload.key in decision.chosen),
    ]  # fmt: skip
    admitted = {i.workload.key for i in on}
    waiting = [i for i in alive if i.workload.key not in admitted]
    actions: list[Action] = []
    for obj in snapshot.list(ClusterQueue):
        name = obj.metadata.name
        mine = [i for i in on if i.workload.queue == name]
        usage = _usage(obj.spec.resource_groups, mine)
        status = ClusterQueueStatus(
            *(_active(obj, setup, now), usage, usage),
            sum(i.workload.queue == name for i in waiting),
            *(len(mine), len(mine)),
        )
        actions += _written(obj, status)
    for local in snapshot.list(LocalQueue):
        mine, others = _of(local, on), _of(local, waiting)
        found = snapshot.get(ClusterQueue, local.spec.cluster_queue)
        plain = _usage(found.spec.resource_groups if found is not None else (), mine)
        actions += _written(
            local,
            LocalQueueStatus(
                *(_submits(local, found, setup, now), len(others), len(mine), len(mine)),
                *(plain, plain),
            ),
        )
    return actions


def _of(local: LocalQueue, items: Iterable[Item]) -> list[Item]:
    meta = local.metadata
    return [
        i
        for i in items
        if i.wanted.queue_name == meta.name and i.workload.namespace == meta.namespace
    ]


def _written(
    obj: ClusterQueue | LocalQueue, status: ClusterQueueStatus | LocalQueueStatus
) -> list[Action]:
    if status == obj.status:
        return []
    its = obj.metadata
    old, new = msgspec.to_builtins(obj.status), msgspec.to_builtins(status)
    body = {"status": {**dict.fromkeys(old), **new}}
    return [Patch(type(obj), its.namespace, its.name, body, "status")]


def _usage(groups: Iterable[ResourceGroup], items: Iterable[Item]) -> tuple[FlavorUsage, ...]:
    """Of each flavor, also of those that nobody uses."""
    used: dict[str, int] = {}
    for item in items:
        for name, much in item.workload.charges.items():
            used[name] = used.get(name, 0) + much
    found = []
    for group in groups:
        for flavor in group.flavors:
            usages = []
            for resource in flavor.resources:
                much = used.get(charge(resource.name, flavor.name), 0)
                over = max(much - amount(resource.name, resource.nominal_quota), 0)
                total, borrowed = quantity(resource.name, much), quantity(resource.name, over)
                usages.append(ResourceUsage(resource.name, total, borrowed))
            found.append(FlavorUsage(flavor.name, tuple(usages)))
    return tuple(found)


def _active(obj: ClusterQueue, setup: Setup, now: float) -> Conditions:
    found = Writer(obj.status.conditions, obj.metadata.generation, now)
    why = setup.inactive.get(obj.metadata.name)
    found.put("Active", why is None, *(why or ACTIVE))
    return found.conditions


def _submits(local: LocalQueue, queue: ClusterQueue | None, setup: Setup, now: float) -> Conditions:
    found = Writer(local.status.conditions, local.metadata.generation, now)
    if local.spec.stop_policy in STOPS:
        why = ("Stopped", "LocalQueue is stopped")
    elif queue is None:
        why = ("ClusterQueueDoesNotExist", "Can't submit new workloads to clusterQueue")
    elif queue.metadata.name in setup.inactive:
        why = ("ClusterQueueIsInactive", "Can't submit new workloads to clusterQueue")
    else:
        found.put("Active", True, "Ready", "Can submit new workloads to localQueue")
        return found.conditions
    found.put("Active", False, *why)
    return found.conditions
