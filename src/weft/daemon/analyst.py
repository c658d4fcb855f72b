"""Runs the AnalysisRuns: measures when it is time, judges, writes what came of it.

It alone writes their status, so it goes by what it wrote last, not by what the informer shows.
"""

import asyncio
import base64
import binascii
import logging

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.analysis import FINISHED, AnalysisRun, AnalysisRunStatus, Metric
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Secret
from weft.controllers import analysis_runs as runs
from weft.controllers.analysis_runs import Answer
from weft.controllers.analysis_templates import secrets_of
from weft.controllers.support.patches import status_patch
from weft.daemon.measuring import Measurer
from weft.lib.aio import Tasks, now
from weft.node.dialing import Dialer
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.execute import Executor
from weft.runtime.informer import Informers
from weft.runtime.plan import Action, Plan, RecordEvent
from weft.telemetry.traffic import Traffic

log = logging.getLogger("weft.daemon")

IDLE_SECONDS = 5.0
"""Between looks without a reason."""
LOOK_SECONDS_MIN = 0.05
MEASUREMENTS_MAX = 32
"""Under way at the same time."""


class _Answered(Struct, frozen=True):
    uid: str
    metric: str
    answer: Answer
    began: float


class Analyst:
    """One loop for all runs."""

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, traffic: Traffic,
        dialer: Dialer,
    ) -> None:  # fmt: skip
        self._informers = informers
        self._executor = Executor(client, recorder)
        self._measurer = Measurer(informers.cache, traffic, dialer)
        self._written: dict[str, AnalysisRunStatus] = {}
        """By uid."""
        self._asked: set[tuple[str, str]] = set()
        self._answers: list[_Answered] = []
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        self._free = asyncio.Semaphore(MEASUREMENTS_MAX)
        for cls in (AnalysisRun, Job, Secret):
            informers.add(cls)
        informers.subscribe(self._on_change)

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if cls is AnalysisRun or (cls is Job and self._written):
            self._wake.set()

    async def run(self) -> None:
        """For ever."""
        await self._informers.synced()
        try:
            while True:
                self._wake.clear()
                wait = IDLE_SECONDS
                try:
                    wait = await self.turn()
                except Exception:
                    log.exception("analysis failed")
                try:
                    async with asyncio.timeout(max(LOOK_SECONDS_MIN, min(wait, IDLE_SECONDS))):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            await self._tasks.close()
            await self._measurer.close()

    async def turn(self) -> float:
        """Look at every run that goes on. Seconds until something is due."""
        answers, self._answers = self._answers, []
        waits = [IDLE_SECONDS]
        alive = set()
        for run in self._informers.cache.list(AnalysisRun):
            uid = run.metadata.uid
            status = self._written.get(uid, run.status)
            if run.metadata.deletion_timestamp or run.status.phase in FINISHED:
                continue
            alive.add(uid)
            if status.phase not in FINISHED:
                own = [a for a in answers if a.uid == uid]
                waits.append(await self._look(run, status, own))
        self._written = {uid: s for uid, s in self._written.items() if uid in alive}
        return min(waits)

    async def _look(
        self, run: AnalysisRun, status: AnalysisRunStatus, answers: list[_Answered]
    ) -> float:
        uid, moment = run.metadata.uid, now()
        for found in answers:
            status = runs.measured(
                run, status, found.metric, found.answer, began=found.began, now=moment
            )
        asked = [name for owner, name in self._asked if owner == uid]
        due = runs.due(
            self._informers.cache, replace(run, status=status), self._values(run), asked, moment
        )
        if status.phase in FINISHED:
            due = runs.Due(status)
        actions: list[Action] = [*due.actions, *status_patch(run, due.status)]
        if due.status.phase in FINISHED:
            kind = "Normal" if due.status.phase == "Successful" else "Warning"
            text = f"Analysis completed: {due.status.phase} {due.status.message}".rstrip()
            reason = f"AnalysisRun{due.status.phase}"
            actions.append(RecordEvent(run, kind, reason, text))  # type: ignore[arg-type]
        outcome = await self._executor.execute(Plan(tuple(actions)))
        if outcome.error is not None:
            # What was measured is kept in mind, and written with the next look.
            log.debug("analysis not written run=%s error=%s", uid, outcome.error.message)
            self._written[uid] = status
            return LOOK_SECONDS_MIN
        self._written[uid] = due.status
        for metric in due.questions:
            self._asked.add((uid, metric.name))
            work = self._measure(run, metric)
            self._tasks.spawn(work, f"measure-{run.metadata.name}-{metric.name}")
        return IDLE_SECONDS if due.wait is None else due.wait

    async def _measure(self, run: AnalysisRun, metric: Metric) -> None:
        uid, began = run.metadata.uid, now()
        answer = Answer(error="it was cut off")
        try:
            async with self._free:
                answer = await self._measurer.ask(metric, run.metadata.namespace)
                answer = replace(answer, error=self._without_secrets(run, answer.error))
        finally:
            self._asked.discard((uid, metric.name))
            self._answers.append(_Answered(uid, metric.name, answer, began))
            self._wake.set()

    def _without_secrets(self, run: AnalysisRun, text: str) -> str:
        """A URL that could not be asked may hold some."""
        values = self._values(run) if text else {}
        for name, _ in secrets_of(run.spec.args):
            if values.get(name):
                text = text.replace(values[name], "***")
        return text

    def _values(self, run: AnalysisRun) -> dict[str, str]:
        """Of all arguments; those whose Secret is missing are left out, which metrics report."""
        values = {a.name: a.value for a in run.spec.args if a.value is not None}
        for name, reference in secrets_of(run.spec.args):
            secret = self._informers.cache.get(Secret, reference.name, run.metadata.namespace)
            data = secret.data.get(reference.key) if secret is not None else None
            if data is not None:
                try:
                    values[name] = base64.b64decode(data).decode()
                except (binascii.Error, ValueError):
                    continue
        return values
