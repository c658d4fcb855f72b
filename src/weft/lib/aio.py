"""Tasks and time for the shell modules: kept tasks, reported failures, one clock."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("weft")


def now() -> float:
    """Seconds since the epoch; shells pass it to pure code."""
    return time.time()


def ticks() -> float:
    """Seconds on a clock that is never set: for waits and deadlines within this process."""
    return time.monotonic()


class Tasks:
    """A set of background tasks that end together.

    A task that fails is logged with its name, never lost; `close` cancels what still runs and
    waits for it.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closing = False

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start `coroutine`; `name` appears in logs and debuggers."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed name=%s error=%r", task.get_name(), error, exc_info=error)

    async def finish(self, coroutine: Coroutine[Any, Any, T], name: str) -> T:
        """Await a coroutine that runs to its end even when its caller is cancelled meanwhile.

        Its failure is the caller's; without a caller nobody hears of it.
        """
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio complains when the caller is gone

    async def close(self) -> None:
        """Cancel and await all tasks; idempotent."""
        self.closing = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
                # Awaiting an ended task does not yield: its callback may not have run yet.
                self._tasks.discard(task)
