"""Runs the Canaries: asks webhooks and metrics what a step depends on, sends alerts.

The controller loop plans them; a plan that needs an answer is made again when it is there.
"""

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from msgspec import Struct

from weft.api.flagger.canary import Canary
from weft.api.snapshot import Snapshot
from weft.controllers import canaries, canary_alerts
from weft.controllers.analysis_runs import Answer
from weft.controllers.canary_alerts import Message
from weft.controllers.canary_steps import Turn, advance, answered
from weft.controllers.canary_view import Question, seconds_of
from weft.daemon.measuring import Measurer, Unanswered
from weft.daemon.mesh_loop import MeshLoop
from weft.daemon.object_status import in_force
from weft.lib.aio import Tasks
from weft.node.dialing import Dialer
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.informer import Informers
from weft.runtime.loop import ControllerLoop
from weft.runtime.plan import NOTHING, Key, Plan, RecordEvent
from weft.telemetry.traffic import Traffic
from weft.xds.server import AdsServer

log = logging.getLogger("weft.daemon")

HOOK_SECONDS, ALERT_SECONDS = 10.0, 10.0
STATUS_MAX = 202
"""Answers of webhooks above it are refusals."""
REFUSAL_BYTES_MAX = 512
"""What is repeated of a refusal."""


class _Known(Struct):
    """What is remembered of a Canary."""

    ticked_at: float | None
    answers: dict[str, Answer]
    asked: set[str]


class Canaries:
    """One controller loop, and what it waits for."""

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, traffic: Traffic,
        dialer: Dialer, *, mesh: MeshLoop, ads: AdsServer,
    ) -> None:  # fmt: skip
        self._cache = informers.cache
        self._recorder = recorder
        self._in_force = partial(in_force, informers.cache, mesh, ads)
        self._measurer = Measurer(informers.cache, traffic, dialer)
        self._tasks = Tasks()
        self._known: dict[str, _Known] = {}
        """By uid."""
        self.loop = ControllerLoop(canaries.controller(self.plan), client, informers, recorder)

    async def run(self) -> None:
        """For ever; whoever starts this starts the loop."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._tasks.close()
            await self._measurer.close()

    def plan(self, snapshot: Snapshot, key: Key, moment: float) -> Plan:
        """The next step of a Canary, or nothing while somebody is asked."""
        canary = snapshot.get(Canary, key.name, key.namespace)
        if canary is None:
            alive = {c.metadata.uid for c in snapshot.list(Canary)}
            self._known = {uid: k for uid, k in self._known.items() if uid in alive}
            return NOTHING
        known = self._known.setdefault(canary.metadata.uid, _Known(None, {}, set()))
        turn = advance(
            snapshot, canary, known.answers, moment,
            ticked_at=known.ticked_at, in_force=self._in_force,
        )  # fmt: skip
        if turn.question is not None:
            if turn.question.key not in known.asked:
                known.asked.add(turn.question.key)
                work = self._ask(key, known, turn.question)
                self._tasks.spawn(work, f"canary-asks-{key.namespace}/{key.name}")
            return NOTHING
        if turn.ticked:
            known.ticked_at, known.answers = moment, {}
        self._tell(canary, turn, moment)
        return turn.plan

    async def _ask(self, key: Key, known: _Known, question: Question) -> None:
        answer = Answer(error="it was cut off")
        try:
            answer = await answer_to(self._measurer, question)
        finally:
            known.asked.discard(question.key)
            known.answers[question.key] = answer
            self.loop.wake(key)

    # ------------------------------------------------------------------ who is told

    def _tell(self, canary: Canary, turn: Turn, moment: float) -> None:
        messages: list[Message] = []
        for notice in turn.notices:
            messages += canary_alerts.alerts(self._cache, canary, notice)
        for action in turn.plan.actions:
            if isinstance(action, RecordEvent):
                messages += canary_alerts.events(canary, action, moment)
        if messages:
            work = self._send(messages, canary.metadata.namespace)
            self._tasks.spawn(work, f"canary-tells-{canary.metadata.name}")
        for question in turn.later:
            self._tasks.spawn(self._ask_later(canary, question), f"canary-asks-{question.key}")

    async def _send(self, messages: Iterable[Message], namespace: str) -> None:
        """In order: an alert that cannot be sent stops nothing. Addresses are secrets."""
        for message in messages:
            problem = message.problem
            if not problem:
                try:
                    status, _ = await self._measurer.post(
                        message.url, message.body, namespace, ALERT_SECONDS,
                        headers=message.headers,
                    )  # fmt: skip
                    problem = "" if status <= STATUS_MAX else f"status {status}"
                except Unanswered as error:
                    problem = type(error).__name__ if message.url in str(error) else str(error)
            if problem:
                log.warning("canary message not sent to=%s error=%s", message.to, problem)

    async def _ask_later(self, canary: Canary, question: Question) -> None:
        answer = await answer_to(self._measurer, question)
        self._recorder.record(answered(canary, question, answer))


async def answer_to(measurer: Measurer, question: Question) -> Answer:
    """Of a metric, or of a webhook, which is asked again as often as it says."""
    if question.metric is not None:
        return await measurer.ask(question.metric, question.namespace)
    hook = question.webhook
    assert hook is not None
    seconds = seconds_of(hook.timeout, HOOK_SECONDS)
    error = ""
    for _ in range(1 + (hook.retries or 0)):
        try:
            status, body = await measurer.post(
                hook.url, question.body, question.namespace, seconds,
                insecure=hook.disable_tls,
            )  # fmt: skip
        except Unanswered as problem:
            error = str(problem)
            continue
        if status <= STATUS_MAX:
            return Answer()
        text = body[:REFUSAL_BYTES_MAX].decode(errors="replace").strip()
        error = text or f"status {status}"
    return Answer(error=error)
