"""What the pages need of the past: metrics over time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from controller.records import Series

MOST_POINTS = 400  # of a series: more than a chart has room for


class MetricHistory(Protocol):
    """Reads metrics over time."""

    def query_range(self, promql: str, start: datetime, end: datetime, step_s: int) -> tuple[Series, ...]:
        """Evaluate at `start`, and every `step_s` seconds from there up to `end`. Blocks for at most 6 s.

        Raises:
            MetricsUnavailable: no answer in time, or an error as the answer.
            ValueError: that would be more than `MOST_POINTS`, or none.
        """
        ...
