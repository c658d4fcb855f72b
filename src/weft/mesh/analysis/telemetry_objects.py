"""Telemetry objects that are for the same workloads."""

from itertools import combinations

from weft.api.istio import telemetry
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import Template, World
from weft.mesh.authorization import ROOT_NAMESPACE, labels_of
from weft.mesh.findings import Findings
from weft.mesh.reporting import GATEWAY_LABELS


def overlaps(world: World, report: Findings) -> None:
    """Several without a selector in a namespace, or with selectors that choose one workload. They
    are merged; where two say something, the older holds."""
    spaces: dict[str, list[telemetry.Telemetry]] = {}
    for each in world.list(telemetry.Telemetry):
        if each.spec.target_ref is None and not each.spec.target_refs:
            spaces.setdefault(each.metadata.namespace, []).append(each)
    for namespace, objects in spaces.items():
        objects.sort(key=lambda o: (o.metadata.creation_timestamp, o.metadata.name))
        general = [o for o in objects if not labels_of(o.spec.selector)]
        for later in general[1:]:
            other = f"Telemetry {namespace}/{general[0].metadata.name}"
            report.add(c.TELEMETRY_TWICE, later, "spec", other=other, namespace=namespace)
        _selected_twice(world, [o for o in objects if labels_of(o.spec.selector)], report)


def _selected_twice(world: World, objects: list[telemetry.Telemetry], report: Findings) -> None:
    """Each object is told once, with the oldest that is in its way."""
    told: set[str] = set()
    for first, later in combinations(objects, 2):
        shared = _shared(world, first, later)
        if shared and later.metadata.name not in told:
            told.add(later.metadata.name)
            report.add(
                c.TELEMETRY_OVERLAP, later, "spec.selector", selected=shared,
                other=f"Telemetry {first.metadata.namespace}/{first.metadata.name}",
            )  # fmt: skip


def _shared(world: World, first: telemetry.Telemetry, later: telemetry.Telemetry) -> str:
    """Something that both select, "" if there is nothing."""
    pairs = labels_of(first.spec.selector), labels_of(later.spec.selector)
    if pairs[0] == pairs[1] == GATEWAY_LABELS:
        return "gateways"
    wanted = dict(pairs[0])
    if any(wanted.setdefault(key, value) != value for key, value in pairs[1]):
        return ""
    found = next((t for t in _candidates(world, first.metadata.namespace, wanted)), None)
    return f"pod `{found.name}`" if found is not None else ""


def _candidates(world: World, namespace: str, labels: dict[str, str]) -> list[Template]:
    if namespace != ROOT_NAMESPACE:
        return list(world.select(namespace, labels))
    return [t for t in world.templates if labels.items() <= t.labels.items()]


CHECKS = (overlaps,)
