"""Sidecars that stand in each other's way, and patches of EnvoyFilters that do nothing or depend on
the order of others."""

from collections.abc import Mapping

from weft.api.istio import networking_v1 as istio
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import World
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE

MERGES = ("MERGE", "MERGE_AND_REPLACE_LIST")
WHOLE = ("ADD", "REMOVE", *MERGES)
IN_LISTS = ("INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "ADD", "REMOVE", "MERGE", "REPLACE")
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "ROUTE_CONFIGURATION": MERGES,
    "VIRTUAL_HOST": (*WHOLE, "REPLACE"),
    "LISTENER": WHOLE,
    "FILTER_CHAIN": WHOLE,
    "CLUSTER": WHOLE,
    "NETWORK_FILTER": IN_LISTS,
    "HTTP_FILTER": IN_LISTS,
    "LISTENER_FILTER": IN_LISTS,
}
"""What can be done with a thing, where that is not everything."""
RELATIVE = ("INSERT_BEFORE", "INSERT_AFTER", "REPLACE", *MERGES, "REMOVE")
"""What is done to something that must be there already."""


def selected_twice(world: World, report: Findings) -> None:
    """Workloads that several Sidecars of their namespace select: the oldest holds."""
    for namespace in dict.fromkeys(s.metadata.namespace for s in world.list(istio.Sidecar)):
        selecting = sorted(
            (
                s
                for s in world.list(istio.Sidecar)
                if s.metadata.namespace == namespace != ROOT_NAMESPACE
                and s.spec.workload_selector is not None
            ),
            key=lambda s: (s.metadata.creation_timestamp, s.metadata.name),
        )
        told: set[tuple[str, str]] = set()
        for pod in world.in_namespace(namespace) if len(selecting) > 1 else ():
            labels = pod.labels.items()
            own = [
                s for s in selecting
                if s.spec.workload_selector and s.spec.workload_selector.labels.items() <= labels
            ]  # fmt: skip
            for later in own[1:]:
                names = (own[0].metadata.name, later.metadata.name)
                if names not in told:
                    told.add(names)
                    other = f"Sidecar {namespace}/{names[0]}"
                    report.add(
                        c.SIDECARS_OVERLAP, later, "spec.workloadSelector", other=other,
                        pod=pod.name,
                    )  # fmt: skip


def patch_operations(world: World, report: Findings) -> None:
    """Operations that a thing does not have, and such as depend on what other filters did."""
    for each in world.list(istio.EnvoyFilter):
        for index, change in enumerate(each.spec.config_patches):
            operation = change.patch.operation if change.patch else ""
            path = f"spec.configPatches[{index}].patch.operation"
            possible = OPERATIONS.get(change.apply_to)
            if operation and possible and operation not in possible:
                report.add(
                    c.PATCH_OPERATION, each, path, operation=operation, thing=change.apply_to,
                    possible=", ".join(possible),
                )  # fmt: skip
            elif operation in RELATIVE and not each.spec.priority and _others(world, each):
                report.add(c.PATCH_ORDER, each, path, operation=operation)


def _others(world: World, own: istio.EnvoyFilter) -> bool:
    """Whether a filter that adds something may be applied before or after this one."""
    return any(
        other is not own
        and other.metadata.namespace in (own.metadata.namespace, ROOT_NAMESPACE)
        and not other.spec.priority
        and any(p.patch and p.patch.operation not in ("", *RELATIVE[2:])
                for p in other.spec.config_patches)
        for other in world.list(istio.EnvoyFilter)
    )  # fmt: skip


CHECKS = (selected_twice, patch_operations)
