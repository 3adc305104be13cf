"""What a pool asked for and had over time, kept as changes only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.history import History, highest, lowest, moved, record, within
from controller.core.model import Recommendation
from tests.fakes.clock import START


def at(*entries: tuple[float, int]) -> History:
    """Counts, each with how many seconds before START it began."""
    return tuple(Recommendation(START - timedelta(seconds=ago_s), count) for ago_s, count in entries)


def before(seconds: float):  # type: ignore[no-untyped-def]
    return START - timedelta(seconds=seconds)


WINDOWS = [
    # history, window_s, counts that held in it
    pytest.param(at((10, 4)), 60, [4], id="one entry"),
    pytest.param(at((90, 4)), 60, [4], id="one from before the window held on into it"),
    pytest.param(at((90, 4), (30, 6)), 60, [4, 6], id="what held at the start counts"),
    pytest.param(at((90, 4), (70, 5), (30, 6)), 60, [5, 6], id="only the last of those from before"),
    pytest.param(at((60, 4), (30, 6)), 60, [4, 6], id="one that begins with the window"),
    pytest.param(at((90, 3), (60, 4), (30, 6)), 60, [4, 6], id="and ends the one before it"),
    pytest.param(at((30, 4), (10, 6)), 60, [4, 6], id="all within"),
    pytest.param(at((30, 4), (0, 6)), 0, [6], id="a window of nothing is the present"),
    pytest.param((), 60, [], id="nothing"),
]


@pytest.mark.parametrize(("history", "window_s", "want"), WINDOWS)
def test_what_counted_within_a_window(history: History, window_s: float, want: list[int]) -> None:
    assert [entry.replicas for entry in within(history, before(window_s))] == want
    if want:
        assert highest(history, before(window_s)) == max(want)
        assert lowest(history, before(window_s)) == min(want)


MOVES = [
    # history, period_s, up, down
    pytest.param(at((100, 4)), 60, 0, 0, id="never"),
    pytest.param((), 60, 0, 0, id="nothing known"),
    pytest.param(at((100, 4), (10, 6)), 60, 2, 0, id="up"),
    pytest.param(at((100, 6), (10, 4)), 60, 0, 2, id="down"),
    pytest.param(at((100, 4), (50, 7), (40, 5), (30, 8), (10, 3)), 60, 6, 7, id="one is not counted against the other"),
    pytest.param(at((100, 4), (61, 6)), 60, 0, 0, id="before the period"),
    pytest.param(at((100, 4), (60, 6)), 60, 0, 0, id="as it began"),
    pytest.param(at((100, 4), (59, 6)), 60, 2, 0, id="just within"),
]


@pytest.mark.parametrize(("history", "period_s", "up", "down"), MOVES)
def test_by_how_much_it_moved(history: History, period_s: float, up: int, down: int) -> None:
    assert moved(history, before(period_s), up=True) == up
    assert moved(history, before(period_s), up=False) == down


def test_only_changes_are_kept() -> None:
    history: History = ()
    for seconds, count in ((50, 4), (40, 4), (30, 5), (20, 5), (10, 4)):
        history = record(history, count, before(seconds), timedelta(minutes=5))

    assert history == at((50, 4), (30, 5), (10, 4))


def test_what_left_the_window_goes_but_for_the_one_that_held_on() -> None:
    history = at((100, 3), (80, 4), (50, 5))

    assert record(history, 5, START, timedelta(seconds=90)) == at((100, 3), (80, 4), (50, 5))
    assert record(history, 5, START, timedelta(seconds=80)) == at((80, 4), (50, 5))
    assert record(history, 5, START, timedelta(seconds=60)) == at((80, 4), (50, 5))
    assert record(history, 6, START, timedelta(seconds=50)) == at((50, 5), (0, 6))
    assert record(at((900, 3)), 3, START, timedelta(seconds=60)) == at((900, 3))


counts = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), min_size=1, max_size=30)


@given(counts, st.integers(0, 60))
def test_forgetting_changes_no_answer_about_the_window(steps: Sequence[tuple[int, int]], window_s: int) -> None:
    window, now = timedelta(seconds=window_s), START
    short: History = ()
    whole: History = ()
    for passed_s, count in steps:
        now += timedelta(seconds=passed_s)
        short = record(short, count, now, window)
        whole = record(whole, count, now, timedelta(days=365))
        start = now - window
        assert highest(short, start) == highest(whole, start)
        assert lowest(short, start) == lowest(whole, start)
        assert [moved(short, start, up=up) for up in (True, False)] == [
            moved(whole, start, up=up) for up in (True, False)
        ]
        assert all(entry.at > start for entry in short[1:])
