"""Kubernetes apps/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from typing import Any

from msgspec import Struct, field

from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim


class ControllerRevision(Struct, frozen=True, omit_defaults=True):
    """ControllerRevision implements an immutable snapshot of state data."""

    api_version: str = field(default="", name="apiVersion")
    data: Any = field(default=None, name="data")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    revision: int | None = field(default=None, name="revision")


class RollingUpdateDaemonSet(Struct, frozen=True, omit_defaults=True):
    """Spec to control the desired behavior of daemon set rolling update."""

    max_surge: int | str | None = field(default=None, name="maxSurge")
    max_unavailable: int | str | None = field(default=None, name="maxUnavailable")


class DaemonSetUpdateStrategy(Struct, frozen=True, omit_defaults=True):
    """DaemonSetUpdateStrategy is a struct used to control the update strategy for a ...."""

    rolling_update: RollingUpdateDaemonSet | None = field(default=None, name="rollingUpdate")
    type: str = field(default="", name="type")


class DaemonSetSpec(Struct, frozen=True, omit_defaults=True):
    """DaemonSetSpec is the specification of a daemon set."""

    min_ready_seconds: int | None = field(default=None, name="minReadySeconds")
    revision_history_limit: int | None = field(default=None, name="revisionHistoryLimit")
    selector: LabelSelector | None = field(default=None, name="selector")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")
    update_strategy: DaemonSetUpdateStrategy | None = field(default=None, name="updateStrategy")


class DaemonSetCondition(Struct, frozen=True, omit_defaults=True):
    """DaemonSetCondition describes the state of a DaemonSet at a certain point."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class DaemonSetStatus(Struct, frozen=True, omit_defaults=True):
    """DaemonSetStatus represents the current status of a daemon set."""

    collision_count: int | None = field(default=None, name="collisionCount")
    conditions: tuple[DaemonSetCondition, ...] = field(default=(), name="conditions")
    current_number_scheduled: int | None = field(default=None, name="currentNumberScheduled")
    desired_number_scheduled: int | None = field(default=None, name="desiredNumberScheduled")
    number_available: int | None = field(default=None, name="numberAvailable")
    number_misscheduled: int | None = field(default=None, name="numberMisscheduled")
    number_ready: int | None = field(default=None, name="numberReady")
    number_unavailable: int | None = field(default=None, name="numberUnavailable")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    updated_number_scheduled: int | None = field(default=None, name="updatedNumberScheduled")


class DaemonSet(Struct, frozen=True, omit_defaults=True):
    """DaemonSet represents the configuration of a daemon set."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: DaemonSetSpec = field(default=DaemonSetSpec(), name="spec")
    status: DaemonSetStatus = field(default=DaemonSetStatus(), name="status")


class RollingUpdateDeployment(Struct, frozen=True, omit_defaults=True):
    """Spec to control the desired behavior of rolling update."""

    max_surge: int | str | None = field(default=None, name="maxSurge")
    max_unavailable: int | str | None = field(default=None, name="maxUnavailable")


class DeploymentStrategy(Struct, frozen=True, omit_defaults=True):
    """DeploymentStrategy describes how to replace existing pods with new ones."""

    rolling_update: RollingUpdateDeployment | None = field(default=None, name="rollingUpdate")
    type: str = field(default="", name="type")


class DeploymentSpec(Struct, frozen=True, omit_defaults=True):
    """DeploymentSpec is the specification of the desired behavior of the Deployment."""

    min_ready_seconds: int | None = field(default=None, name="minReadySeconds")
    paused: bool | None = field(default=None, name="paused")
    progress_deadline_seconds: int | None = field(default=None, name="progressDeadlineSeconds")
    replicas: int | None = field(default=None, name="replicas")
    revision_history_limit: int | None = field(default=None, name="revisionHistoryLimit")
    selector: LabelSelector | None = field(default=None, name="selector")
    strategy: DeploymentStrategy | None = field(default=None, name="strategy")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")


class DeploymentCondition(Struct, frozen=True, omit_defaults=True):
    """DeploymentCondition describes the state of a deployment at a certain point."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    last_update_time: str = field(default="", name="lastUpdateTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class DeploymentStatus(Struct, frozen=True, omit_defaults=True):
    """DeploymentStatus is the most recently observed status of the Deployment."""

    available_replicas: int | None = field(default=None, name="availableReplicas")
    collision_count: int | None = field(default=None, name="collisionCount")
    conditions: tuple[DeploymentCondition, ...] = field(default=(), name="conditions")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    ready_replicas: int | None = field(default=None, name="readyReplicas")
    replicas: int | None = field(default=None, name="replicas")
    terminating_replicas: int | None = field(default=None, name="terminatingReplicas")
    unavailable_replicas: int | None = field(default=None, name="unavailableReplicas")
    updated_replicas: int | None = field(default=None, name="updatedReplicas")


class Deployment(Struct, frozen=True, omit_defaults=True):
    """Deployment enables declarative updates for Pods and ReplicaSets."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: DeploymentSpec = field(default=DeploymentSpec(), name="spec")
    status: DeploymentStatus = field(default=DeploymentStatus(), name="status")


class ReplicaSetSpec(Struct, frozen=True, omit_defaults=True):
    """ReplicaSetSpec is the specification of a ReplicaSet."""

    min_ready_seconds: int | None = field(default=None, name="minReadySeconds")
    replicas: int | None = field(default=None, name="replicas")
    selector: LabelSelector | None = field(default=None, name="selector")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")


class ReplicaSetCondition(Struct, frozen=True, omit_defaults=True):
    """ReplicaSetCondition describes the state of a replica set at a certain point."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class ReplicaSetStatus(Struct, frozen=True, omit_defaults=True):
    """ReplicaSetStatus represents the current status of a ReplicaSet."""

    available_replicas: int | None = field(default=None, name="availableReplicas")
    conditions: tuple[ReplicaSetCondition, ...] = field(default=(), name="conditions")
    fully_labeled_replicas: int | None = field(default=None, name="fullyLabeledReplicas")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    ready_replicas: int | None = field(default=None, name="readyReplicas")
    replicas: int | None = field(default=None, name="replicas")
    terminating_replicas: int | None = field(default=None, name="terminatingReplicas")


class ReplicaSet(Struct, frozen=True, omit_defaults=True):
    """ReplicaSet ensures that a specified number of pod replicas are running at any ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: ReplicaSetSpec = field(default=ReplicaSetSpec(), name="spec")
    status: ReplicaSetStatus = field(default=ReplicaSetStatus(), name="status")


class RollingUpdateStatefulSetStrategy(Struct, frozen=True, omit_defaults=True):
    """RollingUpdateStatefulSetStrategy is used to communicate parameter for ...."""

    max_unavailable: int | str | None = field(default=None, name="maxUnavailable")
    partition: int | None = field(default=None, name="partition")


class StatefulSetOrdinals(Struct, frozen=True, omit_defaults=True):
    """StatefulSetOrdinals describes the policy used for replica ordinal assignment in ...."""

    start: int | None = field(default=None, name="start")


class StatefulSetPersistentVolumeClaimRetentionPolicy(Struct, frozen=True, omit_defaults=True):
    """StatefulSetPersistentVolumeClaimRetentionPolicy describes the policy used for ...."""

    when_deleted: str = field(default="", name="whenDeleted")
    when_scaled: str = field(default="", name="whenScaled")


class StatefulSetUpdateStrategy(Struct, frozen=True, omit_defaults=True):
    """StatefulSetUpdateStrategy indicates the strategy that the StatefulSet controller ...."""

    rolling_update: RollingUpdateStatefulSetStrategy | None = field(
        default=None, name="rollingUpdate"
    )
    type: str = field(default="", name="type")


class StatefulSetSpec(Struct, frozen=True, omit_defaults=True):
    """A StatefulSetSpec is the specification of a StatefulSet."""

    min_ready_seconds: int | None = field(default=None, name="minReadySeconds")
    ordinals: StatefulSetOrdinals | None = field(default=None, name="ordinals")
    persistent_volume_claim_retention_policy: (
        StatefulSetPersistentVolumeClaimRetentionPolicy | None
    ) = field(default=None, name="persistentVolumeClaimRetentionPolicy")
    pod_management_policy: str = field(default="", name="podManagementPolicy")
    replicas: int | None = field(default=None, name="replicas")
    revision_history_limit: int | None = field(default=None, name="revisionHistoryLimit")
    selector: LabelSelector | None = field(default=None, name="selector")
    service_name: str = field(default="", name="serviceName")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")
    update_strategy: StatefulSetUpdateStrategy | None = field(default=None, name="updateStrategy")
    volume_claim_templates: tuple[PersistentVolumeClaim, ...] = field(
        default=(), name="volumeClaimTemplates"
    )


class StatefulSetCondition(Struct, frozen=True, omit_defaults=True):
    """StatefulSetCondition describes the state of a statefulset at a certain point."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class StatefulSetStatus(Struct, frozen=True, omit_defaults=True):
    """StatefulSetStatus represents the current state of a StatefulSet."""

    available_replicas: int | None = field(default=None, name="availableReplicas")
    collision_count: int | None = field(default=None, name="collisionCount")
    conditions: tuple[StatefulSetCondition, ...] = field(default=(), name="conditions")
    current_replicas: int | None = field(default=None, name="currentReplicas")
    current_revision: str = field(default="", name="currentRevision")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    ready_replicas: int | None = field(default=None, name="readyReplicas")
    replicas: int | None = field(default=None, name="replicas")
    update_revision: str = field(default="", name="updateRevision")
    updated_replicas: int | None = field(default=None, name="updatedReplicas")


class StatefulSet(Struct, frozen=True, omit_defaults=True):
    """StatefulSet represents a set of pods with consistent identities."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: StatefulSetSpec = field(default=StatefulSetSpec(), name="spec")
    status: StatefulSetStatus = field(default=StatefulSetStatus(), name="status")
