"""Workload: what of a Job, a pod or a group of pods matters to queues, and what they decided."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from weft.api.istio.common import Message
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import Condition, ObjectMeta
from weft.api.kueue.common import Quantity, by

Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
Positive = Annotated[int, Meta(extra_json_schema={"minimum": 1})]


class PodSet(Message, frozen=True):
    """Pods that are alike."""

    name: str = ""
    """Its name: main for Jobs."""
    template: PodTemplateSpec = PodTemplateSpec()
    """The pods."""
    count: Count = 1
    """How many."""
    min_count: Positive | None = None
    """How few are enough; all when absent."""


class PriorityClassRef(Message, frozen=True):
    """Where the priority comes from."""

    group: Literal["", "kueue.x-k8s.io", "scheduling.k8s.io"] = ""
    """The group of the class."""
    kind: Literal["", "WorkloadPriorityClass", "PriorityClass"] = ""
    """WorkloadPriorityClass or PriorityClass."""
    name: str = ""
    """The class."""


class WorkloadSpec(Message, frozen=True):
    """What wants to run."""

    pod_sets: Annotated[tuple[PodSet, ...], by("name")] = ()
    """The pods."""
    queue_name: str = ""
    """The LocalQueue."""
    priority_class_ref: PriorityClassRef | None = None
    """The class of its priority."""
    priority: int | None = None
    """More comes first."""
    active: bool | None = None
    """False: it is stopped, and not admitted again. True when absent."""
    maximum_execution_time_seconds: Positive | None = None
    """How long it may be admitted before it is deactivated."""


class PodSetAssignment(Message, frozen=True):
    """What a set of pods was given."""

    name: str = ""
    """The set."""
    flavors: Mapping[str, str] = {}
    """The flavor of each resource."""
    resource_usage: Mapping[str, Quantity] = {}
    """What all its pods request."""
    count: Count | None = None
    """How many pods may run."""


class Admission(Message, frozen=True):
    """Where a Workload runs, and with what."""

    cluster_queue: str = ""
    """The ClusterQueue."""
    pod_set_assignments: Annotated[tuple[PodSetAssignment, ...], by("name")] = ()
    """Of each set."""


class ReclaimablePod(Message, frozen=True):
    """Pods whose quota is not needed any more."""

    name: str = ""
    """The set."""
    count: Count = 0
    """How many."""


class WorkloadStatus(Message, frozen=True):
    """What was decided."""

    conditions: Annotated[tuple[Condition, ...], by("type")] = ()
    """QuotaReserved, Admitted, Evicted, Preempted, Requeued, Finished."""
    admission: Admission | None = None
    """What it was given."""
    reclaimable_pods: Annotated[tuple[ReclaimablePod, ...], by("name")] = ()
    """Pods that have ended."""


class Workload(Message, frozen=True):
    """A Job, a pod or a group of pods as queues see it. weft makes one for each."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Workload."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: WorkloadSpec = WorkloadSpec()
    """What wants to run."""
    status: WorkloadStatus = WorkloadStatus()
    """What was decided."""
