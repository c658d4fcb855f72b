"""Node pressure: when memory or process ids run out, which pod goes. Pure.

Signals, order of pods, words and conditions are kubelet's (its eviction manager). Hard thresholds
only: whatever is below one costs a pod its place at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from weft.lib.quantity import parse_quantity

Signal = Literal["memory.available", "pid.available"]
MEMORY: Signal = "memory.available"
PIDS: Signal = "pid.available"
EVICTION_HARD_DEFAULT = "memory.available<100Mi"
TRANSITION_SECONDS_DEFAULT = 300.0
CRITICAL_PRIORITY = 2_000_000_000
"""From this priority on a pod is never evicted (system-cluster-critical)."""
REASON = "Evicted"
RESOURCES: Mapping[Signal, str] = {MEMORY: "memory", PIDS: "pids"}


class Threshold(Struct, frozen=True):
    """Less than this must not be available."""

    signal: Signal
    amount: float
    """Bytes or processes; of what there is in all, if `share`."""
    share: bool = False

    def quantity(self, capacity: float) -> float:
        return self.amount * capacity if self.share else self.amount


class Observation(Struct, frozen=True):
    """What is there of a resource, and what there is in all."""

    available: float
    capacity: float


class Use(Struct, frozen=True):
    """What a container, or a whole pod, takes."""

    memory: float = 0.0
    processes: int = 0


class Candidate(Struct, frozen=True):
    """A pod of the node that runs."""

    uid: str
    priority: int
    requests: Mapping[str, float]
    """Container -> bytes that it asked for; 0 without a request."""
    uses: Mapping[str, Use]

    @property
    def above_request(self) -> float:
        return sum(u.memory for u in self.uses.values()) - sum(self.requests.values())

    @property
    def processes(self) -> int:
        return sum(u.processes for u in self.uses.values())


def parse(text: str) -> tuple[Threshold, ...]:
    """Thresholds as kubelet's --eviction-hard has them. Raises ValueError."""
    found: dict[str, Threshold] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, less, amount = part.partition("<")
        signal = next((s for s in RESOURCES if s == name), None)
        if signal is None or not less:
            raise ValueError(f"`{part}`: write it like {EVICTION_HARD_DEFAULT} or pid.available<5%")
        if signal in found:
            raise ValueError(f"{signal} stands twice")
        found[signal] = _threshold(signal, amount, part)
    return tuple(found.values())


def _threshold(signal: Signal, amount: str, part: str) -> Threshold:
    try:
        share = amount.endswith("%")
        value = float(amount[:-1]) / 100 if share else float(parse_quantity(amount))
    except ValueError:
        raise ValueError(f"`{part}`: `{amount}` is neither a quantity nor a percentage") from None
    if not 0 <= value < float("inf") or (share and value > 1):
        raise ValueError(f"`{part}`: `{amount}` is out of range")
    return Threshold(signal, value, share)


def met(
    thresholds: Iterable[Threshold], seen: Mapping[Signal, Observation]
) -> tuple[Threshold, ...]:
    """The thresholds that are not kept; memory first, as nothing lasts without it."""
    found = [
        t for t in thresholds
        if (o := seen.get(t.signal)) is not None and o.available < t.quantity(o.capacity)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda t: t.signal != MEMORY))


def pressures(
    last_met: Mapping[Signal, float], now: float, transition: float
) -> tuple[Signal, ...]:
    """Signals whose condition holds: for some time after the threshold was last met, so that pods
    do not come and go."""
    return tuple(s for s in RESOURCES if s in last_met and now - last_met[s] < transition)


def rank(signal: Signal, pods: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Who goes first. Pods of critical priority are not among them."""
    orders: Mapping[Signal, Callable[[Candidate], tuple[float, ...]]] = {
        MEMORY: lambda pod: (pod.above_request <= 0, pod.priority, -pod.above_request),
        PIDS: lambda pod: (pod.priority, -pod.processes),
    }
    may_go = (pod for pod in pods if pod.priority < CRITICAL_PRIORITY)
    return tuple(sorted(may_go, key=orders[signal]))


def message(threshold: Threshold, seen: Observation, pod: Candidate) -> str:
    """Kubelet's words for the status and the Event of a pod that goes."""
    wanted = _shown(threshold.signal, threshold.quantity(seen.capacity))
    text = (
        f"The node was low on resource: {RESOURCES[threshold.signal]}. Threshold quantity: {wanted}"
        f", available: {_shown(threshold.signal, seen.available)}. "
    )
    if threshold.signal != MEMORY:
        return text
    for name, use in pod.uses.items():
        request = pod.requests.get(name, 0.0)
        if use.memory > request:
            text += (
                f"Container {name} was using {_shown(MEMORY, use.memory)}, request is"
                f" {_shown(MEMORY, request)}, has larger consumption of memory. "
            )
    return text


def _shown(signal: Signal, amount: float) -> str:
    if signal == PIDS:
        return str(int(amount))
    return f"{int(amount) // 1024}Ki" if amount else "0"


_HOLDS: Mapping[str, tuple[Signal, str, str]] = {
    "MemoryPressure": (MEMORY, "KubeletHasInsufficientMemory",
                       "kubelet has insufficient memory available"),
    "PIDPressure": (PIDS, "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}  # fmt: skip


def condition(kind: str, holding: Sequence[Signal]) -> tuple[str, str] | None:
    """Reason and message of a condition of the node that holds; None: it does not."""
    found = _HOLDS.get(kind)
    return found[1:] if found is not None and found[0] in holding else None


# --- what the kernel says


def memory_available(meminfo: str, limit: int | None = None, working_set: int = 0) -> int:
    """Bytes, of /proc/meminfo; below a limit of a control group what is left of that, if less."""
    rows = (line.partition(":") for line in meminfo.splitlines())
    free = next((int(value.split()[0]) * 1024 for name, _, value in rows
                 if name == "MemAvailable"), 0)  # fmt: skip
    return free if limit is None else min(free, max(0, limit - working_set))


def threads_running(loadavg: str) -> int:
    """Of the whole machine, of /proc/loadavg: its fourth field is `running/all`."""
    return int(loadavg.split()[3].partition("/")[2])
