"""Looks at what the node has left, and ends pods before the kernel ends anything."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from weft.lib.aio import ticks
from weft.node import pod_state as ps
from weft.node import pressure, reserved, storage_usage
from weft.node.agent_settings import AgentSettings, ImageSpace, MachineFacts
from weft.node.eviction_order import Candidate, is_disk, message, over_limit, rank
from weft.node.machine_facts import pids_max
from weft.node.node_usage import Taken, candidate, machine_left, memory_taken, processes
from weft.node.oci.unpack import remove_tree
from weft.node.pod_runner import PodRunner
from weft.node.pressure import PIDS, Observation, Signal, Threshold
from weft.node.reserved import PodLimits
from weft.node.runtime import ContainerRuntime, PodsUsage
from weft.node.storage_usage import PodFiles

log = logging.getLogger("weft.node")

LOOK_SECONDS = 1.0
GONE_SECONDS_MAX = 30.0
"""Wait for a pod to be gone, beyond its grace period, before looking whether that was enough."""
LIMIT_AGAIN_SECONDS = 60.0
IMAGES_SECONDS = 60.0
"""Between two looks at images and the disk they are on."""
STORAGE_SECONDS_MIN = 2.0
STORAGE_SHARE_MAX = 0.05
"""Of the time, measuring what pods with limits have on disk may take."""


class PressureWatch:
    """`run` until cancelled. `told` gets the conditions of the node that hold when they change,
    `noted` reason and text of Events about the node."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        machine: MachineFacts,
        settings: AgentSettings,
        pods: Callable[[], Mapping[str, PodRunner]],
        images: ImageSpace | None = None,
    ) -> None:
        """ValueError: thresholds or what is reserved are wrong."""
        self._runtime = runtime
        self._machine = machine
        self._settings = settings
        self._pods = pods
        self._images = images
        self._limits = _limits(settings, machine)
        allocatable = self._limits.memory_bytes is not None
        self._thresholds = pressure.thresholds(settings.eviction, allocatable)
        self._state = pressure.State()
        self._told: tuple[str, ...] = ()
        self._storage_at = self._images_at = self._limit_at = 0.0
        self.told: Callable[[tuple[str, ...]], None] = lambda _: None
        self.noted: Callable[[str, str], None] = lambda *_: None

    async def run(self) -> None:
        while True:
            if ticks() >= self._limit_at:
                await self._limit_pods()
            try:
                await self.look()
            except (OSError, ValueError, LookupError) as error:
                log.warning("node pressure unknown error=%r", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _limit_pods(self) -> None:
        """What all pods may have together; a limit of before is lifted. Refused while they have
        more, it is tried again."""
        self._limit_at = math.inf
        try:
            await self._runtime.limit_pods(self._limits.memory_bytes, self._limits.pids)
        except Exception as error:
            if self._limits != PodLimits():
                self._limit_at = ticks() + LIMIT_AGAIN_SECONDS
                text = f"what is reserved is not enforced on pods: {error}"
                log.warning(text)
                self.noted("NodeAllocatableNotEnforced", text)

    async def look(self) -> None:
        """Once: at most one pod goes for what the node lacks, which may be enough."""
        seen = await self._observe()
        transition = self._settings.eviction_transition_seconds
        found = pressure.step(self._state, self._thresholds, seen, ticks(), transition)
        self._state = found.state
        for threshold in found.news:
            resource = pressure.RESOURCES[threshold.signal]
            self.noted("EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if found.holding != self._told:
            self._told = found.holding
            self.told(found.holding)
        await self._look_at_storage()
        await self._look_at_images()
        if found.due:
            await self._relieve(found.due[0], seen[found.due[0].signal])

    async def _observe(self) -> dict[Signal, Observation]:
        images = Path(self._images.directory if self._images is not None else "")
        node = Path(self._settings.data_dir)
        found = await asyncio.to_thread(machine_left, self._machine, node, images)
        if self._limits != PodLimits():
            used = await self._pods_usage()
            if used.memory is not None and used.memory_limit is not None:
                left = max(0, used.memory_limit - used.memory)
                found[pressure.ALLOCATABLE] = Observation(left, used.memory_limit)
            if used.pids is not None and used.pids_limit is not None:
                left = max(0, used.pids_limit - used.pids)
                if left < found[PIDS].available:
                    found[PIDS] = Observation(left, used.pids_limit)
        return found

    async def _pods_usage(self) -> PodsUsage:
        try:
            return await self._runtime.pods_usage()
        except Exception as error:
            log.debug("what pods have together is unknown error=%r", error)
            return PodsUsage()

    # --- what the node lacks

    async def _relieve(self, threshold: Threshold, seen: Observation) -> None:
        if is_disk(threshold.signal):
            await self._reclaim()
            if pressure.relieved(threshold, await self._observe()):
                return
        hard = threshold.grace is None
        grace = 0.0 if hard else self._settings.eviction_max_pod_grace_seconds
        for one in rank(threshold.signal, await self._candidates(threshold.signal))[:1]:
            await self._evict(one.uid, message(threshold, seen, one), grace)

    async def _evict(self, uid: str, text: str, grace: float = 0.0) -> None:
        runner = self._pods().get(uid)
        if runner is None:
            return
        log.warning("pod evicted pod=%s why=%s", runner.state.pod.metadata.name, text)
        runner.feed(ps.Evicted(text, grace))
        if await _gone(runner.stopped.wait(), grace + GONE_SECONDS_MAX):
            await asyncio.to_thread(remove_tree, runner.directory)

    async def _reclaim(self) -> None:
        """What can go before any pod has to: files of what has ended, images nobody needs."""
        present = {s.id for s in await self._runtime.list() if s.exit_code is None}
        for runner in tuple(self._pods().values()):
            if runner.stopped.is_set():
                await asyncio.to_thread(storage_usage.remove_finished, _files(runner))
            elif runner.state.end is None:
                pod = runner.state.pod
                await asyncio.to_thread(storage_usage.remove_ended, pod, _files(runner), present)
        if self._images is not None:
            gone = await asyncio.to_thread(self._images.free, self._images_used(), ticks())
            _tell_removed(gone)

    async def _candidates(self, signal: Signal) -> list[Candidate]:
        """The pods that run, and what they take."""
        memory = await memory_taken(self._runtime)
        counts = await asyncio.to_thread(processes) if signal == PIDS else {}
        found = []
        for runner in tuple(self._pods().values()):
            if runner.state.end is not None or all(uid != runner.uid for uid, _ in memory):
                continue
            taken = Taken(memory, counts)
            if is_disk(signal):
                pod, files = runner.state.pod, _files(runner)
                disk = await asyncio.to_thread(storage_usage.disk_use, pod, files)
                taken = Taken(memory, counts, disk)
            found.append(candidate(runner.state.pod, taken))
        return found

    # --- limits of single pods, and images

    async def _look_at_storage(self) -> None:
        """Pods that have more on disk than their limits allow go, whatever the node has left."""
        begun = ticks()
        if begun < self._storage_at:
            return
        for runner in tuple(self._pods().values()):
            pod = runner.state.pod
            limits = storage_usage.storage_limits(pod)
            if runner.state.end is not None or not (limits.volumes or limits.containers):
                continue
            used = await asyncio.to_thread(storage_usage.disk_use, pod, _files(runner))
            if text := over_limit(limits, used.containers, used.volumes, used.in_memory):
                await self._evict(runner.uid, text)
        took = ticks() - begun
        self._storage_at = ticks() + max(STORAGE_SECONDS_MIN, took / STORAGE_SHARE_MAX)

    async def _look_at_images(self) -> None:
        if self._images is None or ticks() < self._images_at:
            return
        self._images_at = ticks() + IMAGES_SECONDS
        _tell_removed(await asyncio.to_thread(self._images.look, self._images_used(), ticks()))

    def _images_used(self) -> frozenset[str]:
        """By pods of this node that have not ended."""
        return frozenset(
            container.image
            for runner in self._pods().values()
            if not runner.stopped.is_set()
            for container in storage_usage.all_containers(runner.state.pod)
        )


def _limits(settings: AgentSettings, machine: MachineFacts) -> PodLimits:
    if not settings.enforce_allocatable:
        return PodLimits()
    return reserved.pod_limits(settings.reserved, machine.memory_bytes, pids_max())


def _files(runner: PodRunner) -> PodFiles:
    return PodFiles(runner.directory, runner.log_directory, runner.memory_directory())


def _tell_removed(names: list[str]) -> None:
    if names:
        log.warning("images removed, the disk is full images=%s", ",".join(names))


async def _gone(gone: Awaitable[object], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await gone
    except TimeoutError:
        log.warning("an evicted pod is not gone after %.0f s", seconds)
        return False
    return True
