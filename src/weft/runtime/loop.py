"""The controller loop: changes wake keys, keys are planned, plans are carried out.

One key is planned by one at a time, and not again before the snapshot shows what its last plan
wrote. Failures back off; a plan function that raises is a failure of its key, not of the loop.
Plans are given the time of day; waits are counted in ticks, which nobody sets back.
"""

import asyncio
import logging
from collections.abc import Iterable

from msgspec import Struct

from weft.api.snapshot import meta
from weft.lib.aio import Tasks, now, ticks
from weft.runtime.barrier import Expectation, is_met
from weft.runtime.client import Client
from weft.runtime.controller import Controller, ToKeys
from weft.runtime.events import EventRecorder
from weft.runtime.execute import Executor
from weft.runtime.informer import Informers
from weft.runtime.plan import Key, Plan
from weft.runtime.workqueue import WorkQueue

log = logging.getLogger("weft.runtime")

CONCURRENT_KEYS_MAX = 16
"""Keys of one controller whose plans are carried out at the same time."""
BARRIER_SECONDS_MAX = 10.0
"""How long a key waits for the snapshot to show its own writes; then it is planned anyway."""
PLAN_SLICE_SECONDS = 0.005
"""Planning yields to everything else in the process after this long."""
REQUEUE_SECONDS_MIN = 0.01
"""A plan that asks to be planned again sooner waits this long."""
EXPECTED_CODES = (404, 409)
"""Refusals that only say that the snapshot was behind; not worth a warning."""


class _Barrier(Struct, frozen=True):
    expectations: tuple[Expectation, ...]
    deadline: float


class ControllerLoop:
    """Runs one controller. Its classes are added to `informers` on construction."""

    def __init__(
        self,
        controller: Controller,
        client: Client,
        informers: Informers,
        recorder: EventRecorder,
        *,
        concurrency: int = CONCURRENT_KEYS_MAX,
    ) -> None:
        self.controller = controller
        self._informers = informers
        self._executor = Executor(client, recorder)
        self._concurrency = concurrency
        self._queue: WorkQueue[Key] = WorkQueue()
        self._barriers: dict[Key, _Barrier] = {}
        self._parked: set[Key] = set()
        self._progressed = False
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        self._running = 0
        self._maps: dict[type[Struct], list[ToKeys]] = {}
        self._maps.setdefault(controller.primary, []).append(controller.primary_keys or _own_key)
        for watch in controller.watches:
            self._maps.setdefault(watch.cls, []).append(watch.to_keys)
        for cls in controller.classes:
            informers.add(cls)
        for cls in controller.observed:
            informers.cache.observe(cls)
        informers.subscribe(self._on_change, self._on_progress)

    @property
    def backlog(self) -> int:
        """Keys that wait, are delayed or are being worked on."""
        return len(self._queue) + self._running

    def start(self) -> None:
        """Begin; the first plan waits until the informers have listed all classes."""
        self._tasks.spawn(self._run(), name=f"controller-{self.controller.name}")

    async def close(self) -> None:
        """Stop; a plan that is being carried out is cut off between two requests."""
        await self._tasks.close()

    def wake(self, key: Key) -> None:
        """Plan `key` soon, whatever the reason."""
        self._queue.add(key, ticks())
        self._wake.set()

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        for to_keys in self._maps.get(cls, ()):
            for obj in (before, after):
                if obj is not None:
                    self._add_all(self._keys(to_keys, obj))

    def _on_progress(self, cls: type[Struct]) -> None:
        if self._parked:
            self._progressed = True
            self._wake.set()

    def _keys(self, to_keys: ToKeys, obj: Struct) -> Iterable[Key]:
        try:
            return tuple(to_keys(obj, self._informers.cache))
        except Exception:
            log.exception("mapping failed controller=%s", self.controller.name)
            return ()

    def _add_all(self, keys: Iterable[Key]) -> None:
        at = ticks()
        for key in keys:
            self._queue.add(key, at)
            self._wake.set()

    async def _run(self) -> None:
        await self._informers.synced(self.controller.classes)
        for cls, maps in self._maps.items():
            for obj in self._informers.cache.list(cls):
                for to_keys in maps:
                    self._add_all(self._keys(to_keys, obj))
        while True:
            self._wake.clear()
            self._unpark()
            slice_end = ticks() + PLAN_SLICE_SECONDS
            while self._running < self._concurrency:
                key = self._queue.pop(ticks())
                if key is None:
                    break
                self._plan(key)
                if ticks() >= slice_end:
                    await asyncio.sleep(0)
                    slice_end = ticks() + PLAN_SLICE_SECONDS
            await self._sleep()

    async def _sleep(self) -> None:
        """Until something wakes the loop or a delayed key is due."""
        due = self._queue.next_at() if self._running < self._concurrency else None
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - ticks())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _unpark(self) -> None:
        if not self._progressed:
            return
        self._progressed = False
        for key in [key for key in self._parked if not self._unmet(key)]:
            self._parked.discard(key)
            self._queue.add(key, ticks())

    def _unmet(self, key: Key) -> tuple[Expectation, ...]:
        """What the snapshot does not show yet of what `key` wrote; forgets what it shows."""
        barrier = self._barriers.get(key)
        if barrier is None:
            return ()
        cache = self._informers.cache
        unmet = tuple(e for e in barrier.expectations if not is_met(e, cache))
        if unmet:
            self._barriers[key] = _Barrier(unmet, barrier.deadline)
        else:
            del self._barriers[key]
        return unmet

    def _plan(self, key: Key) -> None:
        """Plan a popped key; with actions, go on in a task."""
        at = ticks()
        if unmet := self._unmet(key):
            deadline = self._barriers[key].deadline
            if at < deadline:
                self._parked.add(key)
                self._queue.add_after(key, deadline - at, at)
                self._queue.release(key, at)
                return
            log.warning(
                "own writes not seen controller=%s key=%s/%s missing=%s",
                self.controller.name, key.namespace, key.name, unmet,
            )  # fmt: skip
            del self._barriers[key]
        self._parked.discard(key)
        try:
            plan = self.controller.plan(self._informers.cache, key, now())
        except Exception:
            wait = self._queue.fail(key, at)
            log.exception(
                "plan failed controller=%s key=%s/%s retry_seconds=%.2f",
                self.controller.name, key.namespace, key.name, wait,
            )  # fmt: skip
            return
        if plan.actions:
            self._running += 1
            self._tasks.spawn(self._execute(key, plan), name=f"{self.controller.name}-{key.name}")
        else:
            self._finish(key, plan)

    async def _execute(self, key: Key, plan: Plan) -> None:
        failed = True
        try:
            outcome = await self._executor.execute(plan)
            if outcome.expectations:
                deadline = ticks() + BARRIER_SECONDS_MAX
                self._barriers[key] = _Barrier(outcome.expectations, deadline)
            if outcome.error is not None:
                level = logging.DEBUG if outcome.error.code in EXPECTED_CODES else logging.WARNING
                log.log(
                    level, "action refused controller=%s key=%s/%s error=%s",
                    self.controller.name, key.namespace, key.name, outcome.error.message,
                )  # fmt: skip
            failed = outcome.error is not None or outcome.already_exists
        finally:
            self._running -= 1
            if failed:
                self._queue.fail(key, ticks())
            else:
                self._finish(key, plan)
            self._wake.set()

    def _finish(self, key: Key, plan: Plan) -> None:
        at = ticks()
        if plan.requeue_after is not None:
            self._queue.add_after(key, max(plan.requeue_after, REQUEUE_SECONDS_MIN), at)
        self._queue.done(key, at)


def _own_key(obj: Struct, _snapshot: object) -> tuple[Key, ...]:
    metadata = meta(obj)
    return (Key(metadata.namespace, metadata.name),)
