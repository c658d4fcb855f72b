"""Containers whose CPU and memory change while they run. Pure.

What a container has in force is in its record; what it shall have is in the pod's spec. The node
refuses what it has no room for: for good (Infeasible) or for now (Deferred). Source: Kubernetes,
"Resize CPU and Memory Resources assigned to Containers".
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from weft.api.k8s.container_v1 import Container, ResourceRequirements
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodSpec
from weft.api.pod_resizes import DEFERRED, IN_PROGRESS, INFEASIBLE, PENDING, counted_spec
from weft.lib.quantity import parse_quantity
from weft.node import pod_containers
from weft.node.pod_state import (
    ContainerRecord,
    ContainerResized,
    PodState,
    RecordEvent,
    ResizeContainer,
    spec_of,
)
from weft.node.pod_turn import Turn

RETRY_SECONDS = 5.0
"""After a change that could not be made, such as less memory than is used."""
_RESIZABLE = ("app", "sidecar")
_NOTHING = ResourceRequirements()
_COUNTED = ("cpu", "memory")


def wanted_of(container: Container | None) -> ResourceRequirements:
    found = container.resources if container is not None else None
    return found or _NOTHING


def differing(state: PodState) -> list[ContainerRecord]:
    """Running containers that have something else in force than the spec says."""
    return [
        c for c in state.containers
        if c.role in _RESIZABLE and c.stage == "running" and c.stop is None
        and c.resources is not None and c.resources != wanted_of(spec_of(state.pod, c.name))
    ]  # fmt: skip


def advance(turn: Turn) -> None:
    """Begin the changes that may be made now."""
    if turn.state.end is not None or turn.state.unfit is not None:
        return
    for record in differing(turn.state):
        if record.resizing or (record.resize_at is not None and record.resize_at > turn.now):
            continue
        again = pod_containers.restarts_after(turn.state, record, pod_containers.SUCCESS)
        if again and restarts(turn.spec(record.name), record.resources or _NOTHING):
            turn.set_container(record.name, backoff=0.0)
            pod_containers.restart(turn, record.name, "is resized")
            continue
        turn.set_container(record.name, resizing=True)
        turn.do(ResizeContainer(record.name, turn.id_of(record)))


def restarts(spec: Container, has: ResourceRequirements) -> bool:
    """Whether a resource changes whose policy asks for a restart."""
    wanted = wanted_of(spec)
    policies = {p.resource_name: p.restart_policy for p in spec.resize_policy}
    return any(
        policies.get(name) == "RestartContainer"
        and (wanted.limits.get(name), wanted.requests.get(name))
        != (has.limits.get(name), has.requests.get(name))
        for name in _COUNTED
    )


def resized(turn: Turn, record: ContainerRecord, event: ContainerResized) -> None:
    """It was tried."""
    if event.error:
        if event.error != record.resize_error:
            turn.do(RecordEvent("Warning", "ResizeError", event.error, record.name))
        turn.set_container(
            record.name, resizing=False, resize_error=event.error,
            resize_at=turn.now + RETRY_SECONDS,
        )  # fmt: skip
        return
    turn.set_container(
        record.name, resizing=False, resize_error="", resize_at=None, resources=event.resources
    )
    if not differing(turn.state):
        text = f"Pod resize completed: container {record.name}"
        turn.do(RecordEvent("Normal", "ResizeCompleted", text, record.name))


def times(state: PodState) -> list[float]:
    return [c.resize_at for c in differing(state) if c.resize_at is not None and not c.resizing]


def conditions(state: PodState) -> list[PodCondition]:
    """PodResizePending or PodResizeInProgress, as long as something differs."""
    if state.end is not None:
        return []
    differ = differing(state)
    if not differ:
        return []
    if state.unfit is not None:
        reason, message = state.unfit
        return [PodCondition(type=PENDING, status="True", reason=reason, message=message)]
    error = next((c.resize_error for c in differ if c.resize_error), "")
    reason = "Error" if error else ""
    return [PodCondition(type=IN_PROGRESS, status="True", reason=reason, message=error)]


def shown(record: ContainerRecord) -> ResourceRequirements | None:
    """What the status says that it has in force."""
    found = record.resources
    running = record.stage in ("running", "stopping") and record.role in _RESIZABLE
    return found if running and found is not None and (found.limits or found.requests) else None


# --- room on the node


def unfit(
    pod: Pod, others: Iterable[Pod], capacity: Mapping[str, Decimal]
) -> tuple[str, str] | None:
    """Why the node cannot give the pod what it asks for: (reason, message)."""
    asked = requests(pod.spec)
    taken = [
        requests(counted_spec(p)) for p in others if p.status.phase not in ("Succeeded", "Failed")
    ]
    for name in _COUNTED:
        if name not in capacity:
            continue
        told = f"requested: {_told(name, asked[name])}, capacity: {_told(name, capacity[name])}"
        used = sum((each[name] for each in taken), Decimal(0))
        if asked[name] > capacity[name]:
            return INFEASIBLE, f"Node didn't have enough capacity: {name}, {told}"
        if used + asked[name] > capacity[name]:
            used_text = f"{told}, used: {_told(name, used)}"
            return DEFERRED, f"Node didn't have enough resource: {name}, {used_text}"
    return None


def requests(spec: PodSpec) -> dict[str, Decimal]:
    """Of its containers and sidecars together."""
    total = dict.fromkeys(_COUNTED, Decimal(0))
    sidecars = (c for c in spec.init_containers if c.restart_policy == "Always")
    for container in (*spec.containers, *sidecars):
        for name, value in wanted_of(container).requests.items():
            if name in total:
                try:
                    total[name] += parse_quantity(value)
                except ValueError:
                    continue
    return total


def _told(name: str, amount: Decimal) -> str:
    """CPU in thousandths, memory in bytes, as Kubernetes tells them."""
    return str(int(amount * 1000) if name == "cpu" else int(amount))
