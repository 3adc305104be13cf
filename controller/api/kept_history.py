"""HistoryBook on Prometheus: each question asked once for all who have it, and its answer kept for a while.

Queries run in a pool of two threads of their own: however many pages are open and however slow Prometheus is, a tick
never waits for them, and of requests so few do that the others have threads left to be answered in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from controller.api.history import Told, patience
from controller.core.errors import MetricsUnavailable
from controller.core.timeline import Axis
from controller.ports.history import MetricHistory

_AT_ONCE = 2
_YOUNG = timedelta(seconds=10)
_GOOD = timedelta(seconds=30)  # for whoever does not wait for the next one
_WAITING, _BRIEF_S = 8, 0.25  # requests that wait for as long as they like, of 40 threads; for how long all others do
_KEPT = 48  # answers, of which the largest is 2 MB
_MOST_ASKED = 32  # that wait: more are not asked at all


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two questions one. `start` is 0 of an axis that moves."""

    promql: str
    step: int
    points: int
    start: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """The newest answer, and when it was last asked for."""

    told: Told
    asked_at: datetime


class KeptHistory:
    """See `HistoryBook`."""

    def __init__(self, metrics: MetricHistory, now: Callable[[], datetime]) -> None:
        self._metrics, self._now = metrics, now
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="history")
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._asked: dict[_Key, Future[Told]] = {}
        self._places = threading.Semaphore(_WAITING)

    def ask(self, promql: str, axis: Axis, *, moves: bool = True) -> Told:
        """See `HistoryBook.ask`."""
        key = _Key(promql, axis.step, axis.points, 0 if moves else axis.start)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and timedelta(0) <= self._now() - kept.asked_at < _YOUNG:
                self._kept.move_to_end(key)
                return kept.told
            coming = self._asked.get(key) or self._begin(key, axis)
        told = None if coming is None else self._wait(coming)
        if told is not None:
            return told
        if kept is None:
            return self._stale(Told(axis))
        return kept.told if self._now() - kept.asked_at < _GOOD else self._stale(kept.told)

    def _wait(self, coming: Future[Told]) -> Told | None:
        placed = self._places.acquire(blocking=False)
        try:
            return coming.result(patience.get() if placed else min(patience.get(), _BRIEF_S))
        except (Late, CancelledError):
            return None
        finally:
            if placed:
                self._places.release()

    def close(self) -> None:
        """See `HistoryBook.close`. What is being asked ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, key: _Key, axis: Axis) -> Future[Told] | None:
        """Ask; None where too many questions wait. Called under the lock."""
        if len(self._asked) >= _MOST_ASKED:
            return None
        try:
            coming = self._threads.submit(self._answer, key, axis)
        except RuntimeError:  # it is closed
            return None
        self._asked[key] = coming
        coming.add_done_callback(lambda _: self._asked.pop(key, None))
        return coming

    def _answer(self, key: _Key, axis: Axis) -> Told:
        asked, now = axis.asked, self._now()
        try:
            series = self._metrics.query_range(key.promql, _at(asked[0]), _at(asked[-1]), axis.step)
            told = Told(axis, series, now)
        except MetricsUnavailable:
            with self._lock:
                kept = self._kept.get(key)
            told = self._stale(kept.told if kept is not None else Told(axis))
        with self._lock:
            self._kept[key] = _Kept(told, self._now())
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return told

    def _stale(self, told: Told) -> Told:
        return told if told.stale_since is not None else replace(told, stale_since=self._now())


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
