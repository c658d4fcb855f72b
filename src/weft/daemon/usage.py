"""Measures what pods, and the machines of their nodes, use: when somebody asks.

Each node reads its own counters with its own monotonic clock; only differences between two readings
of one node are looked at, so clocks need not agree.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from weft.api.errors import ApiError
from weft.apiserver.usage import Amount, Usage
from weft.daemon.node_link import LinkDownError
from weft.daemon.node_links import NodeLinks
from weft.lib.aio import now, ticks
from weft.node.runtime import ContainerRuntime

METHOD = "usage"
"""What nodes are asked on their links."""
ANSWER_SECONDS_MAX = 2.0
"""A node that has not answered by then is left out."""
WINDOW_SECONDS_MIN = 1.0
"""Shorter windows tell little: then we wait."""
WINDOW_SECONDS_MAX = 60.0
"""Older readings are no longer about now."""
_TICKS_PER_SECOND = 100
_KIB = 1024


class Sample(Struct, frozen=True, array_like=True):
    """Processor seconds so far, and memory now."""

    at: float
    """By the monotonic clock of the node, seconds."""
    cpu_seconds: float
    memory_bytes: int


class Reading(Struct, frozen=True):
    """Of one node."""

    machine: Sample
    containers: Mapping[str, Sample] = {}
    """By container id (`<pod uid>_<container>_<attempt>`)."""
    memory_bytes: int = 0
    """Of the machine."""
    disk_used_bytes: int = 0
    """Of the file system that holds the data directory; what only root may fill counts as used."""
    disk_bytes: int = 0


Readings = Mapping[str, Reading]
"""By node."""


# --- reading


async def read_machine(runtime: ContainerRuntime, data_dir: str) -> Reading:
    """Of this machine's containers and of itself, now."""
    containers: dict[str, Sample] = {}
    for state in await runtime.list():
        if state.exit_code is not None or state.id.count("_") < 2:
            continue
        try:
            cpu, memory = await runtime.usage(state.id)
        except (LookupError, OSError):
            continue
        containers[state.id] = Sample(ticks(), cpu, memory)
    machine, memory_bytes = _machine()
    disk = os.statvfs(data_dir)
    size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    return Reading(machine, containers, memory_bytes, size - free, size)


async def read_joined(links: NodeLinks, own: str = "") -> Readings:
    """Of every joined node that answers in time."""

    async def remote(node: str) -> Reading | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return msgspec.convert(await links.call(node, METHOD), Reading)
        except (LinkDownError, ApiError, TimeoutError, msgspec.ValidationError):
            return None

    nodes = [node for node in links.nodes() if node != own]
    read = await asyncio.gather(*(remote(node) for node in nodes))
    return {node: r for node, r in zip(nodes, read, strict=True) if r is not None}


async def read_all(
    runtime: ContainerRuntime, data_dir: str, own: str, links: NodeLinks
) -> Readings:
    """Of this machine and of every joined node that answers in time."""
    local, others = await asyncio.gather(read_machine(runtime, data_dir), read_joined(links, own))
    return {own: local, **others}


def _machine() -> tuple[Sample, int]:
    """Busy seconds of all processors since boot and bytes in use (proc(5)); the bytes it has."""
    words = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    times = [int(word) for word in words]
    busy = sum(times) - times[3] - times[4]
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {line.partition(":")[0]: int(line.split()[1]) * _KIB for line in lines}
    used = memory["MemTotal"] - memory["MemAvailable"]
    return Sample(ticks(), busy / _TICKS_PER_SECOND, used), memory["MemTotal"]


# --- two readings


class UsageSampler:
    """Remembers the last reading. Whoever asks at a pace of its own has a sampler of its own, since
    each question ends the window of the last one. It is the UsageSource of the API server."""

    def __init__(
        self,
        measure: Callable[[], Awaitable[Readings]],
        bound: Callable[[], Mapping[str, str]],
    ) -> None:
        """`bound` gives the node of each pod, by uid: a node is believed about its own only."""
        self._measure = measure
        self._bound = bound
        self._last: Readings = {}
        self._turn = asyncio.Lock()

    async def read(self, *, patient: bool = True) -> Usage:
        """Since the last reading. What has none of late is measured over a second from now on, or
        left out when `patient` is false."""
        async with self._turn:
            before, after = self._last, await self._measure()
            if patient and (missing := missing_seconds(before, after)) > 0:
                before = _usable(before, after)
                await asyncio.sleep(missing)
                after = await self._measure()
            self._last = after
        return usage(before, after, self._bound())


def missing_seconds(before: Readings, after: Readings) -> float:
    """How long to wait until everything read has a window that tells something."""
    known = {node: _samples(before.get(node)) for node in after}
    spans = [
        _span(known[node].get(name), sample)
        for node, reading in after.items()
        for name, sample in _samples(reading).items()
    ]
    return WINDOW_SECONDS_MIN - min(spans, default=WINDOW_SECONDS_MIN)


def usage(before: Readings, after: Readings, bound: Mapping[str, str]) -> Usage:
    """What was used between them, by the pods that are bound to the node that tells of them."""
    containers: dict[str, dict[str, Amount]] = {}
    nodes: dict[str, Amount] = {}
    window = 0.0
    for node, reading in after.items():
        earlier = _samples(before.get(node))
        for name, sample in _samples(reading).items():
            first = earlier.get(name)
            seconds = _span(first, sample)
            if first is None or seconds <= 0:
                continue
            window = max(window, seconds)
            cores = max(0.0, sample.cpu_seconds - first.cpu_seconds) / seconds
            amount = Amount(cores, max(0, sample.memory_bytes))
            uid, _, rest = name.partition("_")
            if not name:
                nodes[node] = amount
            elif bound.get(uid) == node:
                containers.setdefault(uid, {})[rest.rpartition("_")[0]] = amount
    return Usage(now(), window, containers, nodes)


def _usable(before: Readings, after: Readings) -> Readings:
    """Where each window begins that ends after `after`."""

    known = {node: _samples(before.get(node)) for node in after}

    def chosen(node: str, name: str, sample: Sample) -> Sample:
        first = known[node].get(name)
        return first if first is not None and _span(first, sample) > 0 else sample

    return {
        node: Reading(
            chosen(node, "", reading.machine),
            {name: chosen(node, name, s) for name, s in reading.containers.items()},
        )
        for node, reading in after.items()
    }


def _samples(reading: Reading | None) -> Mapping[str, Sample]:
    """Containers by id, and the machine by the empty name."""
    return {} if reading is None else {**reading.containers, "": reading.machine}


def _span(first: Sample | None, last: Sample) -> float:
    """Seconds between them; 0 when they do not belong together (a machine that started anew)."""
    seconds = 0.0 if first is None else last.at - first.at
    return seconds if 0 < seconds <= WINDOW_SECONDS_MAX else 0.0
