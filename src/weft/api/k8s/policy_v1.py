"""Kubernetes policy/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import Condition, LabelSelector, ObjectMeta


class PodDisruptionBudgetSpec(Struct, frozen=True, omit_defaults=True):
    """PodDisruptionBudgetSpec is a description of a PodDisruptionBudget."""

    max_unavailable: int | str | None = field(default=None, name="maxUnavailable")
    min_available: int | str | None = field(default=None, name="minAvailable")
    selector: LabelSelector | None = field(default=None, name="selector")
    unhealthy_pod_eviction_policy: str = field(default="", name="unhealthyPodEvictionPolicy")


class PodDisruptionBudgetStatus(Struct, frozen=True, omit_defaults=True):
    """PodDisruptionBudgetStatus represents information about the status of a ...."""

    conditions: tuple[Condition, ...] = field(default=(), name="conditions")
    current_healthy: int | None = field(default=None, name="currentHealthy")
    desired_healthy: int | None = field(default=None, name="desiredHealthy")
    disrupted_pods: Mapping[str, str] = field(default_factory=dict, name="disruptedPods")
    disruptions_allowed: int | None = field(default=None, name="disruptionsAllowed")
    expected_pods: int | None = field(default=None, name="expectedPods")
    observed_generation: int | None = field(default=None, name="observedGeneration")


class PodDisruptionBudget(Struct, frozen=True, omit_defaults=True):
    """PodDisruptionBudget is an object to define the max disruption that can be caused ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: PodDisruptionBudgetSpec = field(default=PodDisruptionBudgetSpec(), name="spec")
    status: PodDisruptionBudgetStatus = field(default=PodDisruptionBudgetStatus(), name="status")
