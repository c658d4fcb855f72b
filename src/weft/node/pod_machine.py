"""The pod machine: `step(state, event, now) -> (state, actions)`. Pure.

A pod gets its network, waits until the node proxy serves it, runs its init containers and then its
containers, and ends by the drain contract: no SIGTERM before every proxy acknowledged it as
draining and its requests in flight ended, or its grace period is over; no network removed before
the proxy closed its listeners.

Every event only records facts; `_advance` then derives from the facts what is to be done now, so
the order in which events arrive does not matter.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from weft.api.k8s.pod_v1 import Pod
from weft.lib.timefmt import parse_rfc3339
from weft.node import pod_adoption, pod_containers, pod_probes, pod_resize
from weft.node.pod_state import (
    LISTENERS_READY_SECONDS,
    LISTENERS_REMOVED_SECONDS,
    NODE_STOP_GRACE_SECONDS,
    SANDBOX_RETRY_FIRST_SECONDS,
    SANDBOX_RETRY_MAX_SECONDS,
    Action,
    Adopted,
    AnnotatePod,
    AwaitDrain,
    AwaitListeners,
    AwaitListenersRemoved,
    ContainerExited,
    ContainerRecord,
    ContainerRefused,
    ContainerResized,
    ContainerStarted,
    CreateSandbox,
    DeleteSandbox,
    DependenciesChanged,
    DrainFinished,
    End,
    Event,
    Evicted,
    FinishDeletion,
    Forget,
    HookFinished,
    ListenersAcknowledged,
    ListenersRemoved,
    MachineSettings,
    NodeStopped,
    PodObserved,
    PodRemoved,
    PodState,
    ProbeFailed,
    ProbeSucceeded,
    RecordEvent,
    RemoveContainer,
    ReportStatus,
    SandboxCreated,
    SandboxDeleted,
    SandboxFailed,
    SetTimer,
    TimerFired,
    container_ports,
    grace_of,
)
from weft.node.pod_status import EVICTED, pod_status
from weft.node.pod_turn import Turn


def new(pod: Pod, settings: MachineSettings, now: float) -> PodState:
    """The state before the first event, which must be `Adopted`."""
    init = tuple(
        ContainerRecord(c.name, "sidecar" if c.restart_policy == "Always" else "init")
        for c in pod.spec.init_containers
    )
    apps = tuple(ContainerRecord(c.name, "app") for c in pod.spec.containers)
    containers = init + apps + _ephemeral(pod)
    return PodState(pod=pod, settings=settings, created_at=now, containers=containers)


def _ephemeral(pod: Pod) -> tuple[ContainerRecord, ...]:
    return tuple(ContainerRecord(c.name, "ephemeral") for c in pod.spec.ephemeral_containers)


def step(state: PodState, event: Event, now: float) -> tuple[PodState, tuple[Action, ...]]:
    """The next state and what to do, in order."""
    turn = Turn(state, now)
    _HANDLERS[type(event)](turn, event)
    _advance(turn)
    _report(turn)
    _set_timer(turn)
    return turn.state, tuple(turn.actions)


# --- events


def _observed(turn: Turn, event: PodObserved) -> None:
    known = turn.names()
    added = tuple(c for c in _ephemeral(event.pod) if c.name not in known)
    before = turn.state.pod
    turn.set(pod=event.pod, containers=turn.state.containers + added, unfit=event.unfit)
    end = turn.state.end
    if end is None:
        pod_containers.replace_changed(turn, before)
    if turn.state.deleting and end is not None:
        deadline = min(end.deadline, turn.now + grace_of(event.pod))
        turn.set(end=replace(end, deadline=deadline))
        pod_containers.shorten(turn, deadline)


def _removed(turn: Turn, event: PodRemoved) -> None:
    """Somebody removed the object by force, or our own FinishDeletion did."""
    turn.set(removed=True)
    if turn.state.end is not None:
        turn.set(end=replace(turn.state.end, deadline=turn.now, drained=True))
        pod_containers.shorten(turn, turn.now)


def _sandbox_created(turn: Turn, event: SandboxCreated) -> None:
    if turn.state.sandbox.stage != "creating":
        return
    if turn.state.host_network:
        turn.set_sandbox(stage="ready", address=event.address, failures=0, deadline=None)
        return
    turn.set_sandbox(
        stage="waiting", address=event.address, netns=event.netns, failures=0,
        annotations=event.annotations, deadline=turn.now + LISTENERS_READY_SECONDS,
    )  # fmt: skip
    if event.annotations:
        turn.do(AnnotatePod(event.annotations))
    turn.do(AwaitListeners())


def _sandbox_failed(turn: Turn, event: SandboxFailed) -> None:
    failures = turn.state.sandbox.failures
    delay = min(SANDBOX_RETRY_FIRST_SECONDS * 2 ** min(failures, 20), SANDBOX_RETRY_MAX_SECONDS)
    turn.set_sandbox(stage="absent", failures=failures + 1, deadline=turn.now + delay)
    message = f"Failed to create pod sandbox: {event.message}"
    turn.do(RecordEvent("Warning", "FailedCreatePodSandBox", message))


def _listeners_acknowledged(turn: Turn, event: ListenersAcknowledged) -> None:
    if turn.state.sandbox.stage == "waiting":
        turn.set_sandbox(stage="ready", deadline=None)


def _container_started(turn: Turn, event: ContainerStarted) -> None:
    record = turn.by_id(event.id)
    if record is not None and record.stage == "starting":
        pod_containers.started(turn, record, event)


def _container_refused(turn: Turn, event: ContainerRefused) -> None:
    record = turn.by_id(event.id)
    if record is not None and record.stage == "starting":
        pod_containers.refused(turn, record, event)


def _container_exited(turn: Turn, event: ContainerExited) -> None:
    record = turn.by_id(event.exit.id)
    if record is not None and record.stage in ("starting", "running", "stopping"):
        pod_containers.exited(turn, record, event.exit)


def _container_resized(turn: Turn, event: ContainerResized) -> None:
    record = turn.by_id(event.id)
    if record is not None and record.stage == "running":
        pod_resize.resized(turn, record, event)


def _hook_finished(turn: Turn, event: HookFinished) -> None:
    if (record := turn.by_id(event.id)) is not None:
        pod_containers.hook_finished(turn, record, event)


def _probe_succeeded(turn: Turn, event: ProbeSucceeded) -> None:
    record = turn.by_id(event.id)
    if record is not None and record.stage == "running":
        pod_probes.succeeded(turn, record, event.kind)


def _probe_failed(turn: Turn, event: ProbeFailed) -> None:
    record = turn.by_id(event.id)
    if record is None or record.stage != "running":
        return
    if pod_probes.failed(turn, record, event.kind, event.message):
        pod_containers.restart(turn, record.name, f"failed {event.kind} probe")


def _drain_finished(turn: Turn, event: DrainFinished) -> None:
    if turn.state.end is None:
        return
    turn.set(end=replace(turn.state.end, drained=True))
    for record in turn.state.containers:
        if record.stop is not None:
            turn.set_container(record.name, stop=replace(record.stop, drained=True))


def _listeners_removed(turn: Turn, event: ListenersRemoved) -> None:
    if turn.state.sandbox.stage == "closing":
        _delete_sandbox(turn)


def _sandbox_deleted(turn: Turn, event: SandboxDeleted) -> None:
    if turn.state.sandbox.stage == "deleting":
        turn.set_sandbox(stage="deleted", deadline=None)


def _node_stopped(turn: Turn, event: NodeStopped) -> None:
    grace = min(grace_of(turn.state.pod), NODE_STOP_GRACE_SECONDS)
    deadline = turn.now + grace
    if turn.state.end is None:
        turn.set(end=End("stopped", deadline=deadline, drained=True))
        return
    deadline = min(turn.state.end.deadline, deadline)
    turn.set(end=replace(turn.state.end, deadline=deadline, drained=True))
    _drain_finished(turn, DrainFinished())
    pod_containers.shorten(turn, deadline)


def _evicted(turn: Turn, event: Evicted) -> None:
    """At once means that not even requests are waited for: others would fail with the node."""
    if turn.state.end is None:
        turn.do(RecordEvent("Warning", EVICTED, event.message))
        grace = min(event.grace, grace_of(turn.state.pod))
        deadline, at_once = turn.now + grace, grace <= 0
        _end(turn, End("evicted", deadline=deadline, drained=at_once, message=event.message))


def _timer_fired(turn: Turn, event: TimerFired) -> None:
    """Timers may fire a little early: what is not yet due must get a timer again."""
    turn.set(timer_at=None)


_HANDLERS: dict[type[Any], Callable[[Turn, Any], None]] = {
    PodObserved: _observed,
    PodRemoved: _removed,
    Adopted: pod_adoption.adopted,
    SandboxCreated: _sandbox_created,
    SandboxFailed: _sandbox_failed,
    ListenersAcknowledged: _listeners_acknowledged,
    ContainerStarted: _container_started,
    ContainerRefused: _container_refused,
    ContainerExited: _container_exited,
    ContainerResized: _container_resized,
    HookFinished: _hook_finished,
    ProbeSucceeded: _probe_succeeded,
    ProbeFailed: _probe_failed,
    DrainFinished: _drain_finished,
    ListenersRemoved: _listeners_removed,
    SandboxDeleted: _sandbox_deleted,
    DependenciesChanged: lambda turn, event: pod_containers.retry(turn, failed=event.named),
    NodeStopped: _node_stopped,
    Evicted: _evicted,
    TimerFired: _timer_fired,
}


# --- what follows from the facts


def _advance(turn: Turn) -> None:
    if turn.state.end is None:
        _begin_end(turn)
    if turn.state.end is not None:
        _advance_end(turn)
    else:
        _advance_sandbox(turn)
    if turn.state.sandbox.stage == "ready" and turn.state.end is None:
        pod_containers.start_what_may(turn)
    pod_resize.advance(turn)
    for name in turn.names():
        pod_probes.run_due(turn, name)
        pod_containers.advance_stop(turn, name)


def _advance_sandbox(turn: Turn) -> None:
    sandbox = turn.state.sandbox
    due = sandbox.deadline is not None and sandbox.deadline <= turn.now
    if sandbox.stage == "absent" and (due or sandbox.deadline is None):
        turn.set_sandbox(stage="creating", deadline=None)
        turn.do(CreateSandbox())
    elif sandbox.stage == "waiting" and due:
        if turn.state.settings.isolation == "host":
            turn.set_sandbox(stage="ready", deadline=None)
            return
        turn.set_sandbox(deadline=turn.now + LISTENERS_READY_SECONDS * 6)
        message = (
            f"the node proxy has not acknowledged the pod's listeners after "
            f"{LISTENERS_READY_SECONDS:g} s; its containers wait (see `weft status`)"
        )
        turn.do(RecordEvent("Warning", "ListenersNotReady", message))


def _begin_end(turn: Turn) -> None:
    """Decide whether, and why, the pod as a whole ends."""
    state, grace = turn.state, grace_of(turn.state.pod)
    if state.removed:
        _end(turn, End("removed", deadline=turn.now, drained=True))
    elif state.deleting:
        _end(turn, End("deleted", deadline=turn.now + grace))
    elif (deadline := active_deadline(state)) is not None and deadline <= turn.now:
        turn.do(
            RecordEvent(
                "Normal",
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            )
        )
        _end(turn, End("deadline", deadline=turn.now + grace))
    elif _was_evicted(state):
        message = state.pod.status.message
        _end(turn, End("evicted", deadline=turn.now, drained=True, message=message))
    elif _init_failed(state):
        _end(turn, End("failed", deadline=turn.now + grace, drained=True))
    elif _completed(state):
        _end(turn, End("completed", deadline=turn.now + grace, drained=True))


def active_deadline(state: PodState) -> float | None:
    """When activeDeadlineSeconds ends."""
    seconds = state.pod.spec.active_deadline_seconds
    if seconds is None:
        return None
    reported = state.pod.status.start_time
    return (parse_rfc3339(reported) if reported else state.created_at) + seconds


def _was_evicted(state: PodState) -> bool:
    """By an agent before this one, which did not see the end of it."""
    status = state.pod.status
    return status.phase == "Failed" and status.reason == EVICTED


def _init_failed(state: PodState) -> bool:
    return any(
        c.role == "init" and c.stage == "exited" and c.exit is not None and c.exit.exit_code != 0
        for c in state.containers
    )


def _completed(state: PodState) -> bool:
    apps = [c for c in state.containers if c.role == "app"]
    return bool(apps) and all(c.stage == "exited" for c in apps)


def _end(turn: Turn, end: End) -> None:
    """Stop what runs. Requests in flight are waited for when there can be any."""
    serves = any(c.role == "app" and c.stage == "running" for c in turn.state.containers)
    if not serves or not turn.state.sandbox.address:
        end = replace(end, drained=True)
    turn.set(end=end)
    if not end.drained:
        ports = container_ports(turn.state.pod) if turn.state.host_network else ()
        turn.do(AwaitDrain(address=turn.state.sandbox.address, ports=ports))


def _advance_end(turn: Turn) -> None:
    end = turn.state.end
    if end is None:
        return
    for record in turn.state.containers:
        if record.stage == "running":
            pod_containers.stop(turn, record.name, end.deadline, drained=end.drained)
        elif record.stage == "waiting" and record.last_exit is not None:
            # It will not be restarted: what it last did is what it did.
            turn.set_container(record.name, stage="exited", exit=record.last_exit, reason="",
                               message="", retry_at=None, last_exit=None)  # fmt: skip
    if any(c.stage in ("starting", "running", "stopping") for c in turn.state.containers):
        return
    _close_sandbox(turn)


def _close_sandbox(turn: Turn) -> None:
    sandbox = turn.state.sandbox
    due = sandbox.deadline is not None and sandbox.deadline <= turn.now
    stopped = turn.state.end is not None and turn.state.end.cause == "stopped"
    if sandbox.stage == "absent":
        turn.set_sandbox(stage="deleted", deadline=None)
    elif sandbox.stage in ("waiting", "ready") and (stopped or turn.state.host_network):
        _delete_sandbox(turn)  # the node's proxy ends too, or has no listener of the pod
    elif sandbox.stage in ("waiting", "ready"):
        turn.set_sandbox(stage="closing", deadline=turn.now + LISTENERS_REMOVED_SECONDS)
        turn.do(AwaitListenersRemoved())
    elif sandbox.stage == "closing" and due:
        message = (
            f"the node proxy has not closed the pod's listeners after "
            f"{LISTENERS_REMOVED_SECONDS:g} s; its network is removed"
        )
        turn.do(RecordEvent("Warning", "ListenersNotRemoved", message))
        _delete_sandbox(turn)
    if turn.state.sandbox.stage == "deleted":
        _leave(turn)


def _delete_sandbox(turn: Turn) -> None:
    turn.set_sandbox(stage="deleting", deadline=None)
    uid_ids = [c.exit.id for c in turn.state.containers if c.exit is not None]
    turn.do(*(RemoveContainer(id=i) for i in uid_ids), DeleteSandbox())


def _leave(turn: Turn) -> None:
    """Nothing of the pod is left on the node."""
    if turn.state.removed:
        turn.do(Forget())
    elif turn.state.deleting and not turn.state.finishing:
        turn.set(finishing=True)
        turn.do(FinishDeletion())


# --- outcome of a step


def _report(turn: Turn) -> None:
    status = pod_status(turn.state, turn.now)
    if turn.state.removed or status == turn.state.status:
        return
    turn.set(status=status)
    report = ReportStatus(status=status)
    # What waits for the mesh must come after what the mesh acts on.
    index = next(
        (i for i, a in enumerate(turn.actions) if isinstance(a, _AFTER_REPORT)), len(turn.actions)
    )
    turn.actions.insert(index, report)


_AFTER_REPORT = (AwaitListeners, AwaitListenersRemoved, FinishDeletion)


def _set_timer(turn: Turn) -> None:
    at = min(_times(turn.state), default=None)
    if at != turn.state.timer_at:
        turn.set(timer_at=at)
        turn.do(SetTimer(at))


def _times(state: PodState) -> list[float]:
    """Every time at which something is due."""
    times = [] if state.sandbox.deadline is None else [state.sandbox.deadline]
    for record in state.containers:
        times += pod_probes.next_at(record) + pod_containers.stop_times(record)
    if state.end is None and state.sandbox.stage == "ready":
        waiting = pod_containers.next_to_start(state)
        times += [c.retry_at for c in state.containers if c.name in waiting and c.retry_at]
    if state.end is None and (deadline := active_deadline(state)) is not None:
        times.append(deadline)
    return times + pod_resize.times(state)
