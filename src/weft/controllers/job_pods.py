"""The pods of a Job: which count as what, when a failed one is replaced, and what a new one is.

A pod carries a finalizer until it is counted, so a pod that vanishes is never lost from the
counts. Source of the rules: Kubernetes' job controller.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.container_v1 import Container, EnvVar, EnvVarSource
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.volume_v1 import ObjectFieldSelector
from weft.api.wellknown import LABEL_JOB_NAME
from weft.controllers.job_indexes import INDEX
from weft.controllers.support import ownership, podstate
from weft.controllers.support.podstate import seconds

FINALIZER = "batch.kubernetes.io/job-tracking"
LABEL_CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
LABELS_OLD = {"job-name": LABEL_JOB_NAME, "controller-uid": LABEL_CONTROLLER_UID}
"""Names from before the prefix existed; tools still select by them."""
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 600.0


class Pods(Struct, frozen=True):
    """A Job's pods, told apart."""

    active: tuple[Pod, ...]
    """Running or about to, and wanted."""
    terminating: tuple[Pod, ...]
    """Being deleted, not ended yet."""
    succeeded: tuple[Pod, ...]
    failed: tuple[Pod, ...]
    """Ended badly; also those deleted before they ended, unless the Job was suspended."""


def sort(job: Job, pods: Iterable[Pod]) -> Pods:
    """Tell pods apart. Pods that stop because the Job is suspended count as nothing."""
    active, terminating, succeeded, failed = [], [], [], []
    for pod in pods:
        dying = podstate.is_terminating(pod)
        if pod.status.phase == "Succeeded":
            succeeded.append(pod)
        elif dying and job.spec.suspend:
            if not podstate.is_finished(pod):
                terminating.append(pod)
        elif pod.status.phase == "Failed":
            failed.append(pod)
        elif dying:
            terminating.append(pod)
            if not _waits_for_end(job):
                failed.append(pod)
        else:
            active.append(pod)
    return Pods(tuple(active), tuple(terminating), tuple(succeeded), tuple(failed))


def _waits_for_end(job: Job) -> bool:
    """Whether a pod being deleted is replaced, and counted, only once it has ended."""
    return job.spec.pod_replacement_policy == "Failed"


def replaced_late(job: Job, pods: Pods) -> int:
    """Pods on their way out that still take the place of their replacement."""
    return len(pods.terminating) if _waits_for_end(job) else 0


def is_held(pod: Pod) -> bool:
    """Whether the pod waits to be counted."""
    return FINALIZER in pod.metadata.finalizers


def without_finalizer(pod: Pod) -> Pod:
    rest = tuple(f for f in pod.metadata.finalizers if f != FINALIZER)
    return replace(pod, metadata=replace(pod.metadata, finalizers=rest))


def selector(job: Job) -> LabelSelector:
    """The Job's selector; its uid label where none was written."""
    return job.spec.selector or LabelSelector(match_labels={LABEL_CONTROLLER_UID: job.metadata.uid})


def backoff(pods: Pods, now: float) -> float:
    """Seconds until a failed pod may be replaced: 10 s after the first failure since the last
    success, doubled by each further one, 10 minutes at most; 0.0 when nothing waits."""
    success = max((finished_at(p) for p in pods.succeeded), default=0.0)
    failures = [at for p in pods.failed if (at := finished_at(p)) > success]
    if not failures:
        return 0.0
    return backoff_after(len(failures), max(failures), now)


def backoff_after(failed: int, at: float, now: float) -> float:
    """Seconds to wait after that many failures, the last of them `at`."""
    doublings = min(failed - 1, 10)
    delay = min(BACKOFF_FIRST_SECONDS * (1 << doublings), BACKOFF_MAX_SECONDS)
    return max(0.0, at + delay - now)


def finished_at(pod: Pod) -> float:
    """When its last container ended; else when it was seen to be unready or deleted."""
    ends = [
        seconds(s.state.terminated.finished_at)
        for s in pod.status.container_statuses
        if s.state and s.state.terminated
    ]
    return (
        max(ends, default=0.0)
        or podstate.ready_since(pod)
        or seconds(pod.metadata.deletion_timestamp)
        or seconds(pod.metadata.creation_timestamp)
    )


# --- new pods


def made(job: Job, number: int | None = None, counts: Mapping[str, str] | None = None) -> Pod:
    """A pod of the Job, for the completion index `number` of an Indexed one; `counts` are
    annotations that carry on how often the index failed."""
    middle = "" if number is None else f"{number}-"
    pod = podstate.from_template(
        job.spec.template,
        job.metadata.namespace,
        f"{job.metadata.name}-{middle}",
        ownership.owner_reference(job),
    )
    prefixed = {LABEL_JOB_NAME: job.metadata.name, LABEL_CONTROLLER_UID: job.metadata.uid}
    labels = dict(pod.metadata.labels) | prefixed
    labels |= {old: prefixed[new] for old, new in LABELS_OLD.items()}
    annotations = dict(pod.metadata.annotations) | dict(counts or {})
    spec = pod.spec
    if number is not None:
        labels[INDEX] = annotations[INDEX] = str(number)
        spec = replace(
            spec,
            hostname=spec.hostname or f"{job.metadata.name}-{number}",
            containers=tuple(_told_index(c) for c in spec.containers),
            init_containers=tuple(_told_index(c) for c in spec.init_containers),
        )
    metadata = replace(
        pod.metadata,
        labels=labels,
        annotations=annotations,
        finalizers=(*pod.metadata.finalizers, FINALIZER),
    )
    return replace(pod, metadata=metadata, spec=spec)


def _told_index(container: Container) -> Container:
    if any(e.name == "JOB_COMPLETION_INDEX" for e in container.env):
        return container
    field = ObjectFieldSelector(field_path=f"metadata.annotations['{INDEX}']")
    variable = EnvVar(name="JOB_COMPLETION_INDEX", value_from=EnvVarSource(field_ref=field))
    return replace(container, env=(*container.env, variable))
