"""Kubernetes autoscaling/v2 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class MetricTarget(Struct, frozen=True, omit_defaults=True):
    """MetricTarget defines the target value, average value, or average utilization of a ...."""

    average_utilization: int | None = field(default=None, name="averageUtilization")
    average_value: str | int | float | None = field(default=None, name="averageValue")
    type: str = field(default="", name="type")
    value: str | int | float | None = field(default=None, name="value")


class ContainerResourceMetricSource(Struct, frozen=True, omit_defaults=True):
    """ContainerResourceMetricSource indicates how to scale on a resource metric known ...."""

    container: str = field(default="", name="container")
    name: str = field(default="", name="name")
    target: MetricTarget | None = field(default=None, name="target")


class MetricValueStatus(Struct, frozen=True, omit_defaults=True):
    """MetricValueStatus holds the current value for a metric."""

    average_utilization: int | None = field(default=None, name="averageUtilization")
    average_value: str | int | float | None = field(default=None, name="averageValue")
    value: str | int | float | None = field(default=None, name="value")


class ContainerResourceMetricStatus(Struct, frozen=True, omit_defaults=True):
    """ContainerResourceMetricStatus indicates the current value of a resource metric ...."""

    container: str = field(default="", name="container")
    current: MetricValueStatus | None = field(default=None, name="current")
    name: str = field(default="", name="name")


class CrossVersionObjectReference(Struct, frozen=True, omit_defaults=True):
    """CrossVersionObjectReference contains enough information to let you identify the ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")


class MetricIdentifier(Struct, frozen=True, omit_defaults=True):
    """MetricIdentifier defines the name and optionally selector for a metric."""

    name: str = field(default="", name="name")
    selector: LabelSelector | None = field(default=None, name="selector")


class ExternalMetricSource(Struct, frozen=True, omit_defaults=True):
    """ExternalMetricSource indicates how to scale on a metric not associated with any ...."""

    metric: MetricIdentifier | None = field(default=None, name="metric")
    target: MetricTarget | None = field(default=None, name="target")


class ExternalMetricStatus(Struct, frozen=True, omit_defaults=True):
    """ExternalMetricStatus indicates the current value of a global metric not ...."""

    current: MetricValueStatus | None = field(default=None, name="current")
    metric: MetricIdentifier | None = field(default=None, name="metric")


class HPAScalingPolicy(Struct, frozen=True, omit_defaults=True):
    """HPAScalingPolicy is a single policy which must hold true for a specified past ...."""

    period_seconds: int | None = field(default=None, name="periodSeconds")
    type: str = field(default="", name="type")
    value: int | None = field(default=None, name="value")


class HPAScalingRules(Struct, frozen=True, omit_defaults=True):
    """HPAScalingRules configures the scaling behavior for one direction via scaling ...."""

    policies: tuple[HPAScalingPolicy, ...] = field(default=(), name="policies")
    select_policy: str = field(default="", name="selectPolicy")
    stabilization_window_seconds: int | None = field(
        default=None, name="stabilizationWindowSeconds"
    )
    tolerance: str | int | float | None = field(default=None, name="tolerance")


class HorizontalPodAutoscalerBehavior(Struct, frozen=True, omit_defaults=True):
    """HorizontalPodAutoscalerBehavior configures the scaling behavior of the target in ...."""

    scale_down: HPAScalingRules | None = field(default=None, name="scaleDown")
    scale_up: HPAScalingRules | None = field(default=None, name="scaleUp")


class ObjectMetricSource(Struct, frozen=True, omit_defaults=True):
    """ObjectMetricSource indicates how to scale on a metric describing a kubernetes ...."""

    described_object: CrossVersionObjectReference | None = field(
        default=None, name="describedObject"
    )
    metric: MetricIdentifier | None = field(default=None, name="metric")
    target: MetricTarget | None = field(default=None, name="target")


class PodsMetricSource(Struct, frozen=True, omit_defaults=True):
    """PodsMetricSource indicates how to scale on a metric describing each pod in the ...."""

    metric: MetricIdentifier | None = field(default=None, name="metric")
    target: MetricTarget | None = field(default=None, name="target")


class ResourceMetricSource(Struct, frozen=True, omit_defaults=True):
    """ResourceMetricSource indicates how to scale on a resource metric known to ...."""

    name: str = field(default="", name="name")
    target: MetricTarget | None = field(default=None, name="target")


class MetricSpec(Struct, frozen=True, omit_defaults=True):
    """MetricSpec specifies how to scale based on a single metric (only `type` and one ...."""

    container_resource: ContainerResourceMetricSource | None = field(
        default=None, name="containerResource"
    )
    external: ExternalMetricSource | None = field(default=None, name="external")
    object: ObjectMetricSource | None = field(default=None, name="object")
    pods: PodsMetricSource | None = field(default=None, name="pods")
    resource: ResourceMetricSource | None = field(default=None, name="resource")
    type: str = field(default="", name="type")


class HorizontalPodAutoscalerSpec(Struct, frozen=True, omit_defaults=True):
    """HorizontalPodAutoscalerSpec describes the desired functionality of the ...."""

    behavior: HorizontalPodAutoscalerBehavior | None = field(default=None, name="behavior")
    max_replicas: int | None = field(default=None, name="maxReplicas")
    metrics: tuple[MetricSpec, ...] = field(default=(), name="metrics")
    min_replicas: int | None = field(default=None, name="minReplicas")
    scale_target_ref: CrossVersionObjectReference | None = field(
        default=None, name="scaleTargetRef"
    )


class HorizontalPodAutoscalerCondition(Struct, frozen=True, omit_defaults=True):
    """HorizontalPodAutoscalerCondition describes the state of a HorizontalPodAutoscaler ...."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class ObjectMetricStatus(Struct, frozen=True, omit_defaults=True):
    """ObjectMetricStatus indicates the current value of a metric describing a ...."""

    current: MetricValueStatus | None = field(default=None, name="current")
    described_object: CrossVersionObjectReference | None = field(
        default=None, name="describedObject"
    )
    metric: MetricIdentifier | None = field(default=None, name="metric")


class PodsMetricStatus(Struct, frozen=True, omit_defaults=True):
    """PodsMetricStatus indicates the current value of a metric describing each pod in ...."""

    current: MetricValueStatus | None = field(default=None, name="current")
    metric: MetricIdentifier | None = field(default=None, name="metric")


class ResourceMetricStatus(Struct, frozen=True, omit_defaults=True):
    """ResourceMetricStatus indicates the current value of a resource metric known to ...."""

    current: MetricValueStatus | None = field(default=None, name="current")
    name: str = field(default="", name="name")


class MetricStatus(Struct, frozen=True, omit_defaults=True):
    """MetricStatus describes the last-read state of a single metric."""

    container_resource: ContainerResourceMetricStatus | None = field(
        default=None, name="containerResource"
    )
    external: ExternalMetricStatus | None = field(default=None, name="external")
    object: ObjectMetricStatus | None = field(default=None, name="object")
    pods: PodsMetricStatus | None = field(default=None, name="pods")
    resource: ResourceMetricStatus | None = field(default=None, name="resource")
    type: str = field(default="", name="type")


class HorizontalPodAutoscalerStatus(Struct, frozen=True, omit_defaults=True):
    """HorizontalPodAutoscalerStatus describes the current status of a horizontal pod ...."""

    conditions: tuple[HorizontalPodAutoscalerCondition, ...] = field(default=(), name="conditions")
    current_metrics: tuple[MetricStatus, ...] = field(default=(), name="currentMetrics")
    current_replicas: int | None = field(default=None, name="currentReplicas")
    desired_replicas: int | None = field(default=None, name="desiredReplicas")
    last_scale_time: str = field(default="", name="lastScaleTime")
    observed_generation: int | None = field(default=None, name="observedGeneration")


class HorizontalPodAutoscaler(Struct, frozen=True, omit_defaults=True):
    """HorizontalPodAutoscaler is the configuration for a horizontal pod autoscaler, ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: HorizontalPodAutoscalerSpec = field(default=HorizontalPodAutoscalerSpec(), name="spec")
    status: HorizontalPodAutoscalerStatus = field(
        default=HorizontalPodAutoscalerStatus(), name="status"
    )
