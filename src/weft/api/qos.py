"""A pod's quality of service class, from its containers' resources."""

from collections.abc import Mapping
from typing import Any

from weft.lib.quantity import parse_quantity

_COUNTED = ("cpu", "memory")


def qos_class(spec: Mapping[str, Any]) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`, by Kubernetes' rules, for a pod spec's JSON."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = [c.get("resources") or {} for c in containers]
    if not any(_amounts(r, side) for r in resources for side in ("requests", "limits")):
        return "BestEffort"
    for found in resources:
        limits = _amounts(found, "limits")
        requests = limits | _amounts(found, "requests")
        if set(limits) != set(_COUNTED) or requests != limits:
            return "Burstable"
    return "Guaranteed"


def _amounts(resources: Mapping[str, Any], side: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in (resources.get(side) or {}).items():
        try:
            amount = parse_quantity(text)
        except ValueError:
            continue
        if name in _COUNTED and amount > 0:
            found[name] = amount
    return found
