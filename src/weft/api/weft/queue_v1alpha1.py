"""queue.weft.dev/v1alpha1: queues of Jobs and pods."""

from collections.abc import Mapping
from typing import Literal

from weft.api.istio.common import Message
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.weft.policy_v1alpha1 import Positive


class QueueSpec(Message, frozen=True):
    """Who is next, and how much may run at a time."""

    policy: Literal["", "FirstComeFirstServed", "ShortestJobFirst", "Priority", "FairShare"] = ""
    """FirstComeFirstServed (when absent); ShortestJobFirst, by `weft.dev/duration`, else by how
    long Jobs of that name ran before, else by activeDeadlineSeconds; Priority, by priority class;
    FairShare, whose namespace uses least."""
    quota: Mapping[str, str | int | float] = {}
    """The most that what is admitted may request together: cpu, memory, pods, extended resources.
    What is not named is limited by the nodes alone."""
    cohort: str = ""
    """Queues of one cohort lend each other what they do not use of their quotas."""
    borrowing_limit: Mapping[str, str | int | float] = {}
    """The most that is borrowed of the cohort; what is not named has no such limit."""
    weight: Positive | None = None
    """The queue's share in comparison to others; 1 when absent."""
    backfill: bool | None = None
    """Let what delays nobody pass the one that is next; true when absent."""
    preemption: bool | None = None
    """The one that is next may end what has a lower priority in the queue, and take back what
    others borrowed of its quota. False when absent."""
    suspend: bool | None = None
    """Admit nothing."""


class QueueStatus(Message, frozen=True):
    """What is in the queue."""

    admitted: int | None = None
    """Jobs, groups and pods that run."""
    pending: int | None = None
    """Those that wait."""
    used: Mapping[str, str] = {}
    """What those that run request."""
    next: str = ""
    """Who waits for room: namespace/name."""


class Queue(Message, frozen=True):
    """Gates Jobs and pods with the label `weft.dev/queue` (or `kueue.x-k8s.io/queue-name`)."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Queue."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, labels."""
    spec: QueueSpec = QueueSpec()
    """What is wanted."""
    status: QueueStatus = QueueStatus()
    """What is in it."""
