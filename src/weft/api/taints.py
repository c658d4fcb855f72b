"""Taints of nodes and what tolerates them. Source: k8s.io/api core/v1 Toleration.ToleratesTaint."""

from weft.api.k8s.core_v1 import Taint
from weft.api.k8s.pod_v1 import Toleration

TAINT_NOT_READY = "node.kubernetes.io/not-ready"
TAINT_UNREACHABLE = "node.kubernetes.io/unreachable"
TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

TAINT_MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
PRESSURES = {
    "MemoryPressure": TAINT_MEMORY_PRESSURE,
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
"""Conditions of nodes, and the taints (NoSchedule) that they bring."""


def covers(toleration: Toleration, taint: Taint) -> bool:
    """Whether it tolerates the taint. An empty key with Exists means every key, an empty effect
    every effect."""
    return (
        toleration.effect in ("", taint.effect)
        and toleration.key in ("", taint.key)
        and (
            toleration.operator == "Exists"
            or (bool(toleration.key) and toleration.value == taint.value)
        )
    )
