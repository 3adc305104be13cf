"""Figures as text."""

from __future__ import annotations

import pytest

from controller.simulate import figures
from tests.unit.simulate.runs import NOTHING, OURS


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.99999, "99.99 %"), (0.5, "50.00 %"), (0.00001, "0.01 %"), (0.0, "0 %")],
)
def test_only_all_is_a_hundred_percent(share: float, text: str) -> None:
    assert figures.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.123, "0.12 s"), (9.999, "10.00 s"), (45.67, "45.7 s"), (1234.5, "1,234 s")]
)
def test_seconds(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5 s"),
        (2.5, "2.5 s"),
        (60, "1 min"),
        (3436, "57 min 16 s"),
        (3600, "1 h"),
        (604_800, "7 d"),
        (90_061, "1 d 1 h"),
    ],
)
def test_span_has_the_two_largest_units(value: float, text: str) -> None:
    assert figures.span(value) == text


@pytest.mark.parametrize(("at_s", "text"), [(0, "0:00:00"), (3725.9, "1:02:05"), (90_061, "1 d 1:01:01")])
def test_clock(at_s: float, text: str) -> None:
    assert figures.clock(at_s) == text


def test_each_figure_has_its_column() -> None:
    columns = figures.SERVED + figures.SPENT

    assert {column.title: column.text(OURS) for column in columns} == {
        "within SLO": "97.57 %",
        "first token in time": "98.00 %",
        "answer in time": "100 %",
        "first token p95": "1.50 s",
        "failed / cut": "2 / 3",
        "worst queue": "1,234",
        "replica-hours": "3.25",
        "cost": "8.12",
        "ups / downs": "2 / 1",
        "flips": "1",
        "peak": "4",
    }
    assert {column.title: column.text(NOTHING) for column in columns}["first token p95"] == "-"
    assert all(column.about.endswith(".") for column in columns)


@pytest.mark.parametrize(("count", "text"), [(0, "0 requests"), (1, "1 request"), (1234, "1,234 requests")])
def test_counted(count: int, text: str) -> None:
    assert figures.counted(count, "request") == text
