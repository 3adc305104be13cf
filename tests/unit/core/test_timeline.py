"""Axes of time, columns on them, and what a column sums up to."""

from __future__ import annotations

import pytest

from controller.core.costs import Bill, Costs, Prices, bill
from controller.core.timeline import MOST, Axis, axis, axis_of, axis_over, hours

HOUR, DAY = 3600, 86400
NOW = 1_767_614_400 + 7  # seven seconds after noon


@pytest.mark.parametrize(
    ("span", "step", "points"),
    [
        (HOUR / 4, 5, 180),
        (HOUR / 2, 5, 360),
        (HOUR, 10, 360),
        (3 * HOUR, 30, 360),
        (6 * HOUR, 60, 360),
        (DAY, 300, 288),
        (7 * DAY, 1800, 336),
        (30 * DAY, 7200, 360),
        (31 * DAY, 10800, 248),
    ],
)
def test_the_shortest_step_with_few_enough_points(span: float, step: int, points: int) -> None:
    made = axis(NOW - span, NOW)

    assert (made.step, made.points) == (step, points)
    assert made.points <= MOST
    assert made.start % step == 0
    assert NOW - step < made.times[-1] <= NOW, "it ends now"


def test_what_is_said_at_a_moment_and_what_is_of_the_time_from_it_on() -> None:
    said, minutes = axis_of(NOW - 20, NOW, 10), axis_of(NOW - 240, NOW, 120)

    assert list(said.asked) == list(said.times)
    assert [at - NOW for at in said.times] == [-17, -7]
    assert [at - NOW for at in minutes.times] == [-127, -7], "the last one has begun seven seconds ago"
    assert [at - NOW for at in minutes.asked] == [-7, 113], "and is asked for at its end"


def test_those_who_look_at_the_same_time_ask_the_same() -> None:
    assert axis(NOW - HOUR, NOW) == axis(NOW - HOUR + 2, NOW + 2)
    assert axis(NOW - HOUR, NOW) != axis(NOW - HOUR + 4, NOW + 4)


def test_a_column_has_gaps_where_nothing_was_told() -> None:
    made = Axis(100, 10, 3)

    assert made.column({100: 1.0, 120: 2.0, 999: 3.0}) == (1.0, None, 2.0)
    assert Axis(120, 60, 2).column({180: 1.0}) == (1.0, None), "told at its end"


@pytest.mark.parametrize(
    ("until", "expected"),
    [(7200, 2.0 + 3.0), (5400, 2.0 + 1.5), (3600, 2.0), (99999, 5.0)],
)
def test_hours_count_what_has_passed(until: float, expected: float) -> None:
    assert hours((2.0, 3.0), Axis(0, 3600, 2), until) == expected
    assert hours((None, 3.0), Axis(0, 3600, 2), 7200) == 3.0


def test_hours_of_a_part() -> None:
    assert hours((2.0, 3.0), Axis(0, 3600, 2), 5400, 900) == 1.5 + 1.5
    assert hours((2.0, 3.0), Axis(0, 3600, 2), 1800, 900) == 0.5


@pytest.mark.parametrize(
    ("start", "end", "step", "first", "points"),
    [
        (600, 1200, 60, 600, 10),
        (630, 1230, 60, 600, 11),
        (630, 1200, 60, 600, 10),
        (600, 1230, 60, 600, 11),
        (603, 618, 5, 600, 4),
        (600, 615, 5, 600, 3),
        (601, 602, 60, 600, 1),
        (600, 600, 60, 600, 1),
    ],
)
def test_a_time_that_stays_is_on_its_axis_from_end_to_end(
    start: float, end: float, step: int, first: int, points: int
) -> None:
    assert axis_over(start, end, step) == Axis(first, step, points)


@pytest.mark.parametrize(
    ("used", "prices", "expected"),
    [
        pytest.param((2.0, None, 5e6), Prices(), Bill(2.0, None, 5e6, None, None), id="no price"),
        pytest.param((2.0, None, 5e6), Prices(3.0, 0.5), Bill(2.0, None, 5e6, 1.0, 0.2), id="no GPU"),
        pytest.param((2.0, 4.0, 5e6), Prices(3.0, 0.5), Bill(2.0, 4.0, 5e6, 13.0, 2.6), id="both"),
        pytest.param((2.0, 4.0, 0.0), Prices(3.0), Bill(2.0, 4.0, 0.0, 12.0, None), id="no token has no price"),
    ],
)
def test_what_it_costs(used: tuple[float, float | None, float], prices: Prices, expected: Bill) -> None:
    assert bill(*used, prices) == expected


def test_a_pool_may_have_prices_of_its_own() -> None:
    costs = Costs(Prices(2.0), {"small": Prices(1.0)})

    assert (costs.of("small"), costs.of("large")) == (Prices(1.0), Prices(2.0))
