"""The last hour of the pools: when Prometheus is asked for it, and what a page has meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.api.deps import Sources
from controller.api.history import Told
from controller.api.web.fleet_rows import Hour
from controller.api.web.hours import Hours
from controller.core.timeline import Axis
from controller.records import Series
from tests.fakes.big_fleet import BigFleet
from tests.waiting import wait_for

START = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)


class Book:
    """A history that says 1, 2, 3, ... errors in a hundred, one more with each question, and counts them."""

    def __init__(self, pool: str) -> None:
        self.pool, self.asked, self.away, self.fault = pool, 0, False, ""

    def ask(self, promql: str, axis: Axis, *, moves: bool = True) -> Told:
        self.asked += 1
        if self.fault:
            raise ValueError(self.fault)
        points = {axis.asked[-1]: self.asked / 100}
        series = Series({"pool": self.pool, "column": "error_ratio"}, points)
        return Told(axis, (series,), START, START if self.away else None)

    def close(self) -> None:
        """Nothing is open."""


class Page:
    """Looks at the hours, as a page that is rendered with each tick."""

    def __init__(self) -> None:
        fleet = BigFleet(pools=1, nodes=1)
        self.pool = str(fleet.policies[0].pool)
        self.now, self.book, self.hours = START, Book(self.pool), Hours()
        self.sources: Sources = replace(fleet.sources(), history=self.book, now=lambda: self.now)

    def look(self) -> Mapping[str, Hour]:
        return self.hours.of(self.sources)

    def shown(self) -> float | None:
        """The newest share of errors on the page."""
        return self.look()[self.pool].errors[-1]

    def pass_by(self, seconds: int) -> None:
        """So much time, with looks at its end until what was asked is answered."""
        self.now += timedelta(seconds=seconds)
        self.look()
        wait_for(lambda: self.hours._asked is None or self.hours._asked.done(), 10, "the answer")
        self.look()


@pytest.fixture
def page() -> Page:
    return Page()


def test_the_first_page_has_its_hour(page: Page) -> None:
    assert page.shown() == 0.01


def test_what_changes_once_a_minute_is_asked_for_once_a_minute(page: Page) -> None:
    page.look()
    for _ in range(44):  # up to 12:01:04
        page.pass_by(1)
        assert page.shown() == 0.01

    page.pass_by(1)

    assert page.shown() == 0.02
    assert page.book.asked == 2


def test_a_page_that_nobody_watched_asks_at_once(page: Page) -> None:
    page.look()

    page.pass_by(3600)

    assert page.shown() == 0.02


def test_while_prometheus_is_away_it_is_asked_every_15_s(page: Page) -> None:
    page.book.away = True
    page.look()
    page.pass_by(14)
    assert page.book.asked == 1

    page.pass_by(1)
    page.book.away = False
    page.pass_by(15)

    assert page.shown() == 0.03
    page.pass_by(14)  # 12:01:04, and it is back
    assert page.book.asked == 3


def test_a_question_that_failed_is_told_once_and_asked_again(page: Page) -> None:
    page.book.fault = "no number"
    with pytest.raises(ValueError, match="no number"):
        page.look()
    assert page.look() == {}

    page.book.fault = ""
    page.pass_by(15)

    assert page.shown() == 0.02


def test_a_clock_that_was_set_back_stops_nothing(page: Page) -> None:
    page.look()

    page.pass_by(-3600)

    assert page.shown() == 0.02
