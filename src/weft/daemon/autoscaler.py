"""Runs the HorizontalPodAutoscalers: measures, decides, scales.

Nothing is measured while there is no autoscaler; nothing is forecast for those that do not ask.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import Node, ResourceQuota
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.autoscaling import SCALED, decide, measured
from weft.controllers.autoscaling_behavior import Memory
from weft.controllers.autoscaling_forecast import horizon
from weft.daemon.forecasts import Forecasts
from weft.daemon.usage import UsageSampler
from weft.lib.aio import now
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.execute import Executor
from weft.runtime.informer import Informers
from weft.telemetry.loads import loads
from weft.telemetry.readings import PodUsage, Readings, Usage
from weft.telemetry.traffic import BOUNDS_MS, Traffic

log = logging.getLogger("weft.daemon")

SYNC_SECONDS = 5.0
"""Between decisions (Kubernetes: 15)."""
LOAD_SECONDS = 15.0
"""Calls are counted over this time."""


class Autoscaler:
    """One loop for all autoscalers."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        recorder: EventRecorder,
        sampler: UsageSampler,
        *,
        traffic: Traffic,
        forecasts: Forecasts,
    ) -> None:
        self._informers = informers
        self._executor = Executor(client, recorder)
        self._sampler = sampler
        self._traffic = traffic
        self._forecasts = forecasts
        self._memories: dict[str, Memory] = {}
        needs: tuple[type[Struct], ...] = (HorizontalPodAutoscaler, Node, Pod, ResourceQuota)
        for cls in (*needs, *SCALED.values()):
            informers.add(cls)

    async def run(self) -> None:
        """For ever."""
        await self._informers.synced()
        while True:
            try:
                await self.turn()
            except Exception:
                log.exception("autoscaling failed")
            await asyncio.sleep(SYNC_SECONDS)

    async def turn(self) -> None:
        """Measure once and decide about every autoscaler."""
        scalers = self._informers.cache.list(HorizontalPodAutoscaler)
        if not scalers:
            self._memories = {}
            await self._forecasts.want({}, {})
            return
        readings = await self._read(scalers)
        kept: dict[str, Memory] = {}
        for scaler in scalers:
            uid = scaler.metadata.uid
            memory = self._forecasts.told(uid, self._memories.get(uid, Memory()))
            decision = decide(self._informers.cache, scaler, readings, memory, now())
            outcome = await self._executor.execute(decision.plan)
            if outcome.error is not None:
                log.warning("scaling refused: %s", outcome.error.message)
            kept[uid] = decision.memory if outcome.error is None else memory
        self._memories = kept
        wanted = {s.metadata.uid: h for s in scalers if (h := horizon(s.metadata.annotations))}
        await self._forecasts.want(wanted, {uid: m.history for uid, m in kept.items()})

    async def _read(self, scalers: Sequence[HorizontalPodAutoscaler]) -> Readings:
        cache = self._informers.cache
        asked = frozenset(uid for s in scalers for uid in measured(cache, s))
        edges = self._traffic.edges(now(), LOAD_SECONDS)
        calls = loads(edges, LOAD_SECONDS, BOUNDS_MS)
        return Readings(SYNC_SECONDS, await self._pods(asked), calls)

    async def _pods(self, asked: Collection[str]) -> Mapping[str, PodUsage]:
        """The usage of these pods since the last turn."""
        if not asked:
            return {}
        found = await self._sampler.read(patient=False)
        return {
            uid: PodUsage(
                found.at,
                {n: Usage(a.cpu_cores, a.memory_bytes) for n, a in containers.items()},
            )
            for uid, containers in found.containers.items()
            if uid in asked
        }
