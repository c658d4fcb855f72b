"""LimitRanges: what containers get that ask for nothing, and what pods may ask for. Pure.

Source: the LimitRanger admission of kube-apiserver (1.33), also for its words.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]
ANNOTATION = "kubernetes.io/limit-ranger"
_LISTS = ("initContainers", "containers")


def with_defaults(pod: dict[str, Any], ranges: Iterable[Json]) -> dict[str, Any]:
    """The pod with the namespace's defaults where its containers name none."""
    spec = dict(pod.get("spec") or {})
    notes: list[str] = []
    for item in _items(ranges, "Container"):
        requests, limits = item.get("defaultRequest") or {}, item.get("default") or {}
        for key in _LISTS:
            if key in spec:
                spec[key] = [_filled(c, requests, limits, key, notes) for c in spec[key] or ()]
    if not notes:
        return pod
    metadata = dict(pod["metadata"])
    said = "LimitRanger plugin set: " + "; ".join(notes)
    metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: said}
    return {**pod, "metadata": metadata, "spec": spec}


def _filled(
    container: Json, requests: Json, limits: Json, key: str, notes: list[str]
) -> dict[str, Any]:
    resources = dict(container.get("resources") or {})
    for side, defaults, word in (("requests", requests, "request"), ("limits", limits, "limit")):
        present = dict(resources.get(side) or {})
        added = [name for name in defaults if name not in present]
        if added:
            resources[side] = present | {name: defaults[name] for name in added}
            what = "init container" if key == "initContainers" else "container"
            listed = ", ".join(sorted(added))
            notes.append(f"{listed} {word} for {what} {container.get('name')}")
    return {**container, "resources": resources}


def problems(pod: Json, ranges: Iterable[Json]) -> list[str]:
    """What the pod asks for and may not, in Kubernetes' words. Raises ValueError for quantities
    that are none: validation has the better words for those."""
    kept = list(ranges)
    spec = pod.get("spec") or {}
    found: list[str] = []
    for item in _items(kept, "Container"):
        for container in (c for key in _LISTS for c in spec.get(key) or ()):
            resources = container.get("resources") or {}
            asked = (_amounts(resources.get("requests")), _amounts(resources.get("limits")))
            found += _limits(item, *asked)
    for item in _items(kept, "Pod"):
        found += _limits(item, _sum(spec, "requests"), _sum(spec, "limits"))
    return found


def _items(ranges: Iterable[Json], kind: str) -> Iterable[Json]:
    for found in ranges:
        for item in (found.get("spec") or {}).get("limits") or ():
            if item.get("type") == kind:
                yield item


def _amounts(quantities: Any) -> dict[str, Decimal]:
    return {name: parse_quantity(value) for name, value in (quantities or {}).items()}


def _sum(spec: Json, side: str) -> dict[str, Decimal]:
    """Of a pod: its containers together, or an init container that alone asks for more."""
    total: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        for name, amount in _amounts((container.get("resources") or {}).get(side)).items():
            total[name] = total.get(name, Decimal(0)) + amount
    for container in spec.get("initContainers") or ():
        for name, amount in _amounts((container.get("resources") or {}).get(side)).items():
            total[name] = max(total.get(name, Decimal(0)), amount)
    return total


def _limits(
    item: Json, requests: Mapping[str, Decimal], limits: Mapping[str, Decimal]
) -> Iterable[str]:
    kind = item["type"]
    for name, least in (item.get("min") or {}).items():
        about = f"minimum {name} usage per {kind} is {least}"
        if name not in requests:
            yield f"{about}.  No request is specified"
        elif requests[name] < parse_quantity(least):
            yield f"{about}, but request is {_shown(requests[name])}"
    for name, most in (item.get("max") or {}).items():
        about = f"maximum {name} usage per {kind} is {most}"
        if name not in limits:
            yield f"{about}.  No limit is specified"
        elif limits[name] > parse_quantity(most):
            yield f"{about}, but limit is {_shown(limits[name])}"
        elif requests.get(name, Decimal(0)) > parse_quantity(most):
            yield f"{about}, but request is {_shown(requests[name])}"
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        about = f"{name} max limit to request ratio per {kind} is {ratio}"
        if not requests.get(name) or not limits.get(name):
            yield f"{about}, but no request is specified or request is 0"
        elif (actual := limits[name] / requests[name]) > parse_quantity(ratio):
            yield f"{about}, but provided ratio is {actual:.6f}"


def _shown(amount: Decimal) -> str:
    """As people write it: whole, or in thousandths; bytes with a binary suffix where that is
    exact."""
    if amount != amount.to_integral_value():
        return f"{(amount * 1000).normalize():f}m"
    number = int(amount)
    for power, suffix in ((50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if number and number % (1 << power) == 0:
            return f"{number >> power}{suffix}"
    return str(number)
