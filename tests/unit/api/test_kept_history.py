"""Each question once for all who have it, old numbers where there are no new ones, and an end to what is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from controller.api.history import Told, patience
from controller.api.kept_history import _KEPT, _MOST_ASKED, _WAITING, KeptHistory
from controller.core.timeline import Axis
from controller.records import Series
from tests.fakes.clock import START, FakeClock
from tests.fakes.history import FakeHistory
from tests.waiting import wait_for

AXIS = Axis(round(START.timestamp()), 10, 2)
LATER = Axis(AXIS.start + 10, 10, 2)


class Gated(FakeHistory):
    """Answers once it is let."""

    def __init__(self) -> None:
        super().__init__({"": {(): float}})
        self.open = threading.Event()
        self.at_once, self.most = 0, 0
        self._lock = threading.Lock()

    def query_range(self, promql: str, start: datetime, end: datetime, step_s: int) -> tuple[Series, ...]:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.open.wait(30)
        found = super().query_range(promql, start, end, step_s)
        with self._lock:
            self.at_once -= 1
        return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> FakeHistory:
    return FakeHistory({"": {(): float}})


@pytest.fixture
def history(metrics: FakeHistory, clock: FakeClock) -> Iterator[KeptHistory]:
    made = KeptHistory(metrics, clock.now)
    yield made
    made.close()


def test_an_answer_is_kept_while_it_is_young(history: KeptHistory, metrics: FakeHistory, clock: FakeClock) -> None:
    told = history.ask("up", AXIS)
    assert told.as_of == START
    assert told.stale_since is None
    assert told.columns("pool") == {("",): (AXIS.start, AXIS.start + 10)}

    clock.advance(9)
    assert history.ask("up", LATER) is told, "an axis that moves on is the same question"
    history.ask("up", LATER, moves=False)
    clock.advance(2)
    assert history.ask("up", LATER).axis == LATER
    assert metrics.asked == ["up", "up", "up"]


def test_old_numbers_say_since_when(history: KeptHistory, metrics: FakeHistory, clock: FakeClock) -> None:
    history.ask("up", AXIS)
    metrics.gone = True
    clock.advance(11)
    old = history.ask("up", LATER)
    assert (old.axis, old.as_of, old.stale_since) == (AXIS, START, START + timedelta(seconds=11))
    assert old.columns() == {(): (AXIS.start, AXIS.start + 10)}

    clock.advance(5)
    assert history.ask("up", LATER) == old
    assert len(metrics.asked) == 2, "who gave no answer is not asked again at once"
    clock.advance(60)
    assert history.ask("up", LATER).stale_since == old.stale_since

    metrics.gone = False
    clock.advance(11)
    assert history.ask("up", LATER).stale_since is None


def test_where_nothing_was_ever_told(history: KeptHistory, metrics: FakeHistory) -> None:
    metrics.gone = True
    told = history.ask("up", AXIS)

    assert (told.series, told.as_of, told.stale_since) == ((), None, START)


def test_many_who_ask_are_one_question_and_two_are_asked_at_once(clock: FakeClock) -> None:
    metrics = Gated()
    history = KeptHistory(metrics, clock.now)
    told: list[object] = []
    threads = [
        threading.Thread(target=lambda name=f"up{number % 5}": told.append(history.ask(name, AXIS).as_of))
        for number in range(_WAITING)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(history._asked) == 5, 30, "all to have asked")
    metrics.open.set()
    for thread in threads:
        thread.join(30)
    history.close()

    assert told == [START] * _WAITING
    assert sorted(metrics.asked) == [f"up{number}" for number in range(5)]
    assert metrics.most == 2


def test_few_wait_for_a_slow_answer_and_the_others_are_told_what_is_known(clock: FakeClock) -> None:
    """Each one that waits holds a thread in which something else would be answered."""
    metrics = Gated()
    history = KeptHistory(metrics, clock.now)
    late: list[Told] = []
    threads = [threading.Thread(target=lambda: late.append(history.ask("up", AXIS))) for _ in range(_WAITING)]
    for thread in threads:
        thread.start()
    wait_for(lambda: not history._places._value, 30, "all places to be taken")
    told = history.ask("up", AXIS)
    assert (told.as_of, told.stale_since) == (None, START)

    metrics.open.set()
    for thread in threads:
        thread.join(30)
    history.close()
    assert [one.as_of for one in late] == [START] * _WAITING
    assert metrics.asked == ["up"]


def test_who_does_not_wait_is_told_the_last_answer_and_later_that_it_is_old(clock: FakeClock) -> None:
    metrics = Gated()
    metrics.open.set()
    history = KeptHistory(metrics, clock.now)
    history.ask("up", AXIS)
    metrics.open.clear()
    before = patience.set(0.0)
    told = []
    for _ in range(3):
        clock.advance(14)
        told.append(history.ask("up", LATER))
    patience.reset(before)
    metrics.open.set()
    history.close()

    assert [one.as_of for one in told] == [START] * 3
    assert [one.stale_since for one in told] == [None, None, START + timedelta(seconds=42)]


def test_too_many_questions_are_not_asked(clock: FakeClock) -> None:
    metrics = Gated()
    history = KeptHistory(metrics, clock.now)
    threads = [threading.Thread(target=history.ask, args=(f"up{number}", AXIS)) for number in range(_MOST_ASKED)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(history._asked) == _MOST_ASKED, 30, "all to have asked")
    assert history.ask("one more", AXIS).as_of is None

    metrics.open.set()
    for thread in threads:
        thread.join(30)
    history.close()
    assert "one more" not in metrics.asked


def test_what_is_kept_has_an_end(history: KeptHistory) -> None:
    for number in range(_KEPT + 5):
        history.ask(f"up{number}", AXIS)
    assert len(history._kept) == _KEPT


def test_a_closed_one_tells_what_it_knows(history: KeptHistory, clock: FakeClock) -> None:
    history.ask("up", AXIS)
    history.close()
    clock.advance(60)

    told = history.ask("up", LATER)
    assert (told.as_of, told.stale_since) == (START, START + timedelta(seconds=60))
    history.close()
