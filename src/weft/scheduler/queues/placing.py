"""Whether the nodes, as they are, have places for all of a workload at once. Pure.

The scheduler's own cycle is tried on what does not exist yet, so that a gang that is admitted is
placed whole.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.scheduler.cluster import Cluster
from weft.scheduler.queues.model import Workload
from weft.scheduler.queues.workloads import FINISHED_PHASES, Item

TRIED_PODS_MAX = 2000
"""Of one workload; of larger ones, the first so many are tried."""


class Trial:
    """Places workloads, one after the other, on a copy of the cluster."""

    def __init__(self, snapshot: Snapshot, items: Iterable[Item]) -> None:
        self._snapshot = snapshot
        self._pods = snapshot.list(Pod)
        self._items = {item.workload.key: item for item in items}
        self._kept: list[Pod] = self._expected()
        self._cluster: Cluster | None = None

    def place(self, workload: Workload) -> str:
        """Keep places for all of it; otherwise why there are none."""
        wanted = pods_of(self._items[workload.key])
        cluster = self._cluster or self._made()
        for pod in wanted:
            ranking = cluster.ranking(pod, {})
            node = ranking.take()
            if not node:
                self._cluster = None  # what was taken for it is free again
                return ranking.complaint()
            cluster.placed(pod, node)
        self._cluster = cluster
        self._kept += wanted
        return ""

    def _made(self) -> Cluster:
        waiting = [p for item in self._items.values() for p in pods_of(item)[:1]]
        cluster = Cluster(self._snapshot, self._pods, waiting)
        for pod in self._kept:
            node = cluster.ranking(pod, {}).take()
            if node:
                cluster.placed(pod, node)
        return cluster

    def _expected(self) -> list[Pod]:
        """Pods of admitted workloads that are on no node yet, or not even made."""
        bound: dict[str, int] = {}
        for pod in self._pods:
            if pod.spec.node_name and pod.status.phase not in FINISHED_PHASES:
                owner = next((o.uid for o in pod.metadata.owner_references if o.controller), "")
                bound[owner] = bound.get(owner, 0) + 1
        found: list[Pod] = []
        for item in self._items.values():
            if item.workload.started is None:
                continue
            if item.job is not None:
                there = bound.get(item.job.metadata.uid, 0)
                found += pods_of(item)[there:]
            else:
                found += [_free(p) for p in item.pods if not p.spec.node_name]
        return found


def pods_of(item: Item) -> Sequence[Pod]:
    """The pods of a workload as they will be, without what they wait for."""
    if item.job is None:
        return [_free(p) for p in item.pods if not p.spec.node_name]
    pod = _from_template(item.job)
    return [pod] * min(item.count, TRIED_PODS_MAX) if pod is not None else []


def _free(pod: Pod) -> Pod:
    return replace(pod, spec=replace(pod.spec, scheduling_gates=()))


def _from_template(job: Job) -> Pod | None:
    template = job.spec.template
    if template.spec is None:
        return None
    labels: Mapping[str, str] = template.metadata.labels if template.metadata else {}
    meta = ObjectMeta(namespace=job.metadata.namespace, name=job.metadata.name, labels=labels)
    return Pod(metadata=meta, spec=template.spec)
