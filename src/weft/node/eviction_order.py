"""Which pod goes when a node runs short, and what it is told. Pure.

Order and words are kubelet's.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from weft.node.pressure import (
    ALLOCATABLE,
    DISK,
    MEMORY,
    NODEFS,
    PIDS,
    RESOURCES,
    Observation,
    Signal,
    Threshold,
    shown,
)

CRITICAL_PRIORITY = 2_000_000_000
"""From this priority on a pod is never evicted (system-cluster-critical)."""


class Use(Struct, frozen=True):
    """What a container takes, or (of disk) a pod beside its containers."""

    memory: float = 0.0
    processes: int = 0
    disk: float = 0.0
    """Bytes of logs and of what it wrote to its own root."""
    inodes: int = 0


class Requests(Struct, frozen=True):
    """Bytes that a container asked for; 0 without a request."""

    memory: float = 0.0
    disk: float = 0.0


class Candidate(Struct, frozen=True):
    """A pod of the node that runs."""

    uid: str
    priority: int
    requests: Mapping[str, Requests]
    uses: Mapping[str, Use]
    """Container -> what it takes."""
    volumes: Use = Use()
    """Its local volumes."""

    @property
    def memory_above(self) -> float:
        return sum(u.memory for u in self.uses.values()) - self._asked("memory")

    @property
    def disk_above(self) -> float:
        used = sum(u.disk for u in self.uses.values()) + self.volumes.disk
        return used - self._asked("disk")

    @property
    def inodes(self) -> int:
        return sum(u.inodes for u in self.uses.values()) + self.volumes.inodes

    @property
    def processes(self) -> int:
        return sum(u.processes for u in self.uses.values())

    def _asked(self, what: str) -> float:
        return float(sum(getattr(r, what) for r in self.requests.values()))


def rank(signal: Signal, pods: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Who goes first. Pods of critical priority are not among them."""

    def order(pod: Candidate) -> tuple[float, ...]:
        if signal in (MEMORY, ALLOCATABLE):
            return (pod.memory_above <= 0, pod.priority, -pod.memory_above)
        if signal == PIDS:
            return (pod.priority, -pod.processes)
        if RESOURCES[signal] == "inodes":
            return (pod.inodes <= 0, pod.priority, -pod.inodes)
        return (pod.disk_above <= 0, pod.priority, -pod.disk_above)

    return tuple(sorted((p for p in pods if p.priority < CRITICAL_PRIORITY), key=order))


_COMPARED: Mapping[str, tuple[Callable[[Use], float], Callable[[Requests], float]]] = {
    "memory": (lambda use: use.memory, lambda request: request.memory),
    "ephemeral-storage": (lambda use: use.disk, lambda request: request.disk),
    "inodes": (lambda use: use.inodes, lambda request: 0),
}


def message(threshold: Threshold, seen: Observation, pod: Candidate) -> str:
    """Kubelet's words for the status and the Event of a pod that goes."""
    signal, resource = threshold.signal, RESOURCES[threshold.signal]
    wanted = shown(signal, threshold.amount.of(seen.capacity))
    text = (
        f"The node was low on resource: {resource}. Threshold quantity: {wanted}"
        f", available: {shown(signal, seen.available)}. "
    )
    if resource not in _COMPARED:
        return text
    used, asked = _COMPARED[resource]
    for name, use in pod.uses.items():
        request = asked(pod.requests.get(name, Requests()))
        if used(use) > request:
            text += (
                f"Container {name} was using {shown(signal, used(use))}, request is"
                f" {shown(signal, request)}, has larger consumption of {resource}. "
            )
    return text


# --- limits of local storage, whatever the node has left


class StorageLimits(Struct, frozen=True):
    """Bytes that a pod may have."""

    volumes: Mapping[str, tuple[float, str]] = {}
    """emptyDir -> its sizeLimit, also as written."""
    containers: Mapping[str, tuple[float, str]] = {}
    """Those with a limit of ephemeral storage."""


def over_limit(
    limits: StorageLimits,
    uses: Mapping[str, Use],
    volumes: Mapping[str, Use],
    in_memory: Mapping[str, Use],
) -> str:
    """Which limit a pod exceeds, in kubelet's words; "" for none. The volumes are its emptyDirs on
    disk and those in memory."""
    every = {**volumes, **in_memory}
    for name, (most, written) in limits.volumes.items():
        if every.get(name, Use()).disk > most > 0:
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{written}". '
    if not limits.containers:
        return ""
    together = sum(most for most, _ in limits.containers.values())
    if sum(u.disk for u in (*uses.values(), *volumes.values())) > together:
        text = shown(NODEFS, together)
        if len(limits.containers) == 1:
            text = next(iter(limits.containers.values()))[1]
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {text}. "
    for name, (most, written) in limits.containers.items():
        if uses.get(name, Use()).disk > most:
            return f'Container {name} exceeded its local ephemeral storage limit "{written}". '
    return ""


def is_disk(signal: Signal) -> bool:
    return signal in DISK
