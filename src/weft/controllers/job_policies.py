"""What a Job's pod failure policy, success policy and back-off per index say.

Source of the rules and words: Kubernetes' job controller (pod_failure_policy.go,
success_policy.go, backoff_utils.go).
"""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.k8s.batch_v1 import (
    Job,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from weft.api.k8s.pod_v1 import ContainerStatus, Pod
from weft.controllers import job_indexes

COUNT = "Count"
IGNORE = "Ignore"
FAIL_INDEX = "FailIndex"
FAIL_JOB = "FailJob"


class Ruling(Struct, frozen=True):
    """What the failure of a pod means."""

    action: str = COUNT
    message: str = ""
    """Why the Job fails, when it does."""

    @property
    def counts(self) -> bool:
        """Whether the failure counts towards the back-off limit."""
        return self.action != IGNORE


def ruling(job: Job, pod: Pod) -> Ruling:
    """The first rule of the pod failure policy that the pod meets; without one it counts."""
    policy = job.spec.pod_failure_policy
    for number, rule in enumerate(policy.rules if policy else ()):
        if cause := _cause(rule, pod):
            return Ruling(rule.action, f"{cause} matching {rule.action} rule at index {number}")
    return Ruling()


def fails_job(job: Job, failed: Iterable[Pod]) -> str:
    """Why the Job fails at once; "" when no rule says so."""
    if job.spec.pod_failure_policy is None:
        return ""
    rulings = (ruling(job, pod) for pod in failed)
    return next((r.message for r in rulings if r.action == FAIL_JOB), "")


def _cause(rule: PodFailurePolicyRule, pod: Pod) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        found = _ended_so(rule.on_exit_codes, pod)
        if found is None or found.state is None or found.state.terminated is None:
            return ""
        code = found.state.terminated.exit_code or 0
        return f"Container {found.name} for pod {name} failed with exit code {code}"
    there = {(c.type, c.status) for c in pod.status.conditions}
    for pattern in rule.on_pod_conditions:
        if (pattern.type, pattern.status or "True") in there:
            return f"Pod {name} has condition {pattern.type}"
    return ""


def _ended_so(wanted: PodFailurePolicyOnExitCodesRequirement, pod: Pod) -> ContainerStatus | None:
    """The first container that ended badly with one of the codes (or, NotIn, with another)."""
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if wanted.container_name not in ("", status.name):
            continue
        ended = status.state.terminated if status.state else None
        code = ended.exit_code if ended else 0
        if code and (code in wanted.values) == (wanted.operator == "In"):
            return status
    return None


def succeeds(job: Job, done: frozenset[int]) -> str:
    """Which rule of the success policy the completed indexes meet, in words; "" when none."""
    policy = job.spec.success_policy
    for number, rule in enumerate(policy.rules if policy else ()):
        named = job_indexes.parse(rule.succeeded_indexes) if rule.succeeded_indexes else None
        fitting = done if named is None else done & named
        needed = rule.succeeded_count
        if needed is None:
            needed = len(named) if named is not None else None
        if needed is not None and len(fitting) >= needed:
            return f"Matched rules at index {number}"
    return ""
