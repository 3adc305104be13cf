"""What is added up, and how it appears on a page for the first time. Pure: no socket, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

# Seconds. 0.3 and 0.5 are objectives; the last ones are long generations.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)

NEW_S = 1.5  # whoever scrapes once a second sees a new count at 0, and no other scraper can take that from him

Labels = tuple[str, ...]


@dataclass(slots=True)
class Histogram:
    """Counts per bucket (not yet cumulated), the last one being everything above the highest bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        """Add one value, in seconds."""
        self.counts[bisect_left(BOUNDS, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Upper bound as Prometheus writes it, and how many values lie at or below it."""
        buckets, sum_so_far = [], 0
        for bound, count in zip((*BOUNDS, float("inf")), self.counts, strict=True):
            sum_so_far += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(sum_so_far)))
        return buckets


@dataclass(slots=True)
class Counts:
    """Counters that differ in their last labels. Each is told as 0 while it is new."""

    values: dict[Labels, int] = field(default_factory=dict)
    told_at: dict[Labels, float] = field(default_factory=dict)  # each one, first

    def add(self, labels: Labels, number: int = 1) -> None:
        """Raise one of them, which may begin with this."""
        self.values[labels] = self.values.get(labels, 0) + number

    def tell(self, now: float) -> Iterator[tuple[Labels, int]]:
        """All of them for the page, sorted.

        Of a counter that begins at 1 nobody can tell that it rose: the first request would be lost.
        """
        for labels, count in sorted(self.values.items()):
            new = now - self.told_at.setdefault(labels, now) < NEW_S
            yield labels, 0 if new else count
