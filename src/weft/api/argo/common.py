"""What the messages of several kinds of Argo Rollouts share."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from weft.api.istio.common import Message

Percent = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": 100})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
GROUP = "argoproj.io"
API_VERSION = "argoproj.io/v1alpha1"
POD_HASH = "rollouts-pod-template-hash"
"""Label of ReplicaSets and pods: the template that they are made from."""


class PodTemplateMetadata(Message, frozen=True):
    """Labels and annotations for pods or for runs."""

    labels: Mapping[str, str] = {}
    """Labels that are added."""
    annotations: Mapping[str, str] = {}
    """Annotations that are added."""


class FieldRef(Message, frozen=True):
    """A field of an object."""

    field_path: str = ""
    """Its path, such as metadata.labels['env']."""


class DryRun(Message, frozen=True):
    """Metrics that are measured and judged, and decide nothing."""

    metric_name: str = ""
    """The metric; `*` is all."""


class MeasurementRetention(Message, frozen=True):
    """How many measurements of a metric the status keeps."""

    metric_name: str = ""
    """The metric; `*` is all."""
    limit: Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": 1000})] = 10
    """How many; 10 when absent."""


class TemplateRef(Message, frozen=True):
    """A template of an analysis."""

    template_name: str = ""
    """The AnalysisTemplate, or the ClusterAnalysisTemplate."""
    cluster_scope: bool | None = None
    """It is a ClusterAnalysisTemplate."""


class ArgumentValueFrom(Message, frozen=True):
    """Where the value of an argument comes from; one of the fields is given."""

    pod_template_hash_value: str = ""
    """Stable or Latest: the hash of that ReplicaSet's template."""
    field_ref: FieldRef | None = None
    """A field of the Rollout."""


class RunArgument(Message, frozen=True):
    """An argument that a Rollout passes to an analysis."""

    name: str = ""
    """The argument's name."""
    value: str | None = None
    """The value as it is."""
    value_from: ArgumentValueFrom | None = None
    """Where the value comes from."""


class Condition(Message, frozen=True):
    """One aspect of the state of a Rollout or an Experiment."""

    type: str = ""
    """What the condition is about."""
    status: str = ""
    """True, False or Unknown."""
    last_update_time: str = ""
    """When it was last written."""
    last_transition_time: str = ""
    """When it last changed."""
    reason: str = ""
    """The cause as one word."""
    message: str = ""
    """The cause, for people."""
