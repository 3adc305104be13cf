"""The arithmetic of one signal: tables worked out by hand, and the HPA's rules written down a second time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.core.model import UNKNOWN, Known, Reading
from controller.core.signals import ceil, fresh, replicas_for, replicas_for_total, within
from tests.fakes.clock import START

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Case:
    """`ready` in short: one letter for each replica, `r`eady or `n`ot."""

    name: str
    ready: str
    values: Sequence[float | None]
    target: float
    want: int
    tolerance: float = 0.1


CASES = [
    Case("on target", "rrr", [0.7] * 3, 0.7, 3),
    Case("one and two thirds of it", "rrr", [0.3, 0.5, 0.7], 0.3, 5),
    Case("a third of it", "rrrrr", [0.1] * 5, 0.3, 2),
    Case("nothing to do", "rrrr", [0.0] * 4, 0.7, 0),
    Case("a whole multiple is not rounded up for noise", "r" * 10, [0.9] * 10, 0.3, 30),
    Case("nor is a whole fraction", "r" * 10, [0.1] * 10, 0.3, 4),
    Case("noise below a whole number", "r" * 7, [0.6] * 7, 0.7, 6),
    Case("a little more than a whole multiple is", "r" * 10, [0.9] * 9 + [0.9001], 0.3, 31),
    # tolerance: its edges belong to it
    Case("upper edge", "rrr", [0.77] * 3, 0.7, 3),
    Case("above the upper edge", "rrr", [0.7701] * 3, 0.7, 4),
    Case("lower edge", "r" * 20, [0.63] * 20, 0.7, 20),
    Case("below the lower edge", "r" * 20, [0.6299] * 20, 0.7, 18),
    Case("below the edge, and yet the same count", "rrrr", [0.6299] * 4, 0.7, 4),
    Case("no tolerance, on target", "rrr", [0.1 + 0.2] * 3, 0.3, 3, 0.0),
    Case("no tolerance, a little above", "rrr", [0.301] * 3, 0.3, 4, 0.0),
    Case("a wide tolerance", "rrr", [0.149] * 3, 0.1, 3, 0.5),
    # not ready: left out, and 0 where that would grow the pool
    Case("not ready, growing: it counts as 0", "nrr", [0.3, 0.5, 0.7], 0.3, 4),
    Case("not ready, its own reading is not looked at", "nrr", [9.0, 0.5, 0.7], 0.3, 4),
    Case("not ready, growing, the second estimate turns", "rnn", [0.4, 0.5, 0.7], 0.3, 3),
    Case("not ready, growing, the second is in tolerance", "rrrn", [0.9, 0.9, 0.9, None], 0.65, 4),
    Case("not ready, growing, the second is on target", "rn", [1.4, None], 0.7, 2),
    Case("not ready, shrinking: it is left out", "nrrr", [0.9, 0.1, 0.1, 0.1], 0.3, 1),
    Case("not ready, in tolerance of those that are", "nnrr", [None, None, 0.7, 0.7], 0.7, 4),
    Case("not ready, just above target, in tolerance", "nrr", [None, 0.72, 0.72], 0.7, 3),
    Case("not ready, one asks for all the rest", "rnnn", [2.0, None, None, None], 0.25, 8),
    # missing: full load when shrinking, 0 when growing
    Case("missing, growing: it counts as 0", "rrr", [None, 0.5, 0.7], 0.3, 4),
    Case("missing, growing, turns", "rrr", [0.4, None, None], 0.3, 3),
    Case("missing, shrinking: full load", "rrrrr", [None, 0.1, 0.1, 0.1, 0.1], 0.7, 2),
    Case("missing, shrinking, turns", "rrr", [0.2, None, None], 0.3, 3),
    Case("missing, shrinking, in tolerance", "rrrr", [0.6, 0.6, 0.6, None], 0.7, 4),
    Case("missing, shrinking, full load is the target where that is more", "rrrr", [1.0, 1.0, 1.0, None], 4.0, 2),
    Case("missing, on target", "rrr", [0.7, 0.7, None], 0.7, 3),
    Case("missing, above target, in tolerance", "rrr", [0.72, 0.72, None], 0.7, 3),
    Case("one of ten missing hinders no growth", "r" * 10, [1.0] * 9 + [None], 0.5, 18),
    Case("one of ten missing hinders no shrinking", "r" * 10, [0.0] * 9 + [None], 0.7, 2),
    # both
    Case("missing and not ready, shrinking, in tolerance", "rrrn", [0.6, 0.6, None, None], 0.8, 4),
    Case("missing and not ready, growing: both 0", "rrnn", [1.2, None, None, None], 0.25, 5),
    Case("missing and not ready, shrinking: the one full, the other out", "rrrn", [0.1, 0.1, None, 9.0], 0.7, 2),
    Case("growing beyond all that are to come", "rrrnnnn", [0.6, 0.6, 0.6, *[None] * 4], 0.2, 9),
    Case("growing, and those to come will do", "rrrnnnn", [0.5, 0.5, 0.5, *[None] * 4], 0.2, 7),
    # unknown is never zero
    Case("no reading at all holds", "rrr", [None] * 3, 0.7, 3),
    Case("no reading of a ready one holds", "rrn", [None, None, 0.1], 0.7, 3),
    Case("none ready holds", "nnn", [0.1] * 3, 0.7, 3),
    Case("no replica", "", [], 0.7, 0),
    Case("0/0 is missing", "rrr", [NAN, 0.5, 0.7], 0.3, 4),
    Case("all 0/0 holds", "rrr", [NAN] * 3, 0.7, 3),
    Case("infinity is missing", "rrrrr", [INF, 0.1, 0.1, 0.1, 0.1], 0.7, 2),
    Case("minus infinity too", "rrrrr", [-INF, 0.1, 0.1, 0.1, 0.1], 0.7, 2),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_replicas_for(case: Case) -> None:
    ready = [letter == "r" for letter in case.ready]

    assert replicas_for(ready, case.values, case.target, case.tolerance) == case.want


def test_the_tolerance_is_a_tenth_unless_said() -> None:
    assert replicas_for([True], [1.1], 1.0) == 1
    assert replicas_for([True], [1.11], 1.0) == 2


@pytest.mark.parametrize("target", [0.0, -0.5, NAN])
def test_a_target_that_is_no_number_above_0_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="the target is .*; it must be above 0"):
        replicas_for([True], [0.5], target)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 replicas and 1 readings; give one reading for each"):
        replicas_for([True, False], [0.5], 0.7)


@dataclass(frozen=True)
class Pod:
    """For the second writing of the rules: what is known of one replica, in hundredths."""

    ready: bool
    hundredths: int | None

    @property
    def usage(self) -> Fraction:
        assert self.hundredths is not None
        return Fraction(self.hundredths, 100)


def by_the_book(pods: Sequence[Pod], target: Fraction, tolerance: Fraction) -> int:
    """The HPA's rules in exact fractions, pod by pod and in the order of their description."""
    usages = {number: pod.usage for number, pod in enumerate(pods) if pod.ready and pod.hundredths is not None}
    missing = [number for number, pod in enumerate(pods) if pod.ready and pod.hundredths is None]
    unready = [number for number, pod in enumerate(pods) if not pod.ready]
    if not usages:
        return len(pods)

    def ratio() -> Fraction:
        return sum(usages.values(), Fraction(0)) / len(usages) / target

    first = ratio()
    up, down = first > 1, first < 1
    rebalance = bool(unready) and up
    if not rebalance and not missing:
        settled = abs(first - 1) <= tolerance
        return len(pods) if settled else math.ceil(first * (len(pods) - len(unready)))
    if down:
        usages.update(dict.fromkeys(missing, max(Fraction(1), target)))
    if up:
        usages.update(dict.fromkeys(missing, Fraction(0)))
    if rebalance:
        usages.update(dict.fromkeys(unready, Fraction(0)))
    second = ratio()
    if abs(second - 1) <= tolerance or (down and second > 1) or (up and second < 1):
        return len(pods)
    asked = math.ceil(second * len(usages))
    wrong_way = (second < 1 and asked > len(pods)) or (second > 1 and asked < len(pods))
    return len(pods) if wrong_way else asked


pods = st.lists(st.builds(Pod, st.booleans(), st.none() | st.integers(0, 200)), max_size=12)
mostly_ready = st.lists(st.builds(Pod, st.just(True) | st.booleans(), st.integers(0, 120) | st.none()), max_size=40)


@given(pods | mostly_ready, st.integers(1, 150), st.integers(0, 50))
@example([Pod(True, 77)] * 3, 70, 10)
@example([Pod(True, 90)] * 10, 30, 10)
@example([Pod(True, 63)] * 20, 70, 10)
@example([Pod(True, 110), Pod(False, None), Pod(True, None)], 70, 0)
def test_it_is_the_published_calculation(pods: list[Pod], target: int, tolerance: int) -> None:
    values = [None if pod.hundredths is None else pod.hundredths / 100 for pod in pods]

    found = replicas_for([pod.ready for pod in pods], values, target / 100, tolerance / 100)

    assert found == by_the_book(pods, Fraction(target, 100), Fraction(tolerance, 100))


@given(mostly_ready, st.integers(1, 150), st.integers(0, 50), st.integers(100, 400))
def test_more_load_never_asks_for_fewer(pods: list[Pod], target: int, tolerance: int, percent: int) -> None:
    ready = [pod.ready for pod in pods]
    less = [None if pod.hundredths is None else pod.hundredths / 100 for pod in pods]
    more = [None if value is None else value * percent / 100 for value in less]

    asked = replicas_for(ready, less, target / 100, tolerance / 100)

    assert replicas_for(ready, more, target / 100, tolerance / 100) >= asked


@given(mostly_ready, st.integers(1, 150), st.data())
def test_a_reading_that_goes_missing_turns_no_direction(pods: list[Pod], target: int, data: st.DataObject) -> None:
    """Without it a pool that grew may hold, and one that shrank; but none does the opposite."""
    if not pods:
        return
    gone = data.draw(st.integers(0, len(pods) - 1))
    ready = [pod.ready for pod in pods]
    values = [None if pod.hundredths is None else pod.hundredths / 100 for pod in pods]
    without = [*values[:gone], None, *values[gone + 1 :]]
    left = [value for here, value in zip(ready, without, strict=True) if here and value is not None]
    mean = sum(left) / len(left) if left else target / 100

    asked = replicas_for(ready, without, target / 100)

    if mean >= target / 100:
        assert asked >= len(pods)
    if mean <= target / 100:
        assert asked <= len(pods)


TOTALS = [
    # total current target tolerance want
    pytest.param(0, 3, 4, 0.1, 0, id="nothing"),
    pytest.param(12, 3, 4, 0.1, 3, id="on target"),
    pytest.param(13.2, 3, 4, 0.1, 3, id="upper edge"),
    pytest.param(13.3, 3, 4, 0.1, 4, id="above the upper edge"),
    pytest.param(10.8, 3, 4, 0.1, 3, id="lower edge"),
    pytest.param(36, 10, 4, 0.1, 10, id="lower edge of ten"),
    pytest.param(35.9, 10, 4, 0.1, 9, id="below it"),
    pytest.param(1, 0, 4, 0.1, 1, id="from zero"),
    pytest.param(0, 0, 4, 0.1, 0, id="zero stays"),
    pytest.param(0.9, 3, 0.3, 0.0, 3, id="noise of floating point"),
    pytest.param(1.2, 1, 0.3, 0.1, 4, id="a whole multiple with noise"),
    pytest.param(4.01, 3, 4, 0.1, 2, id="a little more than one holds"),
]


@pytest.mark.parametrize(("total", "current", "target", "tolerance", "want"), TOTALS)
def test_replicas_for_total(total: float, current: int, target: float, tolerance: float, want: int) -> None:
    assert replicas_for_total(total, current, target, tolerance) == want


def test_the_tolerance_of_a_total_is_a_tenth_unless_said() -> None:
    assert [replicas_for_total(total, 10, 1.0) for total in (11, 11.1)] == [10, 12]


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (3.0, 3),
        (3 + 1e-12, 3),
        (3 + 1e-6, 4),
        (3 - 1e-12, 3),
        (0.0, 0),
        (1e-12, 0),
        (1e6 + 1e-4, 1_000_000),
        (1 + 1.5e-9, 2),
    ],
)
def test_ceil_is_deaf_to_noise(value: float, want: int) -> None:
    assert ceil(value) == want


@pytest.mark.parametrize(
    ("ratio", "tolerance", "want"),
    [(1.1, 0.1, True), (0.9, 0.1, True), (1.11, 0.1, False), (0.89, 0.1, False), (1.0, 0.0, True), (1.001, 0.0, False)],
)
def test_the_edge_belongs_to_the_tolerance(ratio: float, tolerance: float, want: bool) -> None:
    assert within(ratio, tolerance) is want


def test_zero_is_idle_old_is_unknown_and_what_is_no_number_too() -> None:
    age, late = timedelta(seconds=3), timedelta(milliseconds=1)
    assert Reading.of(0, START) == Reading(Known.IDLE, 0, START)
    assert Reading.of(0.1, START) == Reading(Known.VALUE, 0.1, START)
    assert [Reading.of(value, START) for value in (NAN, INF, -INF)] == [UNKNOWN] * 3
    assert fresh(Reading.of(1, START), START + age, age) == Reading.of(1, START)
    assert fresh(Reading.of(1, START), START + age + late, age) is UNKNOWN
    assert fresh(Reading(Known.VALUE, 1, None), START, age) is UNKNOWN
    assert fresh(Reading(Known.UNKNOWN, 1, START), START, age) is UNKNOWN
    assert fresh(Reading.of(1, START + age), START, age).known is Known.VALUE, "a clock that is ahead"
