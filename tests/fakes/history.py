"""MetricHistory in memory: answers that a test gives, at the moments at which the real one gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from controller.core.errors import MetricsUnavailable
from controller.ports.history import MOST_POINTS
from controller.records import Series

Value = Callable[[int], float | None]  # of a moment in seconds since the epoch


class FakeHistory:
    """See `MetricHistory`. `says` has, for each query or a part of one, series with their labels."""

    def __init__(self, says: Mapping[str, Mapping[tuple[tuple[str, str], ...], Value]] | None = None) -> None:
        self.says = dict(says or {})
        self.gone = False
        self.asked: list[str] = []

    def query_range(self, promql: str, start: datetime, end: datetime, step_s: int) -> tuple[Series, ...]:
        count = int((end - start).total_seconds() // step_s) + 1
        if not 1 <= count <= MOST_POINTS:
            raise ValueError(f"{count} points")
        self.asked.append(promql)
        if self.gone:
            raise MetricsUnavailable("nobody is there")
        first = round(start.timestamp())
        moments = range(first, first + count * step_s, step_s)
        told = [
            Series(dict(labels), {at: number for at in moments if (number := value(at)) is not None})
            for part, series in self.says.items()
            if part in promql
            for labels, value in series.items()
        ]
        return tuple(series for series in told if series.points)
