"""What of a node is not for pods: kubelet's --system-reserved, --kube-reserved and
--enforce-node-allocatable. Pure."""

import math
from collections.abc import Mapping

from msgspec import Struct

from weft.lib.quantity import parse_quantity

RESOURCES = ("cpu", "memory", "ephemeral-storage", "pid")
ENFORCED = ("pods", "none")


class PodLimits(Struct, frozen=True):
    """For all pods of a node together; None is no limit."""

    memory_bytes: int | None = None
    pids: int | None = None


def parse(text: str) -> dict[str, float]:
    """`cpu=500m,memory=1Gi,ephemeral-storage=1Gi,pid=1000`. ValueError."""
    found: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, amount = part.partition("=")
        if name not in RESOURCES:
            raise ValueError(
                f"`{part}`: write it like memory=1Gi; there are {', '.join(RESOURCES)}"
            )
        if name in found:
            raise ValueError(f"{name} stands twice")
        try:
            value = float(parse_quantity(amount))
        except ValueError:
            raise ValueError(f"`{part}`: `{amount}` is no quantity") from None
        if not 0 <= value < math.inf:
            raise ValueError(f"`{part}`: `{amount}` is out of range")
        found[name] = value
    return found


def together(system: str, kube: str) -> dict[str, float]:
    """ValueError."""
    one, other = parse(system), parse(kube)
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {*one, *other}}


def pod_limits(reserved: Mapping[str, float], memory_bytes: int, pids_max: int) -> PodLimits:
    """Of the group that all pods are in. Without anything reserved of a resource there is none:
    pods may have all of it. ValueError: nothing would be left."""

    def left(name: str, capacity: int) -> int | None:
        if not reserved.get(name):
            return None
        if reserved[name] >= capacity:
            raise ValueError(f"{reserved[name]:.0f} of {name} is reserved, the node has {capacity}")
        return int(capacity - reserved[name])

    return PodLimits(left("memory", memory_bytes), left("pid", pids_max))


def allocatable(capacity: float, reserved: float, threshold: float) -> float:
    """What pods may request: less what is reserved and what must be left (hard thresholds)."""
    return max(0.0, capacity - reserved - threshold)
