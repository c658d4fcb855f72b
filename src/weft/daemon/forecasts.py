"""Keeps what is known of the demand of autoscalers that look ahead, and has it forecast."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from weft.controllers.autoscaling_behavior import Memory
from weft.controllers.autoscaling_forecast import TIERS, History, Outlook, Tier, question
from weft.daemon.forecaster import Forecaster, ForecastFailed
from weft.lib.aio import Tasks, ticks
from weft.lib.files import replace_file

log = logging.getLogger("weft.daemon")

FILE = "demand-history.msgpack"
SAVE_SECONDS = 300.0
"""So much of the past is lost when this process is killed: patterns of days survive."""


class Forecasts:
    """`want` says for whom; `told` adds what is known by now."""

    def __init__(self, data_dir: Path, tasks: Tasks, forecaster: Forecaster | None = None) -> None:
        self._file = data_dir / FILE
        self._tasks = tasks
        self._forecaster = forecaster or Forecaster()
        self._loop: asyncio.Task[None] | None = None
        self._wanted: Mapping[str, float] = {}
        """Autoscaler -> seconds."""
        self._histories: Mapping[str, History] = {}
        self._outlooks: dict[str, dict[float, Outlook]] = {}
        self._unable: dict[str, str] = {}
        self._due: dict[tuple[str, Tier], float] = {}
        self._saved_at = ticks()
        self._past = self._read()

    def told(self, uid: str, memory: Memory) -> Memory:
        """With what is known of its future, and after a restart of its past."""
        if (past := self._past.pop(uid, None)) is not None and not memory.history.tracks[0].values:
            memory = replace(memory, history=past)
        outlooks = tuple(self._outlooks.get(uid, {}).values())
        return replace(memory, outlooks=outlooks, unable=self._unable.get(uid, ""))

    async def want(self, wanted: Mapping[str, float], histories: Mapping[str, History]) -> None:
        """From now on; the process that forecasts runs while anybody wants something."""
        self._wanted = wanted
        self._histories = {uid: histories[uid] for uid in wanted if uid in histories}
        for found in (self._outlooks, self._unable):
            for uid in [u for u in found if u not in wanted]:
                del found[uid]
        self._due = {key: at for key, at in self._due.items() if key[0] in wanted}
        if not wanted:
            if self._loop is not None:
                self._loop.cancel()
                self._loop = None
            return
        if self._loop is None or self._loop.done():
            self._loop = self._tasks.spawn(self._run(), "forecasts")
        if ticks() >= self._saved_at + SAVE_SECONDS:
            self._saved_at = ticks()
            await asyncio.to_thread(self._save, dict(self._histories))

    async def _run(self) -> None:
        try:
            while True:
                for uid in list(self._wanted):
                    for tier in TIERS:
                        await self._refresh(uid, tier)
                await asyncio.sleep(1.0)
        finally:
            await self._forecaster.close()
            self._save(self._histories)

    async def _refresh(self, uid: str, tier: Tier) -> None:
        history, seconds = self._histories.get(uid), self._wanted.get(uid)
        if history is None or seconds is None or ticks() < self._due.get((uid, tier), 0.0):
            return
        track = history.tracks[TIERS.index(tier)]
        asked = question(tier, track, seconds)
        if asked is None:
            return
        self._due[uid, tier] = ticks() + tier.refit_seconds
        start = (track.last + 1) * tier.step_seconds
        try:
            outlook = await self._forecaster.ask(asked, start, tier.step_seconds)
        except ForecastFailed as error:
            if uid not in self._unable:
                log.warning("no forecast autoscaler=%s error=%s", uid, error)
            self._unable[uid] = str(error)
            self._outlooks.pop(uid, None)
            return
        if uid in self._wanted:
            self._unable.pop(uid, None)
            self._outlooks.setdefault(uid, {})[tier.step_seconds] = outlook

    def _read(self) -> dict[str, History]:
        try:
            return msgspec.msgpack.decode(self._file.read_bytes(), type=dict[str, History])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the history of demand cannot be read, it begins anew error=%r", error)
            return {}

    def _save(self, histories: Mapping[str, History]) -> None:
        try:
            replace_file(self._file, msgspec.msgpack.encode(histories))
        except OSError as error:
            log.warning("the history of demand is not kept error=%r", error)
