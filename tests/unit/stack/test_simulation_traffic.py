"""A pool's own traffic: what is asked of Prometheus, and what becomes of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from controller.api.history import Told
from controller.api.simulation_schemas import HistoryTraceIn
from controller.api.simulations import SimulationRefused
from controller.core.timeline import Axis
from controller.records import Series
from controller.stack.simulations.ask import USUAL_OUTPUT, Traffic, profile
from controller.stack.simulations.traffic import traffic_of
from tests.fakes.clock import START, FakeClock


@dataclass
class Book:
    """See `HistoryBook`: each number is the same at every moment."""

    numbers: dict[str, float] = field(default_factory=dict)
    answers: bool = True
    asked: list[tuple[str, Axis]] = field(default_factory=list)

    def ask(self, promql: str, axis: Axis, *, moves: bool = True) -> Told:
        self.asked.append((promql, axis))
        if not self.answers:
            return Told(axis)
        series = tuple(
            Series({"column": name}, dict.fromkeys(axis.asked, value)) for name, value in self.numbers.items()
        )
        return Told(axis, series, as_of=START)

    def close(self) -> None:
        pass


def test_rates_and_lengths_are_those_of_the_pool() -> None:
    book = Book({"requests_per_second": 2.0, "prompt_tokens_per_second": 1000.0})
    found = traffic_of(book, FakeClock().now, "small", 0.5)

    assert found == Traffic(60.0, (2.0,) * 30, 500, None)
    promql, axis = book.asked[0]
    assert 'pool="small"' in promql
    assert axis.start == START.timestamp() - 1800

    played = profile(HistoryTraceIn(source="history", hours=0.5), "small", found)
    assert (played.prompt, played.output, played.duration_s) == (500, USUAL_OUTPUT, 1800)
    played = profile(HistoryTraceIn(source="history", hours=0.5, prompt=7), "small", found)
    assert played.prompt == 7


def test_many_hours_have_longer_steps() -> None:
    found = traffic_of(Book(), FakeClock().now, "small", 48)

    assert (found.step_s, set(found.rates), found.prompt) == (600.0, {None}, None)


def test_nobody_who_tells_is_told() -> None:
    with pytest.raises(SimulationRefused, match="Prometheus does not answer, so that nobody knows the traffic"):
        traffic_of(Book(answers=False), FakeClock().now, "small", 1)


def test_more_than_can_be_played_is_refused() -> None:
    with pytest.raises(SimulationRefused, match="had 3,600,000 requests; choose a time with at most 2,000,000"):
        profile(HistoryTraceIn(source="history", hours=1), "small", Traffic(3600.0, (1000.0,)))
