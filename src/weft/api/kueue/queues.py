"""ResourceFlavor, ClusterQueue, Cohort, LocalQueue, WorkloadPriorityClass."""

from collections.abc import Mapping
from typing import Annotated, Literal

from weft.api.istio.common import Message
from weft.api.k8s.core_v1 import Taint
from weft.api.k8s.meta_v1 import Condition, LabelSelector, ObjectMeta
from weft.api.k8s.pod_v1 import Toleration
from weft.api.kueue.common import FairSharing, FlavorUsage, Quantity, ResourceGroup, StopPolicy, by


class ResourceFlavorSpec(Message, frozen=True):
    """Which nodes a flavor stands for."""

    node_labels: Mapping[str, str] = {}
    """Labels of its nodes; pods that are given the flavor are placed on such nodes."""
    node_taints: tuple[Taint, ...] = ()
    """Taints of its nodes; who does not tolerate them is not given the flavor."""
    tolerations: tuple[Toleration, ...] = ()
    """Tolerations that pods with the flavor are given."""
    topology_name: str = ""
    """A Topology. weft refuses it: it does not place by topology."""
    resource_weights: Mapping[str, Quantity] = {}
    """Weights for fair sharing: no effect."""


class ResourceFlavor(Message, frozen=True):
    """A kind of nodes that quotas are given of."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ResourceFlavor."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, labels."""
    spec: ResourceFlavorSpec = ResourceFlavorSpec()
    """Its nodes."""


class FlavorFungibility(Message, frozen=True):
    """Whether the next flavor is tried before borrowing or preempting in this one."""

    when_can_borrow: Literal["", "MayStopSearch", "TryNextFlavor"] = ""
    """MayStopSearch (default): borrow. TryNextFlavor: look for one without borrowing first."""
    when_can_preempt: Literal["", "MayStopSearch", "TryNextFlavor"] = ""
    """TryNextFlavor (default): look for one without preemption first. MayStopSearch: preempt."""
    preference: Literal["", "BorrowingOverPreemption", "PreemptionOverBorrowing"] = ""
    """What is better when every flavor asks for one of the two; BorrowingOverPreemption when
    absent."""


class BorrowWithinCohort(Message, frozen=True):
    """Preemption in other queues for what borrows itself."""

    policy: Literal["", "Never", "LowerPriority"] = ""
    """Never (default), LowerPriority."""
    max_priority_threshold: int | None = None
    """Only what has at most this priority is preempted; no limit when absent."""


class ClusterQueuePreemption(Message, frozen=True):
    """What may be ended so that another one may run."""

    reclaim_within_cohort: Literal["", "Never", "LowerPriority", "Any"] = ""
    """Of other queues that borrow: Never (default), LowerPriority, Any."""
    borrow_within_cohort: BorrowWithinCohort | None = None
    """The same for what borrows itself."""
    within_cluster_queue: Literal["", "Never", "LowerPriority", "LowerOrNewerEqualPriority"] = ""
    """Of the same queue: Never (default), LowerPriority, LowerOrNewerEqualPriority."""


class AdmissionCheckStrategyRule(Message, frozen=True):
    """An AdmissionCheck, and the flavors that it is for."""

    name: str = ""
    """The AdmissionCheck."""
    on_flavors: tuple[str, ...] = ()
    """The flavors; all when absent."""


class AdmissionChecksStrategy(Message, frozen=True):
    """AdmissionChecks. weft refuses them: it has none."""

    admission_checks: Annotated[tuple[AdmissionCheckStrategyRule, ...], by("name")] = ()
    """The checks."""


class AdmissionScope(Message, frozen=True):
    """Fair sharing by past usage, which is off unless Kueue's configuration turns it on: no
    effect."""

    admission_mode: str = ""
    """UsageBasedAdmissionFairSharing, NoAdmissionFairSharing."""


class ClusterQueueSpec(Message, frozen=True):
    """Who may use how much, and who is next."""

    resource_groups: tuple[ResourceGroup, ...] = ()
    """Resources, flavors and quotas."""
    cohort_name: str = ""
    """The cohort: its queues lend each other what they do not use."""
    queueing_strategy: Literal["", "StrictFIFO", "BestEffortFIFO"] = ""
    """BestEffortFIFO (default): who finds no room lets others pass. StrictFIFO: nobody passes."""
    namespace_selector: LabelSelector | None = None
    """Namespaces that may use it, by their labels: none when absent, all when {}."""
    flavor_fungibility: FlavorFungibility | None = None
    """When the next flavor is tried."""
    preemption: ClusterQueuePreemption | None = None
    """What may be preempted."""
    admission_checks_strategy: AdmissionChecksStrategy | None = None
    """AdmissionChecks. weft refuses them."""
    stop_policy: StopPolicy = ""
    """None (default); Hold: nothing is admitted; HoldAndDrain: what runs is stopped, too."""
    fair_sharing: FairSharing | None = None
    """No effect."""
    admission_scope: AdmissionScope | None = None
    """No effect."""


class ClusterQueueStatus(Message, frozen=True):
    """What is in the queue."""

    conditions: Annotated[tuple[Condition, ...], by("type")] = ()
    """Active: it admits Workloads."""
    flavors_reservation: Annotated[tuple[FlavorUsage, ...], by("name")] = ()
    """What its Workloads have reserved."""
    flavors_usage: Annotated[tuple[FlavorUsage, ...], by("name")] = ()
    """What its admitted Workloads use."""
    pending_workloads: int | None = None
    """Workloads that wait."""
    reserving_workloads: int | None = None
    """Workloads that have reserved quota."""
    admitted_workloads: int | None = None
    """Workloads that are admitted and have not ended."""


class ClusterQueue(Message, frozen=True):
    """A quota of resources for the Workloads of many namespaces."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ClusterQueue."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, labels."""
    spec: ClusterQueueSpec = ClusterQueueSpec()
    """What is wanted."""
    status: ClusterQueueStatus = ClusterQueueStatus()
    """What is in it."""


class CohortSpec(Message, frozen=True):
    """What a cohort has beside what its queues have."""

    parent_name: str = ""
    """The cohort that it is part of."""
    resource_groups: tuple[ResourceGroup, ...] = ()
    """Quotas of its own, for whichever of its queues needs them."""
    fair_sharing: FairSharing | None = None
    """No effect."""


class CohortStatus(Message, frozen=True):
    """Nothing: what a cohort's status holds is of fair sharing."""

    fair_sharing: FairSharing | None = None
    """Not written."""


class Cohort(Message, frozen=True):
    """Queues that lend to one another, and what they share beside."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Cohort."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, labels."""
    spec: CohortSpec = CohortSpec()
    """What is wanted."""
    status: CohortStatus = CohortStatus()
    """Its state."""


class LocalQueueSpec(Message, frozen=True):
    """Where what is sent here waits."""

    cluster_queue: str = ""
    """The ClusterQueue."""
    stop_policy: StopPolicy = ""
    """None (default); Hold: nothing is admitted; HoldAndDrain: what runs is stopped, too."""
    fair_sharing: FairSharing | None = None
    """No effect."""


class LocalQueueStatus(Message, frozen=True):
    """What of a ClusterQueue came through this LocalQueue."""

    conditions: Annotated[tuple[Condition, ...], by("type")] = ()
    """Active: its ClusterQueue admits Workloads."""
    pending_workloads: int | None = None
    """Workloads that wait."""
    reserving_workloads: int | None = None
    """Workloads that have reserved quota."""
    admitted_workloads: int | None = None
    """Workloads that are admitted and have not ended."""
    flavors_reservation: Annotated[tuple[FlavorUsage, ...], by("name")] = ()
    """What its Workloads have reserved."""
    flavors_usage: Annotated[tuple[FlavorUsage, ...], by("name")] = ()
    """What its admitted Workloads use."""


class LocalQueue(Message, frozen=True):
    """A namespace's way into a ClusterQueue: Jobs and pods name it in the label
    `kueue.x-k8s.io/queue-name`."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """LocalQueue."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: LocalQueueSpec = LocalQueueSpec()
    """What is wanted."""
    status: LocalQueueStatus = LocalQueueStatus()
    """What is in it."""


class WorkloadPriorityClass(Message, frozen=True):
    """A priority in queues, apart from the priority of pods: Jobs name it in the label
    `kueue.x-k8s.io/priority-class`."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """WorkloadPriorityClass."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, labels."""
    value: int = 0
    """The priority; more comes first."""
    description: str = ""
    """When it is to be used."""
