"""kueue.x-k8s.io/v1beta2, as weft reads it: every kind in one place."""

from weft.api.kueue.common import GROUP
from weft.api.kueue.queues import (
    ClusterQueue,
    Cohort,
    LocalQueue,
    ResourceFlavor,
    WorkloadPriorityClass,
)
from weft.api.kueue.workload import Workload

__all__ = [
    "GROUP", "ClusterQueue", "Cohort", "LocalQueue", "ResourceFlavor", "Workload",
    "WorkloadPriorityClass",
]  # fmt: skip
