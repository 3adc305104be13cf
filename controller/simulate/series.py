"""A run as a line for charts: a bounded number of points, whatever its length."""

from __future__ import annotations

from dataclasses import dataclass

from controller.simulate.histogram import Histogram

MOST_POINTS = 600
_GROWTH = 1.1  # of the latency buckets


@dataclass(frozen=True, slots=True)
class Point:
    """Means over the point's time, and the 95th percentile of the first tokens of the requests that ended in it."""

    at_s: float  # its beginning
    demand_rps: float
    in_flight: float
    ready: float
    desired: float
    first_token_p95_s: float | None
    waiting: float = 0.0  # of those in flight


class _Open:
    """A point that still grows."""

    __slots__ = ("arrivals", "at_s", "desired", "first_tokens", "in_flight", "ready", "samples", "waiting")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.samples = self.arrivals = self.in_flight = self.ready = self.desired = self.waiting = 0
        self.first_tokens = Histogram(_GROWTH)

    def swallow(self, later: _Open) -> None:
        self.samples += later.samples
        self.arrivals += later.arrivals
        self.in_flight += later.in_flight
        self.ready += later.ready
        self.desired += later.desired
        self.waiting += later.waiting
        self.first_tokens.merge(later.first_tokens)

    def close(self, sample_s: float) -> Point:
        count = max(self.samples, 1)
        return Point(
            self.at_s,
            self.arrivals / (count * sample_s),
            self.in_flight / count,
            self.ready / count,
            self.desired / count,
            self.first_tokens.quantile(0.95),
            self.waiting / count,
        )


class Series:
    """Takes a sample every `sample_s`; where the points become too many, each two become one."""

    def __init__(self, sample_s: float) -> None:
        self._sample_s = sample_s
        self._each = 1  # samples to a point
        self._points: list[_Open] = [_Open(0.0)]

    def first_token(self, seconds: float) -> None:
        """A request ended that had waited so long for its first token."""
        self._points[-1].first_tokens.add(seconds)

    def sample(self, now: float, arrivals: int, in_flight: int, counts: tuple[int, int, int]) -> None:
        """What is now, and how many arrived since the last sample; `counts` are ready, desired and waiting."""
        newest = self._points[-1]
        newest.samples += 1
        newest.arrivals += arrivals
        newest.in_flight += in_flight
        newest.ready += counts[0]
        newest.desired += counts[1]
        newest.waiting += counts[2]
        if newest.samples >= self._each:
            if len(self._points) >= MOST_POINTS:
                self._halve()
            if self._points[-1].samples >= self._each:
                self._points.append(_Open(now))

    def points(self) -> tuple[Point, ...]:
        """All of them, in order."""
        return tuple(point.close(self._sample_s) for point in self._points if point.samples)

    def _halve(self) -> None:
        points = self._points
        for first, second in zip(points[::2], points[1::2], strict=False):
            first.swallow(second)
        self._points = points[::2]
        self._each *= 2
