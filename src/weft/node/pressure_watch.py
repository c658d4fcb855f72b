"""Looks at the node's memory and process ids, and ends pods before the kernel ends anything."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from weft.api.k8s.pod_v1 import Pod
from weft.lib.aio import ticks
from weft.lib.quantity import parse_quantity
from weft.node import pod_state as ps
from weft.node import pressure
from weft.node.agent_settings import MachineFacts
from weft.node.machine_facts import memory_limit, pids_max, working_set
from weft.node.pod_runner import PodRunner
from weft.node.pressure import MEMORY, PIDS, Candidate, Observation, Signal, Threshold, Use
from weft.node.runtime import ContainerRuntime

log = logging.getLogger("weft.node")

LOOK_SECONDS = 1.0
GONE_SECONDS_MAX = 30.0
"""Wait for a pod to be gone before looking whether that was enough."""
_OF_POD = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_([a-z0-9-]+)_[0-9]+")


class PressureWatch:
    """`run` until cancelled. `told` gets the pressures when they change, `noted` the resource
    whenever a threshold is first met."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        machine: MachineFacts,
        pods: Callable[[], Mapping[str, PodRunner]],
        thresholds: tuple[Threshold, ...],
        transition: float,
    ) -> None:
        self._runtime = runtime
        self._machine = machine
        self._pods = pods
        self._thresholds = thresholds
        self._transition = transition
        self._last_met: dict[Signal, float] = {}
        self._told: tuple[Signal, ...] = ()
        self.told: Callable[[tuple[Signal, ...]], None] = lambda _: None
        self.noted: Callable[[str], None] = lambda _: None

    async def run(self) -> None:
        while self._thresholds:
            try:
                await self.look()
            except (OSError, ValueError, LookupError) as error:
                log.warning("node pressure unknown error=%r", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Once: at most one pod goes, which may be enough."""
        seen = await asyncio.to_thread(observe, self._machine)
        met = pressure.met(self._thresholds, seen)
        for threshold in met:
            if threshold.signal not in self._last_met:
                self.noted(pressure.RESOURCES[threshold.signal])
            self._last_met[threshold.signal] = ticks()
        holding = pressure.pressures(self._last_met, ticks(), self._transition)
        self._last_met = {s: at for s, at in self._last_met.items() if s in holding}
        if holding != self._told:
            self._told = holding
            self.told(holding)
        if met:
            await self._relieve(met[0], seen[met[0].signal])

    async def _relieve(self, threshold: Threshold, seen: Observation) -> None:
        candidates = await self._candidates(threshold.signal)
        for candidate in pressure.rank(threshold.signal, candidates)[:1]:
            runner = self._pods().get(candidate.uid)
            if runner is None:
                continue
            text = pressure.message(threshold, seen, candidate)
            log.warning("pod evicted pod=%s why=%s", runner.state.pod.metadata.name, text)
            runner.feed(ps.Evicted(text))
            await _gone(runner.stopped.wait())

    async def _candidates(self, signal: Signal) -> list[Candidate]:
        """The pods that run, and what they take."""
        memory: dict[tuple[str, str], float] = {}
        for state in await self._runtime.list():
            found = _OF_POD.fullmatch(state.id)
            if state.exit_code is not None or found is None:
                continue
            try:
                memory[found[1], found[2]] = float((await self._runtime.usage(state.id))[1])
            except (LookupError, OSError):
                continue  # it has just ended
        counts = await asyncio.to_thread(processes) if signal == PIDS else {}
        return [
            _candidate(runner.state.pod, memory, counts)
            for runner in self._pods().values()
            if runner.state.end is None and any(uid == runner.uid for uid, _ in memory)
        ]


def _candidate(
    pod: Pod,
    memory: Mapping[tuple[str, str], float],
    counts: Mapping[tuple[str, str], int],
) -> Candidate:
    uid = pod.metadata.uid
    names = [c.name for c in (*pod.spec.init_containers, *pod.spec.containers)]
    running = [name for name in names if (uid, name) in memory]
    uses = {n: Use(memory[uid, n], counts.get((uid, n), 0)) for n in running}
    specs = {c.name: c for c in (*pod.spec.init_containers, *pod.spec.containers)}
    requests = {}
    for name in running:
        resources = specs[name].resources
        text = (resources.requests if resources is not None else {}).get("memory", "0")
        requests[name] = float(parse_quantity(text))
    return Candidate(uid, pod.spec.priority or 0, requests, uses)


async def _gone(gone: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(GONE_SECONDS_MAX):
            await gone
    except TimeoutError:
        log.warning("an evicted pod is not gone after %.0f s", GONE_SECONDS_MAX)


def observe(machine: MachineFacts) -> dict[Signal, Observation]:
    """What the machine, or the control group that weft runs in, has left. OSError, ValueError."""
    limit = memory_limit()
    left = pressure.memory_available(
        Path("/proc/meminfo").read_text(), limit, working_set() if limit is not None else 0
    )
    most = pids_max()
    running = pressure.threads_running(Path("/proc/loadavg").read_text())
    return {
        MEMORY: Observation(left, machine.memory_bytes),
        PIDS: Observation(max(0, most - running), most),
    }


def processes() -> dict[tuple[str, str], int]:
    """How many each container has, by its control group: (pod uid, container) -> number."""
    found: dict[tuple[str, str], int] = {}
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has just ended
        if (match := _OF_POD.search(text)) is not None:
            place = (match[1], match[2])
            found[place] = found.get(place, 0) + 1
    return found
