"""The last hour of each pool, asked for beside what waits for a page: Prometheus may take seconds, a page may not.

It is made of whole minutes, so there is something new once a minute, and it is asked for once in each.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from controller.api.deps import Sources
from controller.api.history import HistoryBook
from controller.api.timeline_schemas import PoolHistoryOut
from controller.api.timelines import fleet_history
from controller.api.web.fleet_rows import Hour
from controller.core.timeline import MINUTE

_AGAIN = timedelta(seconds=15)  # after an answer that was old: Prometheus may be back
_SETTLED_S = 5  # after the end of a minute: what is recorded of it is there
_PATIENCE_S = 0.25  # for a first page with its lines; where it takes longer they come by themselves
_asking = ThreadPoolExecutor(1, thread_name_prefix="hours")


@dataclass(frozen=True, slots=True)
class _Answer:
    """`stale`: Prometheus is away, and this is what it told before."""

    hours: Mapping[str, Hour]
    stale: bool


class Hours:
    """What one book told last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = _Answer({}, stale=True)
        self._first = True
        self._asked: Future[_Answer] | None = None
        self._asked_at: datetime | None = None

    def of(self, sources: Sources) -> Mapping[str, Hour]:
        """By pool, as far as it is known by now. Blocks for a quarter of a second at most, and only the first time."""
        with self._lock:
            now = sources.now()
            if self._asked is None and self._due(now):
                self._asked, self._asked_at = _asking.submit(_ask, sources), now
            if self._asked is not None and (self._first or self._asked.done()):
                self._first = False
                self._take(self._asked)
            return self._known.hours

    def _take(self, asked: Future[_Answer]) -> None:
        try:
            self._known = asked.result(_PATIENCE_S)
        except Late:
            return
        finally:  # also one that failed: the next is another
            if asked.done():
                self._asked = None

    def _due(self, now: datetime) -> bool:
        """Whether there may be something new."""
        if self._asked_at is None or now < self._asked_at:
            return True
        if self._known.stale:
            return now - self._asked_at >= _AGAIN
        return _minute(now) != _minute(self._asked_at)


def _minute(at: datetime) -> int:
    """The newest of which everything is recorded."""
    return int(at.timestamp() - _SETTLED_S) // MINUTE


_of_book: WeakKeyDictionary[HistoryBook, Hours] = WeakKeyDictionary()


def hours_of(sources: Sources) -> Mapping[str, Hour]:
    """Of these sources."""
    return _of_book.setdefault(sources.history, Hours()).of(sources)


def _ask(sources: Sources) -> _Answer:
    told = fleet_history(sources)
    return _Answer({pool: _hour(one) for pool, one in told.pools.items()}, told.stale_since is not None)


def _hour(told: PoolHistoryOut) -> Hour:
    bill = told.totals
    return Hour(
        tuple(told.latency_s),
        tuple(told.error_ratio),
        bill.gpu_hours,
        bill.cost_per_million_tokens,
        bill.currency or "",
    )
