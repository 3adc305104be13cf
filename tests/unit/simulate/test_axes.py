"""Scales and their ticks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.simulate import axes
from controller.simulate.axes import Axis

numbers = st.floats(0, 1e6)


def texts(axis: Axis) -> list[str]:
    return [tick.text for tick in axis.ticks]


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (axes.even(8.5, 3), ["0", "5", "10"]),
        (axes.even(0, 3), ["0", "0.0005"]),
        (axes.even(100, 4, low=79.9, unit=" %"), ["70 %", "80 %", "90 %", "100 %"]),
        (axes.whole(1, 3), ["0", "1"]),
        (axes.whole(18, 3), ["0", "10", "20"]),
        (axes.whole(5000, 3), ["0", "2,000", "4,000", "6,000"]),
        (axes.powers(0.1, 22), ["0.1", "1", "10"]),
        (axes.powers(1, 10), ["1", "10"]),
        (axes.time(1.0, 6), ["0", "1 s"]),
        (axes.time(3436, 6), ["0", "10 min", "20 min", "30 min", "40 min", "50 min"]),
        (axes.time(7200, 6), ["0", "30 min", "60 min", "90 min", "120 min"]),
        (axes.time(604_800, 6), ["0", "2 d", "4 d", "6 d"]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[str]) -> None:
    assert texts(axis) == ticks


@given(numbers, st.integers(1, 6))
def test_every_axis_has_room_and_few_ticks(highest: float, count: int) -> None:
    for axis in (axes.even(highest, count), axes.whole(highest, count), axes.time(max(highest, 0.5), count)):
        assert axis.high >= highest
        assert 1 <= len(axis.ticks) <= count + 2
        assert all(0 <= tick.at <= 1 + 1e-9 for tick in axis.ticks)


@given(st.floats(1e-4, 1), st.floats(2, 1e6))
def test_powers_hold_both_ends(low: float, high: float) -> None:
    axis = axes.powers(low, high)

    assert axis.low <= low * (1 + 1e-9)
    assert axis.high >= high * (1 - 1e-9)
    assert all(-1e-9 <= tick.at <= 1 + 1e-9 for tick in axis.ticks)


def test_positions() -> None:
    assert [axes.even(10, 2).at(value) for value in (-1, 0, 5, 10, 11)] == [0, 0, 0.5, 1, 1]
    assert [round(axes.powers(0.1, 10).at(value), 6) for value in (0, 0.1, 1, 10, 99)] == [0, 0, 0.5, 1, 1]
