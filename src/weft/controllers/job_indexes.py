"""Completion indexes of Indexed Jobs: their text, and the limit of failures that each has.

With `backoffLimitPerIndex` a pod carries how often its index failed before it. The last failed pod
of an index keeps its finalizer until its replacement carries the number on.
Source of the rules: Kubernetes' job controller (indexed_job_utils.go).
"""

from collections.abc import Iterable, Mapping, Sequence

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.pod_v1 import Pod

INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of a pod of an Indexed Job; also its source of JOB_COMPLETION_INDEX."""
FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""Annotation: failures of the index before this pod, as far as they count."""
FAILURES_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
INDEX_MAX = 1_000_000
"""Higher completion indexes are not read from a status that someone edited."""


def is_indexed(job: Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def has_limits(job: Job) -> bool:
    """Whether each index has a back-off limit of its own."""
    return is_indexed(job) and job.spec.backoff_limit_per_index is not None


def index(pod: Pod) -> int:
    """The pod's completion index; -1 when it has none."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else -1


def parse(text: str) -> frozenset[int]:
    """`0-2,5` as numbers; parts that are none are left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), min(int(last or first), INDEX_MAX) + 1))
    return frozenset(found)


def text(indexes: Iterable[int]) -> str:
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


def missing(job: Job, over: frozenset[int], active: Sequence[Pod]) -> list[int]:
    """Indexes that are neither over nor worked on, lowest first."""
    taken = over | {index(p) for p in active}
    return [i for i in range(job.spec.completions or 0) if i not in taken]


def failures(pod: Pod) -> int:
    """How often its index failed before, as far as it counts."""
    return _number(pod, FAILURES)


def failures_in_all(pod: Pod) -> int:
    return _number(pod, FAILURES) + _number(pod, FAILURES_IGNORED)


def last_failed(failed: Iterable[Pod]) -> Mapping[int, Pod]:
    """Of each index, the failed pod that knows of the most failures."""
    found: dict[int, Pod] = {}
    for pod in failed:
        other = found.get(index(pod))
        if other is None or failures_in_all(other) <= failures_in_all(pod):
            found[index(pod)] = pod
    return found


def counts_after(pod: Pod | None, *, counted: bool) -> Mapping[str, str]:
    """The annotations of the pod that replaces `pod` (None: the first of its index)."""
    if pod is None:
        return {FAILURES: "0"}
    counts = {FAILURES: str(failures(pod) + counted)}
    ignored = _number(pod, FAILURES_IGNORED) + (not counted)
    return counts | ({FAILURES_IGNORED: str(ignored)} if ignored else {})


def _number(pod: Pod, annotation: str) -> int:
    value = pod.metadata.annotations.get(annotation, "")
    return int(value) if value.isdecimal() else 0
