"""A pod's state as the PodStatus that kubelet would report. Pure.

Phases: kubelet's getPhase; conditions: kubelet's status package (Kubernetes 1.33).
"""

from collections.abc import Iterable

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    PodCondition,
    PodIP,
    PodStatus,
)
from weft.api.wellknown import CONDITION_POD_SANDBOX_READY
from weft.lib.timefmt import rfc3339
from weft.node import pod_resize
from weft.node.pod_state import ContainerRecord, Exit, PodState, instance_id, spec_of

RUNTIME_SCHEME = "weft://"
"""containerID is `weft://<instance>`, as Kubernetes writes `containerd://<id>`."""
_BEFORE_APPS = ("init", "sidecar")
DEADLINE_EXCEEDED = "DeadlineExceeded"
EVICTED = "Evicted"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


def pod_status(state: PodState, now: float) -> PodStatus:
    """The status to report. Transition times of conditions that did not change are kept."""
    pod, sandbox = state.pod, state.sandbox
    phase = pod_phase(state)
    reason, message = _why_ended(state)
    address = sandbox.address
    init, app = _by_role(state)
    return PodStatus(
        phase=phase,
        reason=reason,
        message=message,
        conditions=_conditions(state, phase, now),
        host_ip=state.settings.host_ip,
        host_ips=(HostIP(ip=state.settings.host_ip),) if state.settings.host_ip else (),
        pod_ip=address,
        pod_ips=(PodIP(ip=address),) if address else (),
        qos_class=pod.status.qos_class,
        start_time=pod.status.start_time or rfc3339(state.created_at),
        init_container_statuses=tuple(_container_status(state, c) for c in init),
        container_statuses=tuple(_container_status(state, c) for c in app),
        ephemeral_container_statuses=tuple(
            _container_status(state, c) for c in state.containers if c.role == "ephemeral"
        ),
    )


def _why_ended(state: PodState) -> tuple[str, str]:
    """Reason and message of a pod that the node ended."""
    if state.end is not None and state.end.cause == "deadline":
        return DEADLINE_EXCEEDED, DEADLINE_MESSAGE
    if state.end is not None and state.end.cause == "evicted":
        return EVICTED, state.end.message
    return "", ""


def pod_phase(state: PodState) -> str:
    """Pending, Running, Succeeded or Failed."""
    if state.end is not None and state.end.cause in ("deadline", "evicted"):
        return "Failed"
    init, app = _by_role(state)
    policy = state.pod.spec.restart_policy or "Always"
    if any(_init_failed(c, policy) for c in init):
        return "Failed"
    ended = state.end is not None and state.end.cause != "stopped"
    if ended and not any(c.stage == "starting" or _alive(c) for c in app):
        return _final_phase(app)
    if not initialised(state) or any(_waits(c) and c.last_exit is None for c in app):
        return "Pending"
    if any(_alive(c) for c in app) or policy == "Always":
        return "Running"
    if all(c.exit is not None and c.exit.exit_code == 0 for c in app):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def initialised(state: PodState) -> bool:
    """Every init container completed and every sidecar started."""
    return all(
        (c.exit is not None and c.exit.exit_code == 0) if c.role == "init" else c.started
        for c in state.containers
        if c.role in _BEFORE_APPS
    ) or any(c.started_at for c in state.containers if c.role == "app")


def _final_phase(app: Iterable[ContainerRecord]) -> str:
    exits = [c.exit or c.last_exit for c in app]
    return "Succeeded" if all(e is not None and e.exit_code == 0 for e in exits) else "Failed"


def _init_failed(record: ContainerRecord, policy: str) -> bool:
    failed = record.exit is not None and record.exit.exit_code != 0
    return record.role == "init" and policy == "Never" and failed


def _alive(record: ContainerRecord) -> bool:
    return record.stage in ("running", "stopping")


def _waits(record: ContainerRecord) -> bool:
    return record.stage in ("waiting", "starting")


def _by_role(state: PodState) -> tuple[list[ContainerRecord], list[ContainerRecord]]:
    init = [c for c in state.containers if c.role in _BEFORE_APPS]
    return init, [c for c in state.containers if c.role == "app"]


# --- conditions


def _conditions(state: PodState, phase: str, now: float) -> tuple[PodCondition, ...]:
    """Ours, in kubelet's order; what others set (scheduler, readiness gates) is not repeated."""
    ended = phase in ("Succeeded", "Failed")
    init, app = _by_role(state)
    network = state.sandbox.stage in ("waiting", "ready")
    wanted = [
        _plain(CONDITION_POD_SANDBOX_READY, network),
        _initialised_condition(state, init, phase),
        _ready_condition("Ready", state, app, ended, phase),
        _ready_condition("ContainersReady", state, app, ended, phase),
        _plain("PodScheduled", True),
    ]
    if state.end is not None and state.end.cause == "evicted":
        message = state.end.message
        wanted.append(_plain("DisruptionTarget", True, "TerminationByKubelet", message))
    wanted += pod_resize.conditions(state)
    before = {c.type: c for c in (*state.pod.status.conditions, *_reported(state))}
    return tuple(_since(c, before.get(c.type), now) for c in wanted)


def _reported(state: PodState) -> tuple[PodCondition, ...]:
    return state.status.conditions if state.status is not None else ()


def _plain(kind: str, holds: bool, reason: str = "", message: str = "") -> PodCondition:
    return PodCondition(
        type=kind, status="True" if holds else "False", reason=reason, message=message
    )


def _since(wanted: PodCondition, before: PodCondition | None, now: float) -> PodCondition:
    kept = before is not None and before.status == wanted.status and before.last_transition_time
    return PodCondition(
        type=wanted.type, status=wanted.status, reason=wanted.reason, message=wanted.message,
        last_transition_time=kept or rfc3339(now),
    )  # fmt: skip


def _initialised_condition(
    state: PodState, init: list[ContainerRecord], phase: str
) -> PodCondition:
    if initialised(state):
        reason = "PodCompleted" if phase == "Succeeded" else ""
        return _plain("Initialized", True, reason)
    missing = [
        c.name
        for c in init
        if not (c.started if c.role == "sidecar" else c.exit is not None and c.exit.exit_code == 0)
    ]
    return _plain("Initialized", False, "ContainersNotInitialized",
                  f"containers with incomplete status: [{' '.join(missing)}]")  # fmt: skip


def _ready_condition(
    kind: str, state: PodState, app: list[ContainerRecord], ended: bool, phase: str
) -> PodCondition:
    if ended:
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        return _plain(kind, False, reason)
    sidecars = [c for c in state.containers if c.role == "sidecar"]
    unready = [c.name for c in (*sidecars, *app) if not c.ready]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _plain(kind, False, "ContainersNotReady", message)
    gates = [g.condition_type for g in state.pod.spec.readiness_gates]
    true = {c.type for c in state.pod.status.conditions if c.status == "True"}
    if kind == "Ready" and (closed := [g for g in gates if g not in true]):
        return _plain(kind, False, "ReadinessGatesNotReady",
                      f"corresponding condition of pod readiness gate "
                      f'"{closed[0]}" does not exist or is not True.')  # fmt: skip
    return _plain(kind, True)


# --- containers


def _container_status(state: PodState, record: ContainerRecord) -> ContainerStatus:
    spec = spec_of(state.pod, record.name) or Container()
    seen = record.started_at > 0 or record.exit is not None
    current = record.exit or (None if _waits(record) else record)
    shown_id = instance_id(state.uid, record.name, record.restarts) if current is not None else ""
    if not shown_id and record.last_exit is not None:
        shown_id = record.last_exit.id
    shown = pod_resize.shown(record)
    return ContainerStatus(
        name=record.name,
        image=spec.image,
        image_id=record.image_id if seen or record.last_exit else "",
        container_id=RUNTIME_SCHEME + shown_id if shown_id else "",
        ready=_container_ready(record),
        started=record.started and _alive(record),
        restart_count=record.restarts,
        state=_container_state(state, record),
        allocated_resources=shown.requests if shown is not None else {},
        resources=shown,
        last_state=ContainerState(terminated=_terminated(record.last_exit))
        if record.last_exit
        else ContainerState(),
    )


def _container_ready(record: ContainerRecord) -> bool:
    if record.role == "init":
        return record.exit is not None and record.exit.exit_code == 0
    if record.role == "ephemeral":
        return False
    return record.ready and _alive(record)


def _container_state(state: PodState, record: ContainerRecord) -> ContainerState:
    if _alive(record):
        running = ContainerStateRunning(started_at=rfc3339(record.started_at))
        return ContainerState(running=running)
    if record.stage == "exited" and record.exit is not None:
        return ContainerState(terminated=_terminated(record.exit))
    reason = record.reason or (
        "PodInitializing"
        if any(c.role in _BEFORE_APPS for c in state.containers)
        else "ContainerCreating"
    )
    return ContainerState(waiting=ContainerStateWaiting(reason=reason, message=record.message))


def _terminated(ended: Exit) -> ContainerStateTerminated:
    return ContainerStateTerminated(
        container_id=RUNTIME_SCHEME + ended.id,
        exit_code=ended.exit_code,
        signal=ended.signal or None,
        reason=ended.reason,
        message=ended.message,
        started_at=rfc3339(ended.started_at),
        finished_at=rfc3339(ended.finished_at),
    )
