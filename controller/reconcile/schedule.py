"""When ticks run: every interval, and at once after `wake()`. APScheduler: one job, max_instances 1, coalesced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from controller.ports import Clock

# Events come in bursts (a kill makes three): one tick for the burst, not one for each.
_SPACING = timedelta(milliseconds=50)


class Schedule:
    """Runs `tick` in one worker thread, never twice at once.

    `tick` returns when it wants to run again sooner than the interval, or None.
    """

    def __init__(self, tick: Callable[[], datetime | None], interval: timedelta, clock: Clock) -> None:
        self._tick, self._interval, self._clock = tick, interval, clock
        self._lock = threading.Lock()
        self._running = False
        self._woken = False
        self._scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(1)}, timezone="UTC")

    def start(self) -> None:
        """The first tick runs at once."""
        self._scheduler.add_job(
            self._run,
            "interval",
            seconds=self._interval.total_seconds(),
            id="tick",
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            next_run_time=self._clock.now(),
        )
        self._scheduler.start()

    def wake(self) -> None:
        """Run a tick soon. From any thread; never blocks on a tick. Wakes during a tick cause one more after it."""
        with self._lock:
            if self._running:
                self._woken = True
                return
        self._at(self._clock.now() + _SPACING)

    def stop(self) -> None:
        """No more ticks; waits for the one that runs."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _run(self) -> None:
        with self._lock:
            self._running, self._woken = True, False
        again = self._tick()
        with self._lock:
            self._running = False
            woken = self._woken
        soon = self._clock.now() + _SPACING
        if woken:
            self._at(soon)
        elif again is not None:
            self._at(max(again, soon))

    def _at(self, when: datetime) -> None:
        """Bring the next tick forward; never put it off."""
        job = self._scheduler.get_job("tick")
        if job is not None and (job.next_run_time is None or when < job.next_run_time):
            job.modify(next_run_time=when)
