"""Taking over a pod that an earlier agent ran: from what is found on the node and what the pod's
status says. Pure."""

from msgspec.structs import replace

from weft.api.k8s.container_v1 import ResourceRequirements
from weft.api.k8s.pod_v1 import ContainerStateTerminated, ContainerStatus
from weft.lib.timefmt import parse_rfc3339
from weft.node import pod_containers, pod_probes
from weft.node.pod_state import (
    LISTENERS_READY_SECONDS,
    Adopted,
    AnnotatePod,
    AwaitListeners,
    ContainerRecord,
    Exit,
    FoundContainer,
    RemoveContainer,
    Sandbox,
    instance_id,
    parse_instance_id,
)
from weft.node.pod_turn import Turn

UNKNOWN_EXIT_CODE = 137
UNKNOWN_REASON = "ContainerStatusUnknown"
UNKNOWN_MESSAGE = "The container could not be located when the pod was taken over"


def adopted(turn: Turn, event: Adopted) -> None:
    """The first event of every pod; a new pod has nothing to adopt."""
    newest = _newest(turn, event)
    for record in turn.state.containers:
        _adopt_container(turn, record, newest.get(record.name))
    if not event.address:
        if turn.state.pod.status.phase in ("Succeeded", "Failed"):
            turn.set(sandbox=Sandbox(stage="deleted"))
        return
    ran = bool(newest) or turn.state.host_network
    turn.set(
        sandbox=Sandbox(
            stage="ready" if ran else "waiting", address=event.address, netns=event.netns,
            annotations=event.annotations,
            deadline=None if ran else turn.now + LISTENERS_READY_SECONDS,
        )
    )  # fmt: skip
    present = turn.state.pod.metadata.annotations
    missing = {k: v for k, v in event.annotations.items() if present.get(k) != v}
    if missing:
        turn.do(AnnotatePod(missing))
    if not ran:
        turn.do(AwaitListeners())


def _newest(turn: Turn, event: Adopted) -> dict[str, FoundContainer]:
    """The latest instance of each container; older ones are forgotten."""
    newest: dict[str, tuple[int, FoundContainer]] = {}
    for found in event.containers:
        parsed = parse_instance_id(found.id)
        if parsed is None or parsed[1] not in turn.names():
            continue
        _, name, restarts = parsed
        if name in newest and newest[name][0] > restarts:
            turn.do(RemoveContainer(id=found.id))
            continue
        if name in newest:
            turn.do(RemoveContainer(id=newest[name][1].id))
        newest[name] = (restarts, found)
    return {name: found for name, (_, found) in newest.items()}


def _adopt_container(turn: Turn, record: ContainerRecord, found: FoundContainer | None) -> None:
    status = _status_of(turn, record.name)
    record = _with_history(record, status)
    if found is None:
        turn.set(containers=_replaced(turn, record))
        ended = _last_known(turn, record, status)
        if ended is not None:
            pod_containers.exited(turn, record, ended)
        return
    parsed = parse_instance_id(found.id)
    restarts = parsed[2] if parsed else record.restarts
    image_id = status.image_id if status is not None else ""
    record = replace(
        record, restarts=restarts, stage="running", started_at=found.started_at, image_id=image_id
    )
    spec = turn.spec(record.name).resources or ResourceRequirements()
    said = status.resources if status is not None else None
    record = replace(record, resources=said or spec)
    known = status is not None and status.container_id.endswith(found.id)
    if known and status is not None and found.exit is None:
        record = replace(record, started=bool(status.started), ready=bool(status.ready))
    turn.set(containers=_replaced(turn, record))
    if found.exit is not None:
        pod_containers.exited(turn, record, found.exit)
    else:
        pod_probes.begin(turn, record.name)


def _replaced(turn: Turn, record: ContainerRecord) -> tuple[ContainerRecord, ...]:
    return tuple(record if c.name == record.name else c for c in turn.state.containers)


def _status_of(turn: Turn, name: str) -> ContainerStatus | None:
    status = turn.state.pod.status
    every = (
        *status.init_container_statuses,
        *status.container_statuses,
        *status.ephemeral_container_statuses,
    )
    return next((s for s in every if s.name == name), None)


def _with_history(record: ContainerRecord, status: ContainerStatus | None) -> ContainerRecord:
    """The record with restart count and last exit as its status tells them. Back-off starts anew,
    as after a restart of kubelet: otherwise pods would wait when their node comes back."""
    if status is None:
        return record
    restarts = status.restart_count or 0
    last = status.last_state.terminated if status.last_state is not None else None
    last_exit = _exit_of(last, "") if last is not None else None
    return replace(record, restarts=restarts, last_exit=last_exit)


def _last_known(turn: Turn, record: ContainerRecord, status: ContainerStatus | None) -> Exit | None:
    """How an instance ended that the runtime no longer knows."""
    state = status.state if status is not None else None
    if state is None:
        return None
    current = instance_id(turn.state.uid, record.name, record.restarts)
    if state.terminated is not None:
        return _exit_of(state.terminated, current)
    if state.running is None:
        return None
    return Exit(
        id=current, exit_code=UNKNOWN_EXIT_CODE, reason=UNKNOWN_REASON, message=UNKNOWN_MESSAGE,
        started_at=parse_rfc3339(state.running.started_at), finished_at=turn.now,
    )  # fmt: skip


def _exit_of(terminated: ContainerStateTerminated, otherwise: str) -> Exit:
    return Exit(
        id=terminated.container_id.rpartition("//")[2] or otherwise,
        exit_code=terminated.exit_code or 0,
        reason=terminated.reason,
        signal=terminated.signal or 0,
        message=terminated.message,
        started_at=parse_rfc3339(terminated.started_at),
        finished_at=parse_rfc3339(terminated.finished_at),
    )
