"""The pods of a Job: which count as what, when a failed one is replaced, and what a new one is.

A pod carries a finalizer until it is counted, so a pod that vanishes is never lost from the
counts. Source of the rules: Kubernetes' job controller.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.container_v1 import Container, EnvVar, EnvVarSource
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.volume_v1 import ObjectFieldSelector
from weft.api.wellknown import LABEL_JOB_NAME
from weft.controllers.support import ownership, podstate
from weft.controllers.support.podstate import seconds

FINALIZER = "batch.kubernetes.io/job-tracking"
LABEL_CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
LABELS_OLD = {"job-name": LABEL_JOB_NAME, "controller-uid": LABEL_CONTROLLER_UID}
"""Names from before the prefix existed; tools still select by them."""
INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of a pod of an Indexed Job; also its source of JOB_COMPLETION_INDEX."""
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 600.0
INDEX_MAX = 1_000_000
"""Higher completion indexes are not read from a status that someone edited."""


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
    doublings = min(len(failures) - 1, 10)
    delay = min(BACKOFF_FIRST_SECONDS * (1 << doublings), BACKOFF_MAX_SECONDS)
    return max(0.0, max(failures) + delay - now)


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


# --- indexes


def is_indexed(job: Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def index(pod: Pod) -> int:
    """The pod's completion index; -1 when it has none."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else -1


def parse_indexes(text: str) -> frozenset[int]:
    """`0-2,5` as numbers; parts that are none are left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), min(int(last or first), INDEX_MAX) + 1))
    return frozenset(found)


def format_indexes(indexes: Iterable[int]) -> str:
    """Numbers as `0-2,5`: runs of three or more become a range, as Kubernetes writes them."""
    runs: list[list[int]] = []
    for number in sorted(indexes):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs
    )


def missing_indexes(job: Job, done: frozenset[int], active: Sequence[Pod]) -> list[int]:
    """Indexes that are neither completed nor worked on, lowest first."""
    taken = done | {index(p) for p in active}
    return [i for i in range(job.spec.completions or 0) if i not in taken]


# --- new pods


def made(job: Job, number: int | None = None) -> Pod:
    """A pod of the Job, for the completion index `number` of an Indexed one."""
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
    annotations = dict(pod.metadata.annotations)
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
