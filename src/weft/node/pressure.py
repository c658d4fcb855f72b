"""Node pressure: which thresholds are not kept, since when, and what follows. Pure.

Signals, rules, words and conditions are kubelet's (its eviction manager). What is below a hard
threshold costs a pod its place at once; below a soft one, after its grace period.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from weft.lib.durations import parse_duration
from weft.lib.quantity import parse_quantity

Signal = Literal[
    "memory.available", "allocatableMemory.available", "pid.available", "nodefs.available",
    "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
]  # fmt: skip
MEMORY: Signal = "memory.available"
ALLOCATABLE: Signal = "allocatableMemory.available"
PIDS: Signal = "pid.available"
NODEFS: Signal = "nodefs.available"
NODEFS_INODES: Signal = "nodefs.inodesFree"
IMAGEFS: Signal = "imagefs.available"
IMAGEFS_INODES: Signal = "imagefs.inodesFree"
DISK: frozenset[Signal] = frozenset((NODEFS, NODEFS_INODES, IMAGEFS, IMAGEFS_INODES))
EVICTION_HARD_DEFAULT = "memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%"
TRANSITION_SECONDS_DEFAULT = 300.0
RESOURCES: Mapping[Signal, str] = {
    MEMORY: "memory", ALLOCATABLE: "memory", PIDS: "pids", NODEFS: "ephemeral-storage",
    IMAGEFS: "ephemeral-storage", NODEFS_INODES: "inodes", IMAGEFS_INODES: "inodes",
}  # fmt: skip
_COUNTED = frozenset((PIDS, NODEFS_INODES, IMAGEFS_INODES))
"""Of which there are numbers, not bytes."""


class Amount(Struct, frozen=True):
    """Bytes or numbers; of what there is in all, if `share`."""

    value: float
    share: bool = False

    def of(self, capacity: float) -> float:
        return self.value * capacity if self.share else self.value


class Threshold(Struct, frozen=True):
    """Less than this must not be available."""

    signal: Signal
    amount: Amount
    grace: float | None = None
    """Seconds that it may be so; None: a hard one."""
    reclaim: Amount = Amount(0.0)
    """So much more must be available before it counts as kept again."""


class Observation(Struct, frozen=True):
    """What is there of a resource, and what there is in all."""

    available: float
    capacity: float


class Options(Struct, frozen=True):
    """As kubelet's options of these names have them."""

    hard: str = EVICTION_HARD_DEFAULT
    soft: str = ""
    soft_grace_period: str = ""
    minimum_reclaim: str = ""


def thresholds(options: Options, allocatable: bool = False) -> tuple[Threshold, ...]:
    """ValueError says which option is wrong. With `allocatable`, a hard threshold of memory also
    holds for what pods may have together."""
    reclaims = parse_amounts(options.minimum_reclaim)
    graces = parse_times(options.soft_grace_period)
    found = [Threshold(s, a, None, reclaims.get(s, Amount(0.0))) for s, a in parse(options.hard)]
    for signal, amount in parse(options.soft):
        if signal not in graces:
            raise ValueError(f"{signal}: --eviction-soft needs --eviction-soft-grace-period for it")
        kept = reclaims.get(signal, Amount(0.0))
        found.append(Threshold(signal, amount, graces[signal], kept))
    if allocatable:
        pods = [t for t in found if t.signal == MEMORY and t.grace is None]
        found += [Threshold(ALLOCATABLE, t.amount, None, t.reclaim) for t in pods]
    return tuple(found)


def parse(text: str) -> tuple[tuple[Signal, Amount], ...]:
    """Thresholds as kubelet's --eviction-hard has them. Raises ValueError."""
    found: dict[Signal, Amount] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, less, amount = part.partition("<")
        if not less:
            raise ValueError(f"`{part}`: write it like memory.available<100Mi or pid.available<5%")
        signal = _signal(name, part)
        if signal in found:
            raise ValueError(f"{signal} stands twice")
        found[signal] = _amount(signal, amount, part)
    return tuple(found.items())


def parse_amounts(text: str) -> dict[Signal, Amount]:
    """As kubelet's --eviction-minimum-reclaim has them. ValueError."""
    pairs = _pairs(text, "memory.available=50Mi").items()
    return {signal: _amount(signal, amount, f"{signal}={amount}") for signal, amount in pairs}


def parse_times(text: str) -> dict[Signal, float]:
    """As kubelet's --eviction-soft-grace-period has them. ValueError."""
    found: dict[Signal, float] = {}
    for signal, time in _pairs(text, "memory.available=1m30s").items():
        try:
            found[signal] = parse_duration(time)
        except ValueError:
            raise ValueError(f"`{signal}={time}`: `{time}` is no time like 1m30s") from None
    return found


def _pairs(text: str, example: str) -> dict[Signal, str]:
    found: dict[Signal, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equal, value = part.partition("=")
        if not equal:
            raise ValueError(f"`{part}`: write it like {example}")
        signal = _signal(name, part)
        if signal in found:
            raise ValueError(f"{signal} stands twice")
        found[signal] = value
    return found


def _signal(name: str, part: str) -> Signal:
    allowed = [s for s in RESOURCES if s != ALLOCATABLE]
    signal = next((s for s in allowed if s == name), None)
    if signal is None:
        raise ValueError(f"`{part}`: there is no signal {name}; there are {', '.join(allowed)}")
    return signal


def _amount(signal: Signal, amount: str, part: str) -> Amount:
    try:
        share = amount.endswith("%")
        value = float(amount[:-1]) / 100 if share else float(parse_quantity(amount))
    except ValueError:
        raise ValueError(f"`{part}`: `{amount}` is neither a quantity nor a percentage") from None
    if not 0 <= value < float("inf") or (share and value > 1):
        raise ValueError(f"`{part}`: `{amount}` is out of range")
    return Amount(value, share)


# --- from one look to the next


class State(Struct, frozen=True):
    """What is remembered."""

    first: Mapping[Threshold, float] = {}
    """Since when thresholds are not kept."""
    due: tuple[Threshold, ...] = ()
    conditions: Mapping[str, float] = {}
    """When what is behind a condition was last seen."""


class Step(Struct, frozen=True):
    state: State
    holding: tuple[str, ...]
    """Conditions of the node."""
    news: tuple[Threshold, ...]
    """That are due now and were not before."""

    @property
    def due(self) -> tuple[Threshold, ...]:
        """What to do something about; memory first, as nothing lasts without it."""
        return self.state.due


def step(
    state: State,
    wanted: Iterable[Threshold],
    seen: Mapping[Signal, Observation],
    now: float,
    transition: float,
) -> Step:
    """After one look. A condition holds for some time after it was last seen, so that pods do not
    come and go."""
    met = [t for t in wanted if not kept(t, seen) or (t in state.due and not relieved(t, seen))]
    first = {t: state.first.get(t, now) for t in met}
    due = [t for t in met if now - first[t] >= (t.grace or 0.0)]
    due.sort(key=lambda t: t.signal not in (MEMORY, ALLOCATABLE))
    conditions = {**state.conditions, **{_CONDITIONS[t.signal]: now for t in met}}
    conditions = {c: at for c, at in conditions.items() if now - at < transition or at == now}
    holding = tuple(c for c in _SAID if c in conditions)
    news = tuple(t for t in due if t not in state.due)
    return Step(State(first, tuple(due), conditions), holding, news)


def kept(threshold: Threshold, seen: Mapping[Signal, Observation]) -> bool:
    """What cannot be seen counts as kept."""
    o = seen.get(threshold.signal)
    return o is None or o.available >= threshold.amount.of(o.capacity)


def relieved(threshold: Threshold, seen: Mapping[Signal, Observation]) -> bool:
    """Kept, with the minimum that is to be reclaimed on top."""
    o = seen.get(threshold.signal)
    wanted = (threshold.amount, threshold.reclaim)
    return o is None or o.available >= sum(a.of(o.capacity) for a in wanted)


_CONDITIONS: Mapping[Signal, str] = {
    MEMORY: "MemoryPressure", ALLOCATABLE: "MemoryPressure", PIDS: "PIDPressure",
    **dict.fromkeys(DISK, "DiskPressure"),
}  # fmt: skip
_SAID: Mapping[str, tuple[str, str]] = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}


def condition(kind: str, holding: Sequence[str]) -> tuple[str, str] | None:
    """Reason and message of a condition of the node that holds; None: it does not."""
    return _SAID.get(kind) if kind in holding else None


def shown(signal: Signal, amount: float) -> str:
    """As kubelet writes amounts."""
    if signal in _COUNTED:
        return str(int(amount))
    return f"{int(amount) // 1024}Ki" if amount else "0"


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
