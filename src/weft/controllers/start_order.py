"""Start order, for pods that ask for it: they are not placed before what they need is ready.

Opt-in by the annotation `weft.dev/start-after` on pods (of a Deployment: in its template):
`deployment/db, service/cache, job/migrate`. New pods get a scheduling gate, which is taken off
once all of it is ready; later troubles of what they need do not concern running pods.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api import conditions
from weft.api.k8s.apps_v1 import Deployment, StatefulSet
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, meta
from weft.api.wellknown import (
    ANNOTATION_START_AFTER,
    ANNOTATION_WAITS_FOR,
    GATE_START_AFTER,
    LABEL_SERVICE_NAME,
)
from weft.controllers.support import podstate
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Key, Plan, RecordEvent

LOOK_SECONDS = 0.5
"""Between two looks whether it is ready."""
SHORT: Mapping[str, str] = {
    "deploy": "deployment", "deployments": "deployment", "sts": "statefulset",
    "statefulsets": "statefulset", "svc": "service", "services": "service", "jobs": "job",
    "pods": "pod", "po": "pod",
}  # fmt: skip


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Take the gate off when everything is ready; say what is not."""
    pod = snapshot.get(Pod, key.name, key.namespace)
    if pod is None or pod.metadata.deletion_timestamp or not _is_held(pod):
        return NOTHING
    wanted = parse(pod.metadata.annotations.get(ANNOTATION_START_AFTER, ""))
    missing = [name for name in wanted if not _is_ready(snapshot, pod.metadata.namespace, name)]
    told = pod.metadata.annotations.get(ANNOTATION_WAITS_FOR, "")
    if missing:
        text = ", ".join(missing)
        if text == told:
            return Plan(requeue_after=LOOK_SECONDS)
        event = RecordEvent(pod, "Normal", "StartAfter", f"waits for {text}")
        return Plan((*_annotated(pod, text), event), requeue_after=LOOK_SECONDS)
    rest = tuple(g for g in pod.spec.scheduling_gates if g.name != GATE_START_AFTER)
    notes = {k: v for k, v in pod.metadata.annotations.items() if k != ANNOTATION_WAITS_FOR}
    changed = replace(
        pod,
        metadata=replace(pod.metadata, annotations=notes),
        spec=replace(pod.spec, scheduling_gates=rest),
    )
    return Plan(object_patch(pod, changed, conditional=True))


def _annotated(pod: Pod, text: str) -> tuple[Action, ...]:
    notes = dict(pod.metadata.annotations) | {ANNOTATION_WAITS_FOR: text}
    changed = replace(pod, metadata=replace(pod.metadata, annotations=notes))
    return object_patch(pod, changed, conditional=True)


def _is_held(pod: Pod) -> bool:
    return any(g.name == GATE_START_AFTER for g in pod.spec.scheduling_gates)


def parse(text: str) -> list[str]:
    """`kind/name` of each, kinds in full; a bare name is a Deployment."""
    found = []
    for part in text.replace(",", " ").split():
        kind, slash, name = part.partition("/")
        kind, name = (kind.lower(), name) if slash else ("deployment", kind)
        found.append(f"{SHORT.get(kind, kind)}/{name}")
    return found


def _is_ready(snapshot: Snapshot, namespace: str, wanted: str) -> bool:
    """An unknown kind is never ready: the Event names it."""
    kind, _, name = wanted.partition("/")
    match kind:
        case "deployment":
            found = snapshot.get(Deployment, name, namespace)
            return found is not None and conditions.is_true(found.status.conditions, "Available")
        case "statefulset":
            stateful = snapshot.get(StatefulSet, name, namespace)
            return stateful is not None and bool(stateful.status.available_replicas)
        case "job":
            job = snapshot.get(Job, name, namespace)
            return job is not None and conditions.is_true(job.status.conditions, "Complete")
        case "pod":
            pod = snapshot.get(Pod, name, namespace)
            return pod is not None and podstate.is_ready(pod)
        case "service":
            return any(
                endpoint.conditions is None or endpoint.conditions.ready is not False
                for piece in snapshot.list(EndpointSlice, namespace)
                if piece.metadata.labels.get(LABEL_SERVICE_NAME) == name
                for endpoint in piece.endpoints
            )
    return False


def _own(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    held = isinstance(pod, Pod) and _is_held(pod)
    return (Key(meta(pod).namespace, meta(pod).name),) if held else ()


def _nobody(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Held pods look by themselves: looking through all pods at every change costs more."""
    return ()


CONTROLLER = Controller(
    name="start-order",
    primary=Pod,
    plan=plan,
    primary_keys=_own,
    watches=tuple(Watch(cls, _nobody) for cls in (Deployment, StatefulSet, Job, EndpointSlice)),
)
