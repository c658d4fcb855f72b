"""Forecasts for autoscalers, by a process of their own that runs only while somebody asks.

The library takes 4 s and 150 MB to load, a fit up to a second: nothing for the control plane.
"""

import asyncio
import contextlib
import os
import sys

import msgspec
from msgspec import Struct

from weft.controllers.autoscaling_forecast import Interval, Outlook, Question
from weft.lib.aio import ticks

START_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 30.0
RETRY_SECONDS = 60.0
"""After a failure of the process."""
ANSWER_BYTES_MAX = 1 << 20
COMMAND = (sys.executable, "-m", "weft.daemon.forecast_worker")


class ForecastFailed(Exception):
    """Says why, and what would help."""


class _Hello(Struct):
    ready: bool = False
    unable: str = ""
    missing: str = ""


class _Answer(Struct):
    expected: list[float] = []
    low: list[float] = []
    high: list[float] = []
    periods: list[int] = []
    error: str = ""


class Forecaster:
    """One question at a time."""

    def __init__(
        self, command: tuple[str, ...] = COMMAND, answer_seconds: float = ANSWER_SECONDS_MAX
    ) -> None:
        self._command = command
        self._answer_seconds = answer_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._broken: tuple[str, float] | None = None
        """Why the process failed, and when to try again."""

    async def ask(self, question: Question, start: float, step_seconds: float) -> Outlook:
        """The points from `start` on. Raises ForecastFailed."""
        if self._broken is not None and ticks() < self._broken[1]:
            raise ForecastFailed(self._broken[0])
        try:
            process = self._process or await self._started()
            async with asyncio.timeout(self._answer_seconds):
                line = await self._exchanged(process, msgspec.json.encode(question) + b"\n")
            answer = msgspec.json.decode(line, type=_Answer)
        except TimeoutError:
            raise await self._failed(f"no forecast within {self._answer_seconds:g} s") from None
        except (OSError, ValueError) as error:
            raise await self._failed(f"the forecasting process failed: {error}") from None
        if answer.error:
            raise ForecastFailed(f"the series cannot be forecast: {answer.error}")
        rows = zip(answer.expected, answer.low, answer.high, strict=True)
        points = tuple(Interval(*row) for row in rows)
        return Outlook(start, step_seconds, points, tuple(answer.periods))

    async def close(self) -> None:
        """End the process; a later question starts another."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        alone = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **alone},
            limit=ANSWER_BYTES_MAX,
        )
        async with asyncio.timeout(START_SECONDS_MAX):
            hello = msgspec.json.decode(await self._exchanged(process), type=_Hello)
        if hello.unable:
            text = f"forecasts need a library that is missing ({hello.unable})"
            raise await self._failed(f"{text}: pip install 'weft[forecast]', then restart weft")
        return process

    async def _exchanged(self, process: asyncio.subprocess.Process, line: bytes = b"") -> bytes:
        if process.stdin is None or process.stdout is None:
            raise OSError("it has no pipes")
        if line:
            process.stdin.write(line)
            await process.stdin.drain()
        answer = await process.stdout.readline()
        if not answer:
            raise OSError("it ended")
        return answer

    async def _failed(self, text: str) -> ForecastFailed:
        await self.close()
        self._broken = text, ticks() + RETRY_SECONDS
        return ForecastFailed(text)
