"""A Rollout with all that belongs to it, as one plan sees it; and what the plan makes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.common import POD_HASH
from weft.api.argo.rollout import Rollout, RolloutStatus
from weft.api.argo.strategy import BlueGreenStrategy, CanaryStrategy
from weft.api.defaults import pod_spec
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.core_v1 import PodTemplate, PodTemplateSpec, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.controllers.support import podstate
from weft.controllers.support.podstate import seconds
from weft.lib.durations import parse_duration
from weft.runtime.plan import Action, RecordEvent

ANNOTATION_REVISION = "rollout.argoproj.io/revision"
ANNOTATION_DESIRED = "rollout.argoproj.io/desired-replicas"
ANNOTATION_DEADLINE = "scale-down-deadline"
"""Of an old ReplicaSet: until when it keeps its pods."""
ANNOTATION_ABORTED = "weft.dev/aborted"
"""Of a ReplicaSet with such a deadline that never was promoted: no way back without questions."""
ANNOTATION_MANAGED = "argo-rollouts.argoproj.io/managed-by-rollouts"
"""Of a Service: the Rollout that writes its selector."""
WORKLOADS: Mapping[str, type[Deployment | ReplicaSet | PodTemplate]] = {
    "Deployment": Deployment,
    "ReplicaSet": ReplicaSet,
    "PodTemplate": PodTemplate,
}
DELAY_SECONDS_DEFAULT = 30


class View(Struct, frozen=True):
    """What is there."""

    snapshot: Snapshot
    rollout: Rollout
    template: PodTemplateSpec
    selector: LabelSelector
    hash: str
    """Of the template."""
    new: ReplicaSet | None
    """Of the present template."""
    stable: ReplicaSet | None
    """The one that was rolled out last; may be `new`."""
    others: tuple[ReplicaSet, ...]
    """Neither; oldest revision first."""
    now: float
    pods: Mapping[str, int] = {}
    """Name of a set -> its active pods."""
    available_pods: Mapping[str, int] = {}

    @property
    def all(self) -> tuple[ReplicaSet, ...]:
        own = [self.stable] if self.stable is not None else []
        if self.new is not None and self.new is not self.stable:
            own.append(self.new)
        return (*self.others, *own)

    @property
    def wanted(self) -> int:
        """Pods that are asked for."""
        replicas = self.rollout.spec.replicas
        return 1 if replicas is None else replicas

    @property
    def promoted(self) -> bool:
        """Whether the present template is the stable one."""
        return self.rollout.status.stable_rs == self.hash

    @property
    def initial(self) -> bool:
        """Whether nothing was ever rolled out, or nothing of it is left."""
        return not self.rollout.status.stable_rs or self.stable is None

    @property
    def canary(self) -> CanaryStrategy | None:
        return self.rollout.spec.strategy.canary

    @property
    def blue_green(self) -> BlueGreenStrategy | None:
        return self.rollout.spec.strategy.blue_green

    def available(self, replica_set: ReplicaSet | None) -> int:
        """Available pods that a set will keep."""
        if replica_set is None:
            return 0
        return min(self.available_pods.get(replica_set.metadata.name, 0), size(replica_set))

    def find(self, template_hash: str) -> ReplicaSet | None:
        return next((r for r in self.all if hash_of(r) == template_hash), None)


class Draft:
    """What a plan changes; local to it."""

    def __init__(self, view: View, status: RolloutStatus) -> None:
        self.view = view
        self.status = status
        self.sizes: dict[str, int] = {}
        """Name of a set -> replicas."""
        self.notes: dict[str, dict[str, str | None]] = {}
        """Name of a set -> annotations to write; None removes."""
        self.actions: list[Action] = []
        self.waits: list[float] = []
        """Seconds until something is due."""
        self.invalid = ""
        """Why it cannot go on: a Service that is missing, for example."""

    def set(self, **fields: Any) -> None:
        self.status = replace(self.status, **fields)

    def canary(self, **fields: Any) -> None:
        self.status = replace(self.status, canary=replace(self.status.canary, **fields))

    def blue_green(self, **fields: Any) -> None:
        self.status = replace(self.status, blue_green=replace(self.status.blue_green, **fields))

    def resize(self, replica_set: ReplicaSet | None, replicas: int) -> None:
        if replica_set is not None and size(replica_set) != replicas:
            self.sizes[replica_set.metadata.name] = replicas

    def note(self, replica_set: ReplicaSet, key: str, value: str | None) -> None:
        if replica_set.metadata.annotations.get(key) != value:
            self.notes.setdefault(replica_set.metadata.name, {})[key] = value

    def wait(self, until: float) -> bool:
        """Whether a time has come; asks to be planned again when not."""
        left = until - self.view.now
        if left > 0:
            self.waits.append(left)
        return left <= 0

    def event(self, reason: str, text: str, *, warning: bool = False) -> None:
        kind = "Warning" if warning else "Normal"
        self.actions.append(RecordEvent(self.view.rollout, kind, reason, text))  # type: ignore[arg-type]

    def fail(self, text: str) -> None:
        """The first reason is told."""
        self.invalid = self.invalid or text


def size(replica_set: ReplicaSet) -> int:
    """Replicas it is asked to have."""
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def hash_of(replica_set: ReplicaSet | None) -> str:
    return replica_set.metadata.labels.get(POD_HASH, "") if replica_set is not None else ""


def revision(replica_set: ReplicaSet | None) -> int:
    """Its revision number; 0 when it has none."""
    text = replica_set.metadata.annotations.get(ANNOTATION_REVISION, "") if replica_set else ""
    return int(text) if text.isascii() and text.isdigit() else 0


def next_revision_of(view: View) -> int:
    """The revision that the present template has or gets."""
    return max((revision(r) for r in view.all if r is not view.new), default=0) + 1


def deadline(replica_set: ReplicaSet) -> float:
    """Until when it keeps its pods; 0.0 without such a time."""
    return seconds(replica_set.metadata.annotations.get(ANNOTATION_DEADLINE, ""))


def resolved(snapshot: Snapshot, rollout: Rollout) -> tuple[PodTemplateSpec, LabelSelector] | str:
    """The template and selector, the Rollout's own or those of its workload; else what is wrong."""
    reference = rollout.spec.workload_ref
    if reference is None:
        template, selector = rollout.spec.template, rollout.spec.selector
        if template is None or selector is None:
            return "neither a template nor a workloadRef"
        return defaulted(template), selector
    cls = WORKLOADS.get(reference.kind)
    found = snapshot.get(cls, reference.name, rollout.metadata.namespace) if cls else None
    if found is None:
        return f"the workload {reference.kind} {reference.name} does not exist"
    if isinstance(found, PodTemplate):
        template = found.template
        chosen = rollout.spec.selector or LabelSelector(match_labels=template.metadata.labels)
        return defaulted(template), chosen
    chosen = rollout.spec.selector or found.spec.selector or LabelSelector()
    return defaulted(_bare(found.spec.template)), chosen


def _bare(template: PodTemplateSpec) -> PodTemplateSpec:
    labels = {k: v for k, v in template.metadata.labels.items() if k != "pod-template-hash"}
    return replace(template, metadata=replace(template.metadata, labels=labels))


def defaulted(template: PodTemplateSpec) -> PodTemplateSpec:
    """With the defaults that a ReplicaSet's template gets, so that one that somebody took from a
    ReplicaSet is the same template."""
    body = msgspec.to_builtins(template)
    spec = body.setdefault("spec", {})
    pod_spec(spec)
    return msgspec.convert(body, PodTemplateSpec)


def counted(snapshot: Snapshot, sets: Sequence[ReplicaSet], ready: int, now: float) -> Any:
    """Active and available pods by name of their set: fresher than the sets' own statuses."""
    there: dict[str, int] = {}
    available: dict[str, int] = {}
    for replica_set in sets:
        owned = snapshot.owned(Pod, replica_set.metadata.uid)
        pods = [p for p in owned if podstate.is_active(p)]
        there[replica_set.metadata.name] = len(pods)
        available[replica_set.metadata.name] = sum(
            podstate.is_available(p, ready, now) for p in pods
        )
    return there, available


def serves(view: View, service: str, replica_set: ReplicaSet | None) -> bool:
    """Whether the endpoints of a Service are pods of this set: what its selector says has come
    about."""
    if replica_set is None:
        return False
    found = view.snapshot.get(Service, service, view.rollout.metadata.namespace)
    if found is None:
        return False
    own = {p.metadata.uid for p in view.snapshot.owned(Pod, replica_set.metadata.uid)}
    targets = [
        e.target_ref.uid
        for s in view.snapshot.owned(EndpointSlice, found.metadata.uid)
        for e in s.endpoints
        if e.target_ref is not None and (e.conditions is None or e.conditions.ready is not False)
    ]
    return bool(targets) and own.issuperset(targets)


def pause_seconds(duration: int | str | None) -> float | None:
    """Of a pause step; None until somebody resumes."""
    if duration is None:
        return None
    text = str(duration)
    try:
        return float(text) if text.isdigit() else parse_duration(text)
    except ValueError:
        return None
