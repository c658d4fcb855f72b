"""Measures what the pods of this machine, and the machine itself, use: when somebody asks."""

import asyncio
from pathlib import Path

from msgspec import Struct

from weft.apiserver.usage import Amount, Usage
from weft.lib.aio import now, ticks
from weft.node.podhost_client import PodhostRuntime

WINDOW_SECONDS_MIN = 1.0
"""Shorter windows tell little: then we wait."""
WINDOW_SECONDS_MAX = 60.0
"""Older readings are no longer about now."""
_TICKS_PER_SECOND = 100
_KIB = 1024


class _Reading(Struct, frozen=True):
    """Processor seconds so far, and memory now."""

    at: float
    containers: dict[str, tuple[float, int]]
    machine: tuple[float, int]


class UsageSampler:
    """The UsageSource of one node."""

    def __init__(self, runtime: PodhostRuntime, node: str) -> None:
        self._runtime = runtime
        self._node = node
        self._last: _Reading | None = None
        self._turn = asyncio.Lock()

    async def read(self) -> Usage:
        """Since the last reading; without a recent one, over a second from now on."""
        async with self._turn:
            before = self._last
            if before is None or ticks() - before.at > WINDOW_SECONDS_MAX:
                before = await self._reading()
            if (missing := WINDOW_SECONDS_MIN - (ticks() - before.at)) > 0:
                await asyncio.sleep(missing)
            after = self._last = await self._reading()
        return _usage(self._node, before, after)

    async def _reading(self) -> _Reading:
        containers: dict[str, tuple[float, int]] = {}
        for state in await self._runtime.list():
            if state.exit_code is not None or state.id.count("_") < 2:
                continue
            try:
                containers[state.id] = await self._runtime.usage(state.id)
            except (LookupError, OSError):
                continue
        return _Reading(ticks(), containers, _machine())


def _machine() -> tuple[float, int]:
    """Busy seconds of all processors since boot, and bytes in use (proc(5))."""
    words = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    times = [int(word) for word in words]
    busy = sum(times) - times[3] - times[4]
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {line.partition(":")[0]: int(line.split()[1]) * _KIB for line in lines}
    return busy / _TICKS_PER_SECOND, memory["MemTotal"] - memory["MemAvailable"]


def _usage(node: str, before: _Reading, after: _Reading) -> Usage:
    seconds = after.at - before.at
    containers: dict[str, dict[str, Amount]] = {}
    for container, (used, memory) in after.containers.items():
        had = before.containers.get(container, (0.0, 0))[0]
        uid, _, rest = container.partition("_")
        cores = max(0.0, used - had) / seconds
        containers.setdefault(uid, {})[rest.rpartition("_")[0]] = Amount(cores, memory)
    cores = max(0.0, after.machine[0] - before.machine[0]) / seconds
    return Usage(now(), seconds, containers, {node: Amount(cores, after.machine[1])})
