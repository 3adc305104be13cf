"""Quantiles of times in bounded memory."""

from __future__ import annotations

import math

LOWEST_S = 0.001
HIGHEST_S = 1e6


class Histogram:
    """Counts times in buckets that grow by `growth`: a quantile is off by at most that factor."""

    __slots__ = ("_counts", "_log", "count")

    def __init__(self, growth: float) -> None:
        self._log = math.log(growth)
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one time."""
        bounded = min(max(seconds, LOWEST_S), HIGHEST_S)
        place = math.ceil(math.log(bounded / LOWEST_S) / self._log)
        self._counts[place] = self._counts.get(place, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Add what another of the same growth has counted."""
        for place, count in other._counts.items():
            self._counts[place] = self._counts.get(place, 0) + count
        self.count += other.count

    def quantile(self, share: float) -> float | None:
        """The upper bound of the bucket in which that share is reached; None where nothing was counted."""
        rank, seen = share * self.count, 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            if seen >= rank:
                return LOWEST_S * math.exp(place * self._log)
        return None
