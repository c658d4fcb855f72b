"""Scale to zero: which workloads sleep when nobody calls them, and what comes next for each. Pure.

Opt-in by the annotation `weft.dev/scale-to-zero-after: 5m` of a Deployment or StatefulSet, or by a
HorizontalPodAutoscaler with `minReplicas: 0` (its annotation, else the stabilization window of its
scaleDown, says how long). The states of a workload, written on its Services so that proxies and a
restarted control plane know them:

awake -> falling: proxies hold its calls from now on; -> asleep: no replicas are left.
A call takes it back from either.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from weft.api.k8s.apps_v1 import Deployment, StatefulSet
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.selectors import from_selector
from weft.api.snapshot import Snapshot, meta
from weft.api.wellknown import (
    ANNOTATION_HOLD_TIMEOUT,
    ANNOTATION_REPLICAS_AWAKE,
    ANNOTATION_SCALE_TO_ZERO_AFTER,
    ANNOTATION_SERVICE_SLEEP,
    ANNOTATION_SERVICE_WAKES,
)
from weft.lib.durations import parse_duration
from weft.runtime.plan import Action, Patch, RecordEvent

IDLE_SECONDS_DEFAULT = 300.0
"""Kubernetes' stabilization window of scaling down."""
IDLE_SECONDS_MIN = 6.0
"""Proxies report every 5 s whom they called."""
REPLICAS_AWAKE_MAX = 10_000
SLEEPERS: Mapping[str, type[Struct]] = {"Deployment": Deployment, "StatefulSet": StatefulSet}
Sleep = Literal["", "falling", "asleep"]


class Sleeper(Struct, frozen=True):
    """A workload that sleeps when nobody calls it."""

    obj: Struct
    idle_seconds: float
    services: tuple[Service, ...]
    """Whose calls wake it."""
    hold_seconds: float | None = None
    """How long requests wait for it; None is the default."""
    scaled: bool = False
    """An autoscaler finds out how many replicas are needed."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace, and `deployment/web`."""
        found = meta(self.obj)
        return found.namespace, f"{type(self.obj).__name__.lower()}/{found.name}"

    @property
    def replicas(self) -> int:
        wanted = self.obj.spec.replicas  # type: ignore[attr-defined]
        return 1 if wanted is None else int(wanted)

    @property
    def left(self) -> int:
        """Replicas that there are, wanted or not."""
        return int(self.obj.status.replicas or 0)  # type: ignore[attr-defined]

    @property
    def sleep(self) -> frozenset[str]:
        """What is written on its services."""
        return frozenset(
            s.metadata.annotations.get(ANNOTATION_SERVICE_SLEEP, "") for s in self.services
        )


def sleepers(snapshot: Snapshot) -> tuple[Sleeper, ...]:
    """All of them. A workload without a Service is none: nobody could wake it."""
    by_scaler = _by_autoscaler(snapshot)
    taken: set[tuple[str, str]] = set()
    found = []
    for kind, cls in SLEEPERS.items():
        for obj in snapshot.list(cls):
            its = meta(obj)
            own = its.annotations.get(ANNOTATION_SCALE_TO_ZERO_AFTER, "")
            scaler = by_scaler.get((its.namespace, kind, its.name))
            if not own and scaler is None:
                continue
            seconds = idle_seconds(own) if own else _of_scaler(scaler)
            services = tuple(
                s
                for s in _services(snapshot, obj)
                if (s.metadata.namespace, s.metadata.name) not in taken
            )
            if seconds is not None and services:
                taken.update((s.metadata.namespace, s.metadata.name) for s in services)
                found.append(
                    Sleeper(obj, seconds, services, _hold(its, scaler), scaler is not None)
                )
    return tuple(found)


def sleepless(snapshot: Snapshot, found: Iterable[Sleeper]) -> Mapping[str, RecordEvent]:
    """By uid: workloads that are to sleep and never will, and why."""
    known = {meta(sleeper.obj).uid for sleeper in found}
    said = {}
    for cls in SLEEPERS.values():
        for obj in snapshot.list(cls):
            its = meta(obj)
            asked = its.annotations.get(ANNOTATION_SCALE_TO_ZERO_AFTER, "")
            if not asked or its.uid in known:
                continue
            why = "no Service of its own selects its pods, so nobody could wake it"
            if idle_seconds(asked) is None:
                why = f"`{asked}` is no duration such as 5m"
            text = f"{ANNOTATION_SCALE_TO_ZERO_AFTER} has no effect: {why}"
            said[its.uid] = RecordEvent(obj, "Warning", "NeverSleeps", text)
    return said


def idle_seconds(text: str) -> float | None:
    """Of an annotation; None when it cannot be read, so the workload stays awake."""
    seconds = _duration(text)
    return None if seconds is None else max(seconds, IDLE_SECONDS_MIN)


def _duration(text: str) -> float | None:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError):
        return None


def _of_scaler(scaler: HorizontalPodAutoscaler | None) -> float | None:
    if scaler is None:
        return None
    written = scaler.metadata.annotations.get(ANNOTATION_SCALE_TO_ZERO_AFTER, "")
    if written:
        return idle_seconds(written)
    down = scaler.spec.behavior.scale_down if scaler.spec.behavior is not None else None
    window = down.stabilization_window_seconds if down is not None else None
    return max(IDLE_SECONDS_DEFAULT if window is None else float(window), IDLE_SECONDS_MIN)


def _hold(its: ObjectMeta, scaler: HorizontalPodAutoscaler | None) -> float | None:
    written = its.annotations.get(ANNOTATION_HOLD_TIMEOUT, "")
    if not written and scaler is not None:
        written = scaler.metadata.annotations.get(ANNOTATION_HOLD_TIMEOUT, "")
    return _duration(written) if written else None


def _by_autoscaler(
    snapshot: Snapshot,
) -> Mapping[tuple[str, str, str], HorizontalPodAutoscaler]:
    found = {}
    for scaler in snapshot.list(HorizontalPodAutoscaler):
        target = scaler.spec.scale_target_ref
        if scaler.spec.min_replicas == 0 and target is not None:
            found[scaler.metadata.namespace, target.kind, target.name] = scaler
    return found


def _services(snapshot: Snapshot, obj: Struct) -> tuple[Service, ...]:
    template = obj.spec.template  # type: ignore[attr-defined]
    labels = (template.metadata.labels if template and template.metadata else {}) or {}
    return tuple(
        s
        for s in snapshot.list(Service, meta(obj).namespace)
        if s.spec.selector and s.spec.selector.items() <= labels.items()
    )


# --- what to write


def marked(sleeper: Sleeper, sleep: Sleep) -> tuple[Action, ...]:
    """Its services say this; those that do already are left alone."""
    wakes = sleeper.key[1]
    actions = []
    for service in sleeper.services:
        notes = service.metadata.annotations
        has = notes.get(ANNOTATION_SERVICE_WAKES), notes.get(ANNOTATION_SERVICE_SLEEP, "")
        if has != (wakes, sleep):
            body = {
                "metadata": {
                    "annotations": {
                        ANNOTATION_SERVICE_WAKES: wakes,
                        ANNOTATION_SERVICE_SLEEP: sleep or None,
                    }
                }
            }
            its = service.metadata
            actions.append(Patch(Service, its.namespace, its.name, body))
    return tuple(actions)


def unmarked(snapshot: Snapshot, known: Iterable[Sleeper]) -> tuple[Action, ...]:
    """Services that no sleeper has any more."""
    own = {(s.metadata.namespace, s.metadata.name) for each in known for s in each.services}
    clear = {ANNOTATION_SERVICE_WAKES: None, ANNOTATION_SERVICE_SLEEP: None}
    return tuple(
        Patch(
            *(Service, s.metadata.namespace, s.metadata.name),
            {"metadata": {"annotations": clear}},
        )
        for s in snapshot.list(Service)
        if ANNOTATION_SERVICE_WAKES in s.metadata.annotations
        and (s.metadata.namespace, s.metadata.name) not in own
    )


def put_to_sleep(sleeper: Sleeper) -> tuple[Action, ...]:
    """No replicas; how many there were is kept."""
    cls, its = type(sleeper.obj), meta(sleeper.obj)
    notes = {"metadata": {"annotations": {ANNOTATION_REPLICAS_AWAKE: str(sleeper.replicas)}}}
    text = f"scaled to zero: nobody called for {sleeper.idle_seconds:g} s; the next call wakes it"
    return (
        Patch(cls, its.namespace, its.name, notes),
        Patch(cls, its.namespace, its.name, {"spec": {"replicas": 0}}, "scale"),
        RecordEvent(sleeper.obj, "Normal", "ScaledToZero", text),
    )


def woken(sleeper: Sleeper) -> tuple[Action, ...]:
    """As many replicas as there were, or one that an autoscaler goes on from."""
    cls, its = type(sleeper.obj), meta(sleeper.obj)
    written = its.annotations.get(ANNOTATION_REPLICAS_AWAKE, "")
    number = min(int(written), REPLICAS_AWAKE_MAX) if written.isdecimal() else 1
    number = 1 if sleeper.scaled else max(number, 1)
    text = f"a call wakes it: {number} replica{'s' if number > 1 else ''}"
    return (
        Patch(cls, its.namespace, its.name, {"spec": {"replicas": number}}, "scale"),
        RecordEvent(sleeper.obj, "Normal", "ScaledFromZero", text),
    )


def pods_of(snapshot: Snapshot, sleeper: Sleeper) -> Sequence[Pod]:
    """Those that its selector chooses."""
    chosen = from_selector(sleeper.obj.spec.selector)  # type: ignore[attr-defined]
    pods = snapshot.list(Pod, meta(sleeper.obj).namespace)
    return [p for p in pods if chosen is not None and chosen.matches(p.metadata.labels)]


def why_not_ready(snapshot: Snapshot, sleeper: Sleeper) -> str:
    """What keeps its pods from serving, in a few words for who waited for them."""
    pods = pods_of(snapshot, sleeper)
    for pod in pods:
        for container in pod.status.container_statuses:
            waiting = container.state.waiting if container.state is not None else None
            if waiting is not None and waiting.reason not in ("", "ContainerCreating"):
                return f"{waiting.reason}: container {container.name} of pod {pod.metadata.name}"
        for condition in pod.status.conditions:
            if condition.type == "PodScheduled" and condition.status == "False":
                return f"{condition.reason}: {condition.message}"
    return "its pods are not ready" if pods else "it has no pods"
