"""The schedule: one tick at a time, and no wake is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from controller.adapters.clock import SystemClock
from controller.reconcile.schedule import Schedule
from tests.waiting import wait_for

NEVER = timedelta(hours=1)  # so that only wakes cause ticks


class Ticks:
    """Counts, and notices two at once. `gate` holds a tick inside."""

    def __init__(self) -> None:
        self.count = 0
        self.overlapped = False
        self.again: list[datetime] = []
        self.gate = threading.Event()
        self.gate.set()
        self._inside = threading.Lock()

    def __call__(self) -> datetime | None:
        if not self._inside.acquire(blocking=False):
            self.overlapped = True
            return None
        self.count += 1
        self.gate.wait(10)
        self._inside.release()
        return self.again.pop() if self.again else None


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def schedule(ticks: Ticks) -> Iterator[Schedule]:
    made = Schedule(ticks, NEVER, SystemClock())
    yield made
    ticks.gate.set()
    made.stop()


def test_the_first_tick_runs_at_once(schedule: Schedule, ticks: Ticks) -> None:
    schedule.start()
    wait_for(lambda: ticks.count == 1, 10, "the first tick")


def test_a_wake_runs_one_and_a_burst_of_wakes_one_or_two(schedule: Schedule, ticks: Ticks) -> None:
    schedule.start()
    wait_for(lambda: ticks.count == 1, 10, "the first tick")
    for _ in range(100):
        schedule.wake()
    wait_for(lambda: ticks.count >= 2, 10, "a tick for the burst")
    assert ticks.count <= 3


def test_a_wake_during_a_tick_causes_one_more_after_it(schedule: Schedule, ticks: Ticks) -> None:
    ticks.gate.clear()
    schedule.start()
    wait_for(lambda: ticks.count == 1, 10, "the first tick")
    for _ in range(5):
        schedule.wake()
    ticks.gate.set()
    wait_for(lambda: ticks.count == 2, 10, "the tick after it")
    assert not ticks.overlapped


def test_a_tick_that_wants_to_run_again_does(schedule: Schedule, ticks: Ticks) -> None:
    ticks.again = [SystemClock().now(), SystemClock().now()]
    schedule.start()
    wait_for(lambda: ticks.count == 3, 10, "two more ticks")


def test_stopping_waits_for_the_tick_that_runs_and_does_not_hang(schedule: Schedule, ticks: Ticks) -> None:
    ticks.gate.clear()
    ticks.again = [SystemClock().now()]
    schedule.start()
    wait_for(lambda: ticks.count == 1, 10, "a tick")
    schedule.wake()
    stopping = threading.Thread(target=schedule.stop)
    stopping.start()
    ticks.gate.set()
    stopping.join(20)

    assert not stopping.is_alive()
    assert ticks.count == 1, "neither the wake nor the tick's own wish counts any more"


def test_a_tick_that_raises_loses_no_wake() -> None:
    seen: list[int] = []

    def tick() -> None:
        seen.append(1)
        if len(seen) == 1:
            raise BrokenPipeError

    schedule = Schedule(tick, NEVER, SystemClock())
    schedule.start()
    wait_for(lambda: len(seen) == 1, 10, "the first tick")
    wait_for(lambda: (schedule.wake(), len(seen) >= 2)[1], 10, "a tick for the wake")
    schedule.stop()


def test_it_keeps_its_interval(ticks: Ticks) -> None:
    quick = Schedule(ticks, timedelta(milliseconds=50), SystemClock())
    quick.start()
    wait_for(lambda: ticks.count >= 5, 10, "five ticks")
    quick.stop()
    assert not ticks.overlapped
