"""Forecasts by the real library in its own process, and what happens without it."""

import asyncio
import math
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from weft.controllers.autoscaling_behavior import Memory
from weft.controllers.autoscaling_forecast import (
    TIERS,
    History,
    Outlook,
    Question,
    ahead,
    remembered,
)
from weft.daemon.forecaster import Forecaster, ForecastFailed
from weft.daemon.forecasts import Forecasts
from weft.lib.aio import Tasks, now

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forecaster() -> AsyncIterator[Forecaster]:
    found = Forecaster()
    yield found
    await found.close()


def day(step: int) -> float:
    """A day of people's calls in steps of 15 minutes: nights, and a peak in the evening."""
    hour = (step % 96) / 4
    return 10 + 8 * math.sin((hour - 8) / 24 * 2 * math.pi) + 6 * math.exp(-((hour - 20) ** 2))


async def asked(forecaster: Forecaster, values: Sequence[float], steps: int = 12) -> Outlook:
    return await forecaster.ask(Question(tuple(values), steps, TIERS[2].periods), 0.0, 1.0)


def wrong(outlook: Outlook, truth: Sequence[float]) -> float:
    """By how much, on average."""
    points = outlook.points[: len(truth)]
    return sum(abs(p.expected - t) for p, t in zip(points, truth, strict=True)) / len(truth)


async def test_trends_go_on(forecaster: Forecaster) -> None:
    found = await asked(forecaster, [1 + i / 4 for i in range(60)])
    assert wrong(found, [1 + i / 4 for i in range(60, 72)]) < 0.5
    assert all(p.low <= p.expected <= p.high for p in found.points)


async def test_days_repeat(forecaster: Forecaster) -> None:
    noise = random.Random(4)
    past = [day(i) + noise.gauss(0, 0.8) for i in range(96 * 4 + 20)]
    truth = [day(i) for i in range(len(past), len(past) + 12)]
    found = await asked(forecaster, past)
    assert found.periods == (96,)
    assert max(truth) - past[-1] > 3, "the day begins"
    assert wrong(found, truth) < 1.5
    inside = sum(p.low <= t <= p.high for p, t in zip(found.points, truth, strict=True))
    assert inside >= 8


async def test_shorter_patterns_are_found(forecaster: Forecaster) -> None:
    past = [3.0 + 17.0 * (i % 40 < 4) for i in range(235)]  # every 40 steps; soon again
    found = await asked(forecaster, past)
    assert found.periods == (40,)
    peak = ahead([Outlook(0.0, 5.0, found.points, found.periods)], 0.0, 60.0)
    assert peak is not None
    assert peak.replicas >= 18


async def test_what_does_not_change_stays(forecaster: Forecaster) -> None:
    found = await asked(forecaster, [4.0] * 30)
    assert {p.expected for p in found.points} == {4.0}
    assert found.periods == ()


async def test_a_process_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck_forecasts.py"
    stuck.write_text("print('{\"ready\": true}', flush=True)\nimport time\ntime.sleep(1000)\n")
    forecaster = _of(tmp_path, "stuck_forecasts")
    with pytest.raises(ForecastFailed, match="no forecast within 1 s"):
        await asked(forecaster, [1.0] * 20)
    with pytest.raises(ForecastFailed, match="no forecast within 1 s"):
        await asked(forecaster, [1.0] * 20)  # at once, and without another process


async def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "bare_forecasts.py").write_text(
        "import sys\nsys.modules['statsmodels'] = None\n"
        "from weft.daemon.forecast_worker import main\nmain()\n"
    )
    with pytest.raises(ForecastFailed, match=r"pip install 'weft\[forecast\]'"):
        await asked(_of(tmp_path, "bare_forecasts"), [1.0] * 20)


def _of(directory: Path, module: str) -> Forecaster:
    """With another program in place of the worker."""
    return Forecaster((sys.executable, str(directory / f"{module}.py")), answer_seconds=1.0)


async def test_autoscalers_hear_of_their_future_and_their_past_survives(
    forecaster: Forecaster, tmp_path: Path
) -> None:
    history, at = History(), now()
    for i in range(40):
        history = remembered(history, at + (i - 39) * 5.0, 1 + i)
    tasks = Tasks()
    forecasts = Forecasts(tmp_path, tasks, forecaster)
    await forecasts.want({"u": 60.0}, {"u": history})
    while not (memory := forecasts.told("u", Memory())).outlooks:  # noqa: ASYNC110 - at most 120 s
        await asyncio.sleep(0.1)
    peak = ahead(memory.outlooks, at, 60.0)
    assert peak is not None
    assert 46 <= peak.replicas <= 54
    await tasks.close()
    again = Forecasts(tmp_path, tasks, forecaster)
    assert again.told("u", Memory()).history == history
