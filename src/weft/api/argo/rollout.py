"""Rollout: a Deployment with strategies. Fields after the public types of Argo Rollouts."""

from msgspec import Struct, field

from weft.api.argo.common import Condition, Count
from weft.api.argo.strategy import RolloutStrategy
from weft.api.istio.common import Message
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class ObjectRef(Message, frozen=True):
    """A workload whose template is taken."""

    api_version: str = ""
    """apps/v1."""
    kind: str = ""
    """Deployment, ReplicaSet or PodTemplate."""
    name: str = ""
    """Its name."""
    scale_down: str = ""
    """never (the default), onsuccess or progressively: when the workload's own pods go."""


class RollbackWindow(Message, frozen=True):
    """Revisions to which one goes back at once, without steps."""

    revisions: Count = 0
    """How many."""


class AnalysisRunStrategy(Message, frozen=True):
    """How many runs are kept."""

    successful_run_history_limit: Count | None = None
    """Successful ones; 5 when absent."""
    unsuccessful_run_history_limit: Count | None = None
    """Others; 5 when absent."""


class RolloutSpec(Message, frozen=True):
    """What is wanted."""

    replicas: Count | None = None
    """How many pods; 1 when absent."""
    selector: LabelSelector | None = None
    """Which pods are its own."""
    template: PodTemplateSpec | None = None
    """The pods."""
    workload_ref: ObjectRef | None = None
    """A workload whose template is taken instead."""
    min_ready_seconds: Count | None = None
    """How long a pod is ready before it counts as available."""
    rollback_window: RollbackWindow | None = None
    """Revisions to which one goes back at once."""
    strategy: RolloutStrategy = RolloutStrategy()
    """How it goes from one version to the next."""
    revision_history_limit: Count | None = None
    """Old ReplicaSets that are kept; 10 when absent."""
    paused: bool = False
    """Stop where it is."""
    progress_deadline_seconds: Count | None = None
    """How long it may make no progress; 600 when absent."""
    progress_deadline_abort: bool = False
    """Abort when it made none for so long."""
    restart_at: str = ""
    """Pods that are older than this time are replaced."""
    analysis: AnalysisRunStrategy | None = None
    """How many runs are kept."""


class PauseCondition(Message, frozen=True):
    """Why it waits, and since when."""

    reason: str = ""
    """CanaryPauseStep, BlueGreenPause, InconclusiveAnalysisRun or InconclusiveExperiment."""
    start_time: str = ""
    """Since when."""


class RunStatus(Message, frozen=True):
    """A run of an analysis, as the Rollout knows it."""

    name: str = ""
    """The AnalysisRun."""
    status: str = ""
    """Its phase."""
    message: str = ""
    """Why."""


class WeightDestination(Struct, frozen=True, rename="camel"):
    """The share of one version. All fields are written: 0 is a share, too."""

    weight: int = 0
    """In percent."""
    service_name: str = ""
    """The Service."""
    pod_template_hash: str = ""
    """The version."""


class TrafficWeights(Message, frozen=True):
    """How requests are divided."""

    canary: WeightDestination = WeightDestination()
    """The new version."""
    stable: WeightDestination = WeightDestination()
    """The old version."""
    additional: tuple[WeightDestination, ...] = ()
    """Of experiments."""
    verified: bool | None = None
    """Whether all proxies acknowledged it."""


class CanaryStatus(Message, frozen=True):
    """Where a canary stands."""

    current_step_analysis_run_status: RunStatus | None = None
    """The analysis of the present step."""
    current_background_analysis_run_status: RunStatus | None = None
    """The analysis in the background."""
    current_experiment: str = ""
    """The experiment of the present step."""
    weights: TrafficWeights | None = None
    """How requests are divided."""
    stable_ping_pong: str = ""
    """Whose turn it is to be stable: ping or pong."""


class BlueGreenStatus(Message, frozen=True):
    """Where a blue-green stands."""

    preview_selector: str = ""
    """The version behind the preview Service."""
    active_selector: str = ""
    """The version that requests go to."""
    scale_up_preview_check_point: bool = False
    """It was promoted and gets all its pods."""
    pre_promotion_analysis_run_status: RunStatus | None = None
    """The analysis before requests move."""
    post_promotion_analysis_run_status: RunStatus | None = None
    """The analysis after they moved."""


class RolloutStatus(Message, frozen=True):
    """Where a Rollout stands."""

    abort: bool = False
    """Go back to the old version. People set it; a failed analysis does, too."""
    pause_conditions: tuple[PauseCondition, ...] = ()
    """Why it waits. People remove them to go on."""
    controller_pause: bool = False
    """It paused by itself: without pause conditions, somebody resumed it."""
    aborted_at: str = ""
    """When it was aborted."""
    current_pod_hash: str = ""
    """The present template."""
    current_step_hash: str = ""
    """The present steps."""
    replicas: int = 0
    """Pods."""
    updated_replicas: int = 0
    """Pods of the present template."""
    ready_replicas: int = 0
    """Pods that are ready."""
    available_replicas: int = 0
    """Pods that are available."""
    current_step_index: int | None = None
    """The present step."""
    collision_count: int | None = None
    """How often a name was taken."""
    observed_generation: str = ""
    """The generation that was looked at."""
    conditions: tuple[Condition, ...] = ()
    """The Rollout's conditions."""
    canary: CanaryStatus = CanaryStatus()
    """Where a canary stands."""
    blue_green: BlueGreenStatus = BlueGreenStatus()
    """Where a blue-green stands."""
    hpa_replicas: int = field(default=0, name="HPAReplicas")
    """Pods that an autoscaler counts."""
    selector: str = ""
    """Which pods an autoscaler counts."""
    stable_rs: str = field(default="", name="stableRS")
    """The version that was rolled out last."""
    restarted_at: str = ""
    """The restart that is done."""
    promote_full: bool = False
    """Go to the end, without steps, pauses and analyses."""
    phase: str = ""
    """Healthy, Progressing, Paused or Degraded."""
    message: str = ""
    """Why."""
    workload_observed_generation: str = ""
    """The generation of the referenced workload that was looked at."""


class Rollout(Message, frozen=True):
    """Pods of one template, and how they go from one version of it to the next."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Rollout."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: RolloutSpec = RolloutSpec()
    """What is wanted."""
    status: RolloutStatus = RolloutStatus()
    """Where it stands."""
