"""The last hour of each pool, asked for beside what waits for a page: Prometheus may take seconds, a page may not."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from controller.api.deps import Sources
from controller.api.history import HistoryBook
from controller.api.timeline_schemas import PoolHistoryOut
from controller.api.timelines import fleet_history
from controller.api.web.fleet_rows import Hour

_YOUNG = timedelta(seconds=15)
_PATIENCE_S = 0.25  # for a first page with its lines; where it takes longer they come by themselves
_asking = ThreadPoolExecutor(1, thread_name_prefix="hours")


class Hours:
    """What one book told last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Mapping[str, Hour] | None = None
        self._asked: Future[Mapping[str, Hour]] | None = None
        self._asked_at: datetime | None = None

    def of(self, sources: Sources) -> Mapping[str, Hour]:
        """By pool, as far as it is known by now. Blocks for a quarter of a second at most, and only the first time."""
        with self._lock:
            now = sources.now()
            if self._asked is None and (self._asked_at is None or not timedelta() <= now - self._asked_at < _YOUNG):
                self._asked, self._asked_at = _asking.submit(_ask, sources), now
            if self._asked is not None and (self._known is None or self._asked.done()):
                with suppress(Late):
                    self._known = self._asked.result(_PATIENCE_S)
                    self._asked = None
            self._known = self._known or {}
            return self._known


_of_book: WeakKeyDictionary[HistoryBook, Hours] = WeakKeyDictionary()


def hours_of(sources: Sources) -> Mapping[str, Hour]:
    """Of these sources."""
    return _of_book.setdefault(sources.history, Hours()).of(sources)


def _ask(sources: Sources) -> Mapping[str, Hour]:
    return {pool: _hour(told) for pool, told in fleet_history(sources).pools.items()}


def _hour(told: PoolHistoryOut) -> Hour:
    bill = told.totals
    return Hour(
        tuple(told.latency_s),
        tuple(told.error_ratio),
        bill.gpu_hours,
        bill.cost_per_million_tokens,
        bill.currency or "",
    )
