"""Kubernetes apps/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


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
