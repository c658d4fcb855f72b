"""Kubernetes batch/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.core_v1 import ObjectReference, PodTemplateSpec
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class PodFailurePolicyOnExitCodesRequirement(Struct, frozen=True, omit_defaults=True):
    """PodFailurePolicyOnExitCodesRequirement describes the requirement for handling a ...."""

    container_name: str = field(default="", name="containerName")
    operator: str = field(default="", name="operator")
    values: tuple[int, ...] = field(default=(), name="values")


class PodFailurePolicyOnPodConditionsPattern(Struct, frozen=True, omit_defaults=True):
    """PodFailurePolicyOnPodConditionsPattern describes a pattern for matching an actual ...."""

    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class PodFailurePolicyRule(Struct, frozen=True, omit_defaults=True):
    """PodFailurePolicyRule describes how a pod failure is handled when the requirements ...."""

    action: str = field(default="", name="action")
    on_exit_codes: PodFailurePolicyOnExitCodesRequirement | None = field(
        default=None, name="onExitCodes"
    )
    on_pod_conditions: tuple[PodFailurePolicyOnPodConditionsPattern, ...] = field(
        default=(), name="onPodConditions"
    )


class PodFailurePolicy(Struct, frozen=True, omit_defaults=True):
    """PodFailurePolicy describes how failed pods influence the backoffLimit."""

    rules: tuple[PodFailurePolicyRule, ...] = field(default=(), name="rules")


class SuccessPolicyRule(Struct, frozen=True, omit_defaults=True):
    """SuccessPolicyRule describes rule for declaring a Job as succeeded."""

    succeeded_count: int | None = field(default=None, name="succeededCount")
    succeeded_indexes: str = field(default="", name="succeededIndexes")


class SuccessPolicy(Struct, frozen=True, omit_defaults=True):
    """SuccessPolicy describes when a Job can be declared as succeeded based on the ...."""

    rules: tuple[SuccessPolicyRule, ...] = field(default=(), name="rules")


class JobSpec(Struct, frozen=True, omit_defaults=True):
    """JobSpec describes how the job execution will look like."""

    active_deadline_seconds: int | None = field(default=None, name="activeDeadlineSeconds")
    backoff_limit: int | None = field(default=None, name="backoffLimit")
    backoff_limit_per_index: int | None = field(default=None, name="backoffLimitPerIndex")
    completion_mode: str = field(default="", name="completionMode")
    completions: int | None = field(default=None, name="completions")
    managed_by: str = field(default="", name="managedBy")
    manual_selector: bool | None = field(default=None, name="manualSelector")
    max_failed_indexes: int | None = field(default=None, name="maxFailedIndexes")
    parallelism: int | None = field(default=None, name="parallelism")
    pod_failure_policy: PodFailurePolicy | None = field(default=None, name="podFailurePolicy")
    pod_replacement_policy: str = field(default="", name="podReplacementPolicy")
    selector: LabelSelector | None = field(default=None, name="selector")
    success_policy: SuccessPolicy | None = field(default=None, name="successPolicy")
    suspend: bool | None = field(default=None, name="suspend")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")
    ttl_seconds_after_finished: int | None = field(default=None, name="ttlSecondsAfterFinished")


class JobTemplateSpec(Struct, frozen=True, omit_defaults=True):
    """JobTemplateSpec describes the data a Job should have when created from a template."""

    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: JobSpec = field(default=JobSpec(), name="spec")


class CronJobSpec(Struct, frozen=True, omit_defaults=True):
    """CronJobSpec describes how the job execution will look like and when it will ...."""

    concurrency_policy: str = field(default="", name="concurrencyPolicy")
    failed_jobs_history_limit: int | None = field(default=None, name="failedJobsHistoryLimit")
    job_template: JobTemplateSpec | None = field(default=None, name="jobTemplate")
    schedule: str = field(default="", name="schedule")
    starting_deadline_seconds: int | None = field(default=None, name="startingDeadlineSeconds")
    successful_jobs_history_limit: int | None = field(
        default=None, name="successfulJobsHistoryLimit"
    )
    suspend: bool | None = field(default=None, name="suspend")
    time_zone: str = field(default="", name="timeZone")


class CronJobStatus(Struct, frozen=True, omit_defaults=True):
    """CronJobStatus represents the current state of a cron job."""

    active: tuple[ObjectReference, ...] = field(default=(), name="active")
    last_schedule_time: str = field(default="", name="lastScheduleTime")
    last_successful_time: str = field(default="", name="lastSuccessfulTime")


class CronJob(Struct, frozen=True, omit_defaults=True):
    """CronJob represents the configuration of a single cron job."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: CronJobSpec = field(default=CronJobSpec(), name="spec")
    status: CronJobStatus = field(default=CronJobStatus(), name="status")


class JobCondition(Struct, frozen=True, omit_defaults=True):
    """JobCondition describes current state of a job."""

    last_probe_time: str = field(default="", name="lastProbeTime")
    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class UncountedTerminatedPods(Struct, frozen=True, omit_defaults=True):
    """UncountedTerminatedPods holds UIDs of Pods that have terminated but haven't been ...."""

    failed: tuple[str, ...] = field(default=(), name="failed")
    succeeded: tuple[str, ...] = field(default=(), name="succeeded")


class JobStatus(Struct, frozen=True, omit_defaults=True):
    """JobStatus represents the current state of a Job."""

    active: int | None = field(default=None, name="active")
    completed_indexes: str = field(default="", name="completedIndexes")
    completion_time: str = field(default="", name="completionTime")
    conditions: tuple[JobCondition, ...] = field(default=(), name="conditions")
    failed: int | None = field(default=None, name="failed")
    failed_indexes: str = field(default="", name="failedIndexes")
    ready: int | None = field(default=None, name="ready")
    start_time: str = field(default="", name="startTime")
    succeeded: int | None = field(default=None, name="succeeded")
    terminating: int | None = field(default=None, name="terminating")
    uncounted_terminated_pods: UncountedTerminatedPods | None = field(
        default=None, name="uncountedTerminatedPods"
    )


class Job(Struct, frozen=True, omit_defaults=True):
    """Job represents the configuration of a single job."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: JobSpec = field(default=JobSpec(), name="spec")
    status: JobStatus = field(default=JobStatus(), name="status")
