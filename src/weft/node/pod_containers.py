"""Starting, restarting and stopping containers of one pod. Pure.

Rules: kubelet's container restart back-off, hooks and termination (Kubernetes 1.33).
"""

from msgspec.structs import replace

from weft.api.k8s.container_v1 import ResourceRequirements
from weft.api.k8s.pod_v1 import Pod
from weft.node import pod_probes
from weft.node.pod_state import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_MAX_SECONDS,
    BACKOFF_RESET_SECONDS,
    KILL_REPEAT_SECONDS,
    KILL_WINDOW_SECONDS,
    REFUSED_FIRST_SECONDS,
    REFUSED_MAX_SECONDS,
    ContainerRecord,
    ContainerRefused,
    ContainerStarted,
    Exit,
    HookFinished,
    KillContainer,
    PodState,
    RecordEvent,
    RemoveContainer,
    RunHook,
    SignalContainer,
    StartContainer,
    Stop,
    grace_of,
    instance_id,
)
from weft.node.pod_turn import Turn

IMAGE_MISSING = "ErrImagePull"
SUCCESS = Exit(id="", exit_code=0, reason="Completed")
IMAGE_BACK_OFF = "ImagePullBackOff"
CRASH_LOOP = "CrashLoopBackOff"
SIGNAL_DEFAULT = "SIGTERM"


# --- starting


def start_what_may(turn: Turn) -> None:
    """Start the next init container, or all others once those are done."""
    for name in next_to_start(turn.state):
        record = turn.container(name)
        if record.retry_at is None or record.retry_at <= turn.now:
            _start(turn, record)


def next_to_start(state: PodState) -> tuple[str, ...]:
    """Containers that wait for nothing but their back-off."""
    names = []
    began = _apps_began(state)
    for record in state.containers:
        if record.role == "ephemeral":
            continue
        if record.stage == "waiting" and not (record.role == "init" and began):
            names.append(record.name)
        done = record.exit is not None and record.exit.exit_code == 0
        ready = done if record.role == "init" else record.started
        if record.role != "app" and not ready and not began:
            break
    names += [c.name for c in state.containers if c.role == "ephemeral" and c.stage == "waiting"]
    return tuple(names)


def _apps_began(state: PodState) -> bool:
    """Init containers never run again once an app container has started."""
    return any(
        c.role == "app" and (c.stage != "waiting" or c.last_exit is not None)
        for c in state.containers
    )


def _start(turn: Turn, record: ContainerRecord) -> None:
    restarts = record.restarts
    current = instance_id(turn.state.uid, record.name, restarts)
    if record.last_exit is not None and record.last_exit.id == current:
        restarts += 1
    turn.set_container(
        record.name, stage="starting", restarts=restarts, retry_at=None, exit=None, stop=None,
        resources=turn.spec(record.name).resources or ResourceRequirements(), resizing=False,
        resize_error="", resize_at=None,
    )  # fmt: skip
    container_id = instance_id(turn.state.uid, record.name, restarts)
    turn.do(StartContainer(container=record.name, id=container_id, restarts=restarts))


def started(turn: Turn, record: ContainerRecord, event: ContainerStarted) -> None:
    """The instance runs."""
    name, spec = record.name, turn.spec(record.name)
    hook = spec.lifecycle is not None and spec.lifecycle.post_start is not None
    turn.set_container(
        name, stage="running", started_at=event.started_at, image_id=event.image_id, reason="",
        message="", refusals=0, started=False, ready=False, post_start=hook,
    )  # fmt: skip
    turn.do(RecordEvent("Normal", "Started", f"Started container {name}", name))
    if record.last_exit is not None and record.last_exit.id != event.id:
        turn.do(RemoveContainer(id=record.last_exit.id))
    if hook:
        timeout = grace_of(turn.state.pod)
        turn.do(RunHook(container=name, id=event.id, hook="postStart", timeout=timeout))
    else:
        pod_probes.begin(turn, name)


def refused(turn: Turn, record: ContainerRecord, event: ContainerRefused) -> None:
    """It could not be tried; wait, and say why."""
    delay = min(REFUSED_FIRST_SECONDS * 2 ** min(record.refusals, 20), REFUSED_MAX_SECONDS)
    reason, message = event.reason, event.message
    if record.refusals == 0:
        turn.do(RecordEvent("Warning", "Failed", f"Error: {reason}: {message}", record.name))
    elif reason == IMAGE_MISSING:
        reason = IMAGE_BACK_OFF
        message = f'Back-off pulling image "{turn.spec(record.name).image}": {message}'
    turn.set_container(
        record.name, stage="waiting", reason=reason, message=message,
        refusals=record.refusals + 1, retry_at=turn.now + delay,
    )  # fmt: skip


def retry(turn: Turn, *, failed: bool) -> None:
    """Something that refused containers may wait for has changed; with `failed` something that
    the pod reads, so that those in back-off start over, too."""
    for record in turn.state.containers:
        if record.stage != "waiting":
            continue
        if record.refusals > 0:
            turn.set_container(record.name, retry_at=turn.now)
        elif failed and record.last_exit is not None and record.retry_at is not None:
            turn.set_container(record.name, retry_at=turn.now, backoff=0.0)
            if record.retry_at > turn.now:
                text = f"What the pod reads has changed: container {record.name} starts at once"
                turn.do(RecordEvent("Normal", "BackOffReset", text, record.name))


# --- ending


def exited(turn: Turn, record: ContainerRecord, ended: Exit) -> None:
    """The current instance ended; restart it as its policy says, unless the pod ends."""
    turn.set_container(
        record.name, stage="exited", exit=ended, started=False, ready=False, probes=(),
        stop=None, post_start=False, reason="", message="", refusals=0,
        started_at=ended.started_at or record.started_at,
    )  # fmt: skip
    if ended.reason == "StartError":
        turn.do(RecordEvent("Warning", "Failed", f"Error: {ended.message}", record.name))
    if turn.state.end is None and restarts_after(turn.state, record, ended):
        _back_off(turn, turn.container(record.name), ended)


def restarts_after(state: PodState, record: ContainerRecord, ended: Exit) -> bool:
    """Whether the restart policy starts it again."""
    if record.role == "ephemeral":
        return False
    policy = "Always" if record.role == "sidecar" else state.pod.spec.restart_policy or "Always"
    if record.role == "init":
        return ended.exit_code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and ended.exit_code != 0)


def _back_off(turn: Turn, record: ContainerRecord, ended: Exit) -> None:
    ran = ended.finished_at - ended.started_at if ended.started_at else 0.0
    delay = 0.0 if ran >= BACKOFF_RESET_SECONDS else record.backoff
    following = min(max(delay * 2, BACKOFF_FIRST_SECONDS), BACKOFF_MAX_SECONDS)
    pod = turn.state.pod.metadata
    where = f"pod={pod.name}_{pod.namespace}({pod.uid})"
    message = f"back-off {delay:g}s restarting failed container={record.name} {where}"
    turn.set_container(
        record.name, stage="waiting", exit=None, last_exit=ended, backoff=following,
        retry_at=turn.now + delay, reason=CRASH_LOOP if delay else "",
        message=message if delay else "",
    )  # fmt: skip
    if delay:
        text = f"Back-off restarting failed container {record.name} in pod {pod.name}"
        turn.do(RecordEvent("Warning", "BackOff", text, record.name))


# --- stopping


def stop(turn: Turn, name: str, deadline: float, *, drained: bool) -> None:
    """Begin to stop a running instance: its preStop hook runs at once, signals follow."""
    record, spec = turn.container(name), turn.spec(name)
    if record.stage != "running":
        return
    hook = spec.lifecycle is not None and spec.lifecycle.pre_stop is not None
    hook = hook and deadline > turn.now
    turn.set_container(
        name, stage="stopping", stop=Stop(deadline=deadline, drained=drained, hook_done=not hook)
    )
    turn.do(RecordEvent("Normal", "Killing", f"Stopping container {name}", name))
    if hook:
        timeout = deadline - turn.now
        container_id = turn.id_of(record)
        turn.do(RunHook(container=name, id=container_id, hook="preStop", timeout=timeout))


def restart(turn: Turn, name: str, why: str) -> None:
    """Stop an unhealthy instance; its exit restarts it as the policy says."""
    record, spec = turn.container(name), turn.spec(name)
    if record.stage != "running":
        return
    grace = grace_of(turn.state.pod)
    for probe in (spec.liveness_probe, spec.startup_probe):
        if probe is not None and probe.termination_grace_period_seconds is not None:
            grace = float(probe.termination_grace_period_seconds)
    turn.do(RecordEvent("Normal", "Killing", f"Container {name} {why}, will be restarted", name))
    stop(turn, name, turn.now + grace, drained=True)
    turn.set_container(name, ready=False)


def replace_changed(turn: Turn, before: Pod) -> None:
    """Containers whose image is another than before start anew with it, at once. Besides it only
    their resources may change in place."""
    images = {c.name: c.image for c in (*before.spec.containers, *before.spec.init_containers)}
    for record in turn.state.containers:
        name = record.name
        if images.get(name, turn.spec(name).image) == turn.spec(name).image:
            continue
        if record.stage == "running" and restarts_after(turn.state, record, SUCCESS):
            turn.set_container(name, backoff=0.0)
            restart(turn, name, "has another image")
        elif record.stage == "waiting" and record.retry_at is not None:
            turn.set_container(name, retry_at=turn.now, backoff=0.0, refusals=0)


def hook_finished(turn: Turn, record: ContainerRecord, event: HookFinished) -> None:
    """A failed postStart ends the instance; a failed preStop is only told."""
    if event.error:
        reason = "FailedPostStartHook" if event.hook == "postStart" else "FailedPreStopHook"
        turn.do(RecordEvent("Warning", reason, event.error, record.name))
    if event.hook == "preStop" and record.stop is not None:
        turn.set_container(record.name, stop=replace(record.stop, hook_done=True))
    elif event.hook == "postStart" and record.post_start:
        turn.set_container(record.name, post_start=False)
        if event.error:
            restart(turn, record.name, "failed its postStart hook")
        elif record.stage == "running":
            pod_probes.begin(turn, record.name)


def advance_stop(turn: Turn, name: str) -> None:
    """SIGTERM when nothing holds it back any more, SIGKILL at the end of the grace period."""
    record = turn.container(name)
    halt = record.stop
    if record.stage != "stopping" or halt is None:
        return
    container_id = turn.id_of(record)
    if not halt.signalled:
        if _held_back(turn.state, record, halt) and turn.now < halt.deadline:
            return
        kill_at = max(halt.deadline, turn.now + KILL_WINDOW_SECONDS)
        turn.set_container(name, stop=replace(halt, signalled=True, kill_at=kill_at))
        lifecycle = turn.spec(name).lifecycle
        signal = (lifecycle.stop_signal if lifecycle else "") or SIGNAL_DEFAULT
        turn.do(SignalContainer(id=container_id, signal=signal))
    elif turn.now >= halt.kill_at:
        kill_at = turn.now + KILL_REPEAT_SECONDS
        turn.set_container(name, stop=replace(halt, kill_at=kill_at))
        turn.do(KillContainer(id=container_id))


def _held_back(state: PodState, record: ContainerRecord, halt: Stop) -> bool:
    if not halt.hook_done or not halt.drained:
        return True
    if record.role != "sidecar" or state.end is None:
        return False
    # Sidecars end after the containers they serve, in reverse order.
    index = next(i for i, c in enumerate(state.containers) if c.name == record.name)
    return any(
        c.stage in ("starting", "running", "stopping")
        for i, c in enumerate(state.containers)
        if c.role != "sidecar" or i > index
    )


def stop_times(record: ContainerRecord) -> list[float]:
    """Times at which `advance_stop` has something to do."""
    if record.stage != "stopping" or record.stop is None:
        return []
    return [record.stop.kill_at if record.stop.signalled else record.stop.deadline]


def shorten(turn: Turn, deadline: float) -> None:
    """The grace period ends earlier than thought."""
    for record in turn.state.containers:
        halt = record.stop
        if halt is None or halt.deadline <= deadline:
            continue
        kill_at = min(halt.kill_at, max(deadline, turn.now + KILL_WINDOW_SECONDS))
        turn.set_container(
            record.name,
            stop=replace(halt, deadline=deadline, kill_at=kill_at if halt.signalled else 0.0),
        )
