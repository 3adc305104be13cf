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
        self._state = threading.Condition()
        self._running = False
        self._woken = False
        self._count = 0
        self._stopping = threading.Event()
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
        threading.Thread(target=self._guard, name="schedule-guard", daemon=True).start()

    def wake(self) -> None:
        """Run a tick soon. From any thread; never blocks on a tick. Wakes during a tick cause one more after it."""
        with self._state:
            if self._running:
                self._woken = True
            else:
                self._at(self._clock.now() + _SPACING)

    def stop(self) -> None:
        """No more ticks; waits for the one that runs."""
        self._stopping.set()
        with self._state:
            self._state.wait_for(lambda: not self._running)
        if self._scheduler.running:
            # Not wait=True: it holds a lock while it waits, and a tick that ends wants that lock.
            self._scheduler.shutdown(wait=False)

    def _run(self) -> None:
        with self._state:
            if self._stopping.is_set():
                return
            self._running, self._woken = True, False
            self._count += 1
        again: datetime | None = None
        try:
            again = self._tick()
        finally:
            with self._state:
                self._running = False
                self._state.notify_all()
                soon = self._clock.now() + _SPACING
                if self._woken:
                    self._at(soon)
                elif again is not None:
                    self._at(max(again, soon))

    def _at(self, when: datetime) -> None:
        """Bring the next tick forward; never put it off. Called with the state held, so that no wake overtakes it."""
        if self._stopping.is_set():
            return
        job = self._scheduler.get_job("tick")
        if job is not None and (job.next_run_time is None or when < job.next_run_time):
            job.modify(next_run_time=when)

    def _guard(self) -> None:
        """APScheduler goes by the wall clock: set back by an hour, it would be silent for an hour."""
        seen = -1
        while not self._stopping.wait(3 * self._interval.total_seconds()):
            with self._state:
                if self._count == seen and not self._running:
                    self._at(self._clock.now())
                seen = self._count


class Wake:
    """Wakes a schedule that there is not yet: adapters are built before the schedule that they wake."""

    def __init__(self) -> None:
        self.schedule: Schedule | None = None

    def __call__(self) -> None:
        """See `Schedule.wake`."""
        if self.schedule is not None:
            self.schedule.wake()
