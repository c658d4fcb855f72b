"""Taints of nodes and what tolerates them. Source: k8s.io/api core/v1 Toleration.ToleratesTaint."""

from weft.api.k8s.core_v1 import Taint
from weft.api.k8s.pod_v1 import Toleration

TAINT_NOT_READY = "node.kubernetes.io/not-ready"
TAINT_UNREACHABLE = "node.kubernetes.io/unreachable"
TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


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
