"""What would stop more replicas from running: quotas of the namespace, room on the nodes. Pure."""

import math
from collections.abc import Mapping

from msgspec import Struct

from weft.api.k8s.core_v1 import Node, ResourceQuota
from weft.api.k8s.pod_v1 import Pod, PodSpec
from weft.api.snapshot import Snapshot, meta
from weft.controllers.support import podstate
from weft.lib.quantity import parse_quantity

_UNLIMITED = math.inf
_RESOURCES = ("cpu", "memory")


class Limit(Struct, frozen=True):
    reason: str
    """Of the Event."""
    text: str


def reached(
    snapshot: Snapshot, target: Struct, extra: int, needed: int, most: int
) -> tuple[Limit, ...]:
    """What `extra` more replicas, `needed` in all, would run into."""
    found = []
    if needed > most:
        found.append(Limit("DemandAboveMaximum", f"more than the maximum of {most}"))
        extra -= needed - most  # it stops before the others do
    spec = getattr(getattr(target.spec, "template", None), "spec", None)  # type: ignore[attr-defined]
    if extra <= 0 or not isinstance(spec, PodSpec):
        return tuple(found)
    namespace = meta(target).namespace
    for quota in snapshot.list(ResourceQuota, namespace):
        room, what = _room_in(quota, spec)
        if room < extra:
            text = f"quota {quota.metadata.name} has room for {room:g} more ({what})"
            found.append(Limit("DemandAboveQuota", text))
    room = _room_on_nodes(snapshot, spec)
    if room < extra:
        found.append(Limit("DemandAboveCapacity", f"the nodes have room for {room:g} more"))
    return tuple(found)


def _room_in(quota: ResourceQuota, spec: PodSpec) -> tuple[float, str]:
    """How many more pods a quota allows, and which of its rows says so. Quotas with scopes are for
    some pods only, and left out."""
    if quota.spec.scopes or quota.spec.scope_selector is not None:
        return _UNLIMITED, ""
    rooms: list[tuple[float, str]] = []
    for row, hard in quota.status.hard.items():
        each = _each(row, spec)
        if each:
            left = _number(hard) - _number(quota.status.used.get(row, 0))
            rooms.append((max(0, math.floor(left / each + 1e-9)), row))
    return min(rooms, default=(_UNLIMITED, ""))


def _each(row: str, spec: PodSpec) -> float:
    """What one pod takes of a row of a quota."""
    if row in ("pods", "count/pods"):
        return 1.0
    kind, _, resource = row.rpartition(".")
    if resource not in _RESOURCES or kind not in ("", "requests", "limits"):
        return 0.0
    return _asked(spec, limits=kind == "limits").get(resource, 0.0)


def _asked(spec: PodSpec, limits: bool = False) -> Mapping[str, float]:
    total = dict.fromkeys(_RESOURCES, 0.0)
    for container in spec.containers:
        found = container.resources
        if found is None:
            continue
        rows = found.limits if limits else {**found.limits, **found.requests}
        for name in _RESOURCES:
            total[name] += _number(rows.get(name, 0))
    return total


def _room_on_nodes(snapshot: Snapshot, spec: PodSpec) -> float:
    """By requests and numbers of pods; what else keeps pods off nodes the scheduler knows."""
    nodes = [n for n in snapshot.list(Node) if not n.spec.unschedulable]
    if not nodes:
        return _UNLIMITED  # nothing is known of them
    each = {"pods": 1.0, **_asked(spec)}
    taken: dict[str, dict[str, float]] = {}
    for pod in snapshot.list(Pod):
        if not pod.spec.node_name or podstate.is_finished(pod):
            continue
        row = taken.setdefault(pod.spec.node_name, dict.fromkeys(each, 0.0))
        for name, value in {"pods": 1.0, **_asked(pod.spec)}.items():
            row[name] += value
    room = 0.0
    for node in nodes:
        used = taken.get(node.metadata.name, {})
        offered = node.status.allocatable
        room += min(
            max(0, math.floor((_number(offered[n]) - used.get(n, 0.0)) / each[n] + 1e-9))
            for n in each
            if each[n] and n in offered
        ) if "pods" in offered else _UNLIMITED  # fmt: skip
    return room


def _number(quantity: str | int | float) -> float:
    try:
        return float(parse_quantity(quantity))
    except ValueError:
        return 0.0
