"""An axis of time for what is drawn over it, and columns on that axis. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MINUTE = 60
STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800)  # seconds
MOST = 360  # points of a series: more than that no eye tells apart

Column = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """`points` moments from `start` on, each `step` after the one before, in seconds since the epoch.

    With steps of a minute and more each number is of the time that begins at its moment, the last one of what there is
    of that; with shorter steps it is what was said at that moment.
    """

    start: int
    step: int
    points: int

    @property
    def of_minutes(self) -> bool:
        """Whether its numbers are made of those that are recorded once a minute."""
        return self.step >= MINUTE

    @property
    def times(self) -> range:
        """Its moments."""
        return range(self.start, self.start + self.step * self.points, self.step)

    @property
    def asked(self) -> range:
        """When the numbers of its moments are asked for: at the end of the time that they are of."""
        shift = self.step if self.of_minutes else 0
        return range(self.start + shift, self.start + shift + self.step * self.points, self.step)

    def column(self, points: Mapping[int, float]) -> Column:
        """What was found when it was asked for; None where there was nothing."""
        return tuple(points.get(at) for at in self.asked)


def axis(start: float, end: float, *, most: int = MOST, shortest: int = STEPS[0]) -> Axis:
    """The axis from `start` to `end` with the shortest step that makes no more than `most` points.

    Its moments are multiples of the step, so that all who look at the same time ask the same.
    """
    span = max(end - start, 1.0)
    fitting = (step for step in STEPS if step >= shortest and span <= most * step)
    return axis_of(start, end, next(fitting, STEPS[-1]))


def axis_of(start: float, end: float, step: int) -> Axis:
    """The axis with this step; it ends with the moment at or before `end`."""
    points = max(math.ceil((end - start) / step), 1)
    last = math.ceil(end / step) * step - step if step >= MINUTE else math.floor(end / step) * step
    return Axis(last - (points - 1) * step, step, points)


def axis_over(start: float, end: float, step: int) -> Axis:
    """The axis with this step over all of a time that stays: it begins at or before `start`, and its last number is of
    the time up to `end` at least."""
    first, last = math.floor(start / step), math.ceil(end / step)
    return Axis(first * step, step, max(last - first, 1))


def hours(column: Sequence[float | None], axis: Axis, until: float, since: float = -math.inf) -> float:
    """The sum of a column over time: replicas -> replica-hours. What is not known counts as nothing.

    `since` and `until` are within the times that the first and the last number are of; of these only that part counts,
    as if it was alike all the time.
    """
    spans = (max(min(at + axis.step, until) - max(at, since), 0.0) for at in axis.times)
    return sum(value * span for value, span in zip(column, spans, strict=True) if value is not None) / 3600
