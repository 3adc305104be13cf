"""Axes of charts: scales, round ticks and their texts. Pure. A position is a share of the axis, 0..1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY_S = 86400
_TIME_UNITS = (("d", _DAY_S), ("h", 3600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, even or by powers of ten."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_log: bool = False

    def at(self, value: float) -> float:
        """The position of a value; what lies outside is put on the edge."""
        if self.is_log:
            place = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(max(place, 0.0), 1.0)


def even(highest: float, count: int, low: float = 0.0, unit: str = "") -> Axis:
    """From `low` to a round number that has room for `highest`, with at most about `count` ticks above the first."""
    step = _round_step(max(highest - low, 0.001) / count)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(highest / step - 1e-9), first + 1)
    start, span = first * step, (last - first) * step
    ticks = tuple(
        Tick((place - first) / (last - first), f"{place * step:,.10g}{unit}") for place in range(first, last + 1)
    )
    return Axis(start, start + span, ticks)


def whole(highest: float, count: int) -> Axis:
    """The same for what comes in wholes: no tick lies between two of them."""
    step = max(1, math.ceil(_round_step(max(highest, 1) / count)))
    last = max(math.ceil(highest / step), 1)
    return Axis(0, last * step, tuple(Tick(place / last, f"{place * step:,}") for place in range(last + 1)))


def powers(lowest: float, highest: float) -> Axis:
    """Ticks at powers of ten; the ends are 1, 2 or 5 times one, so that little room is left empty."""
    low, high = 1 / _round_step(1 / lowest), _round_step(highest)
    marks = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    axis = Axis(low, high, (), is_log=True)
    return replace(axis, ticks=tuple(Tick(axis.at(10.0**mark), f"{10.0**mark:,.10g}") for mark in marks))


def time(duration_s: float, count: int) -> Axis:
    """From 0 to exactly the end."""
    step = next((one for one in _TIMES if duration_s / one <= count), None)
    if step is None:
        step = _DAY_S * math.ceil(_round_step(duration_s / count / _DAY_S))
    marks = range(math.floor(duration_s / step + 1e-9) + 1)
    return Axis(0, duration_s, tuple(Tick(mark * step / duration_s, _moment(mark * step, step)) for mark in marks))


def _moment(at_s: int, step: int) -> str:
    """In the unit of the step; 0 needs none."""
    unit, size = next(((unit, size) for unit, size in _TIME_UNITS if step >= size), ("s", 1))
    return f"{at_s / size:g} {unit}" if at_s else "0"


def _round_step(least: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
