"""Forecasts of a series with statsmodels. Imported by the worker only: it takes seconds and memory.

Repeating patterns are taken out by MSTL (seasonal decomposition by loess), the rest is continued
by exponential smoothing with a damped trend. The end of the series is held back first: a pattern
counts if it would have forecast that end clearly better, and how wrong that was is how wide
intervals are.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import detrend, find_peaks
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.seasonal import MSTL
from statsmodels.tsa.stattools import acf

PERIOD_STEPS_MIN = 4
PERIODS_SEEN_MIN = 3
CORRELATION_MIN = 0.25
CONFIDENCE = 0.8
HELD_BACK_STEPS_MAX = 24
GAIN_MIN = 0.8
"""A pattern must be wrong by less than this share of the error without it."""
PATTERN_WINDOW = 21
"""How many repetitions a pattern changes over (odd, as MSTL wants it)."""

Array = Any
warnings.simplefilter("ignore")  # about fits of series that are exactly flat or straight


def forecast(values: Sequence[float], steps: int, periods: Sequence[int]) -> dict[str, Any]:
    """The next steps: `expected`, `low`, `high`, and the `periods` of the patterns found."""
    series = np.asarray(values, dtype=float)
    size = len(series)
    candidates: list[list[int]] = [[], [p for p in periods if p * 2 < size], _period(series)]
    shortest = min((p for each in candidates for p in each), default=HELD_BACK_STEPS_MAX)
    held = min(max(shortest, steps), size // 3)
    tried = []
    for candidate in candidates:
        usable = [p for p in candidate if p * 2 < size - held]
        expected, _, _ = _continued(series[: size - held], held, usable)
        tried.append((np.abs(expected - series[size - held :]), usable))
    margins = [float(wrong.mean()) / (GAIN_MIN if usable else 1.0) for wrong, usable in tried]
    errors, chosen = tried[margins.index(min(margins))]
    expected, low, high = _continued(series, steps, chosen)
    wide = float(np.quantile(errors, CONFIDENCE))
    low, high = np.minimum(low, expected - wide), np.maximum(high, expected + wide)
    rows = {"expected": expected, "low": low, "high": high}
    return {k: np.maximum(v, 0.0).round(3).tolist() for k, v in rows.items()} | {"periods": chosen}


def _period(series: Array) -> list[int]:
    """Of the strongest repetition, by autocorrelation; [] without one."""
    if np.ptp(series) == 0:
        return []
    correlation = acf(detrend(series), nlags=len(series) // 2, fft=True)
    peaks, _ = find_peaks(correlation, height=CORRELATION_MIN, prominence=CORRELATION_MIN / 2)
    most = len(series) // PERIODS_SEEN_MIN
    peaks = [int(p) for p in peaks if PERIOD_STEPS_MIN <= p <= most]
    if not peaks:
        return []
    best = max(correlation[p] for p in peaks)
    period = next(p for p in peaks if correlation[p] >= 0.85 * best)
    # The peak of a later repetition says more exactly how long one takes.
    times = (len(correlation) - 1) // (period + 1)
    start = times * (period - 1)
    later = start + int(np.argmax(correlation[start : times * (period + 1) + 1]))
    return [max(PERIOD_STEPS_MIN, round(later / times))] if times else [period]


def _continued(series: Array, steps: int, periods: list[int]) -> tuple[Array, Array, Array]:
    pattern, coming = np.zeros(len(series)), np.zeros(steps)
    if periods:
        windows = [PATTERN_WINDOW] * len(periods)
        parted = MSTL(series, periods=sorted(periods), windows=windows).fit()
        parts = np.asarray(parted.seasonal).reshape(len(series), -1)
        pattern = parts.sum(axis=1)
        for i, period in enumerate(sorted(periods)):
            coming = coming + np.resize(parts[-period:, i], steps)
    model = ETSModel(pd.Series(series - pattern), error="add", trend="add", damped_trend=True)
    predicted = model.fit(disp=False).get_prediction(start=len(series), end=len(series) + steps - 1)
    frame = predicted.summary_frame(alpha=1 - CONFIDENCE)
    rows = [frame["mean"].to_numpy(), *(frame[c].to_numpy() for c in frame.columns[-2:])]
    expected, low, high = (np.nan_to_num(row) + coming for row in rows)
    return expected, low, high
