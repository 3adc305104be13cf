"""A trend of the demand, looked at one cold start ahead: a line through the samples of a window (least squares)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

Samples = tuple[tuple[datetime, float], ...]

_SAMPLES = 60  # kept for a window, whatever its length
_ENOUGH = 10
_SURE = 2.0  # a slope of less than so many of its standard errors is noise


def sample(samples: Samples, demand: float, now: datetime, window: timedelta) -> Samples:
    """Add one and forget what left the window; samples come at most 60 times in it."""
    if samples and now - samples[-1][0] < window / _SAMPLES:
        return samples
    return (*(entry for entry in samples if now - entry[0] <= window), (now, demand))


def ahead(samples: Sequence[tuple[datetime, float]], now: datetime, seconds: float) -> float | None:
    """The demand in `seconds` if the trend goes on; None without a rising trend that is more than noise."""
    if len(samples) < _ENOUGH:
        return None
    times = [(at - now).total_seconds() for at, _ in samples]
    values = [value for _, value in samples]
    count, mean_t, mean_v = len(samples), math.fsum(times) / len(times), math.fsum(values) / len(values)
    spread = math.fsum((time - mean_t) ** 2 for time in times)
    if spread <= 0:
        return None
    slope = math.fsum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True)) / spread
    level = mean_v - slope * mean_t
    residual = math.fsum((v - level - slope * t) ** 2 for t, v in zip(times, values, strict=True))
    error = math.sqrt(residual / (count - 2) / spread)
    if slope <= 0 or slope < _SURE * error:
        return None
    return level + slope * seconds
