"""Experiment: ReplicaSets that run side by side for a while, and are judged.

Fields after the public types of Argo Rollouts.
"""

from weft.api.argo.analysis import Argument
from weft.api.argo.common import (
    Condition,
    Count,
    DryRun,
    MeasurementRetention,
    PodTemplateMetadata,
)
from weft.api.istio.common import Message
from weft.api.k8s.core_v1 import PodTemplateSpec, ServicePort
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class TemplateService(Message, frozen=True):
    """The Service that is made for a template."""

    name: str = ""
    """Its name; that of the ReplicaSet when absent."""
    ports: tuple[ServicePort, ...] = ()
    """Ports in place of those of the containers, by `targetPort`."""


class TemplateSpec(Message, frozen=True):
    """What one ReplicaSet runs."""

    name: str = ""
    """Its name within the experiment."""
    replicas: Count | None = None
    """How many pods; 1 when absent."""
    min_ready_seconds: Count | None = None
    """How long a pod is ready before it counts as available."""
    selector: LabelSelector | None = None
    """Which pods are its own."""
    template: PodTemplateSpec = PodTemplateSpec()
    """The pods."""
    service: TemplateService | None = None
    """Make a Service for it."""


class ExperimentAnalysisTemplateRef(Message, frozen=True):
    """An analysis that runs with the experiment."""

    name: str = ""
    """Its name within the experiment."""
    template_name: str = ""
    """The AnalysisTemplate."""
    cluster_scope: bool | None = None
    """It is a ClusterAnalysisTemplate."""
    args: tuple[Argument, ...] = ()
    """Arguments."""
    required_for_completion: bool | None = None
    """The experiment waits for its end."""


class ExperimentSpec(Message, frozen=True):
    """What runs, for how long."""

    templates: tuple[TemplateSpec, ...] = ()
    """The ReplicaSets."""
    duration: str = ""
    """How long; without end when absent."""
    progress_deadline_seconds: Count | None = None
    """How long pods may take to become available; 600 when absent."""
    terminate: bool = False
    """End it now."""
    analyses: tuple[ExperimentAnalysisTemplateRef, ...] = ()
    """How it is judged."""
    scale_down_delay_seconds: Count | None = None
    """How long pods live on after its end; 30 when absent."""
    dry_run: tuple[DryRun, ...] = ()
    """Metrics that decide nothing."""
    measurement_retention: tuple[MeasurementRetention, ...] = ()
    """How many measurements are kept."""
    analysis_run_metadata: PodTemplateMetadata | None = None
    """Labels and annotations of the runs."""


class TemplateStatus(Message, frozen=True):
    """How one ReplicaSet fares."""

    name: str = ""
    """The template."""
    replicas: int = 0
    """Pods."""
    updated_replicas: int = 0
    """Pods of the template."""
    ready_replicas: int = 0
    """Pods that are ready."""
    available_replicas: int = 0
    """Pods that are available."""
    collision_count: int | None = None
    """Not used."""
    status: str = ""
    """Progressing, Running, Successful, Failed or Error."""
    message: str = ""
    """Why."""
    last_transition_time: str = ""
    """When it last made progress."""
    service_name: str = ""
    """Its Service."""
    pod_template_hash: str = ""
    """The hash of its template."""


class ExperimentAnalysisRunStatus(Message, frozen=True):
    """How an analysis fares."""

    name: str = ""
    """Its name within the experiment."""
    analysis_run: str = ""
    """The AnalysisRun."""
    phase: str = ""
    """Its phase."""
    message: str = ""
    """Why."""


class ExperimentStatus(Message, frozen=True):
    """How an experiment fares."""

    phase: str = ""
    """Pending, Running, Successful, Failed, Error or Inconclusive."""
    message: str = ""
    """Why."""
    template_statuses: tuple[TemplateStatus, ...] = ()
    """Each ReplicaSet."""
    available_at: str = ""
    """When all were available: its duration counts from then."""
    conditions: tuple[Condition, ...] = ()
    """The experiment's conditions."""
    analysis_runs: tuple[ExperimentAnalysisRunStatus, ...] = ()
    """Each analysis."""


class Experiment(Message, frozen=True):
    """ReplicaSets that run side by side for a while."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Experiment."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: ExperimentSpec = ExperimentSpec()
    """What runs."""
    status: ExperimentStatus = ExperimentStatus()
    """How it fares."""
