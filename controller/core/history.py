"""What a pool asked for and had over time, kept as changes only. Windows are in wall-clock time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from controller.core.model import Recommendation

History = tuple[Recommendation, ...]


def record(history: History, replicas: int, now: datetime, keep: timedelta) -> History:
    """Add a count and forget what left `keep`. One entry from before it stays: its count held on into it."""
    if not history or history[-1].replicas != replicas:
        history = (*history, Recommendation(now, replicas))
    if len(history) < 2 or history[1].at > now - keep:
        return history
    return within(history, now - keep)


def within(history: Sequence[Recommendation], start: datetime) -> History:
    """The entries that counted at any moment from `start` on."""
    older = [entry for entry in history if entry.at <= start]
    return (*older[-1:], *(entry for entry in history if entry.at > start))


def highest(history: Sequence[Recommendation], start: datetime) -> int:
    """The highest count from `start` on. The history must not be empty."""
    return max(entry.replicas for entry in within(history, start))


def lowest(history: Sequence[Recommendation], start: datetime) -> int:
    """The lowest count from `start` on. The history must not be empty."""
    return min(entry.replicas for entry in within(history, start))


def moved(history: Sequence[Recommendation], start: datetime, *, up: bool) -> int:
    """By how many replicas it rose (or fell) from `start` on, falls (or rises) not counted against it."""
    entries = within(history, start)
    steps = [after.replicas - before.replicas for before, after in zip(entries, entries[1:], strict=False)]
    return sum(step for step in steps if step > 0) if up else -sum(step for step in steps if step < 0)
