"""Counters of several gateways as one that only grows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.access import KeyId
from controller.core.streams import Stream, add_up

ONE, TWO = KeyId("key_000000000001"), KeyId("key_000000000002")
A1, B1, A2 = Stream("a:1", ONE), Stream("b:1", ONE), Stream("a:1", TWO)


@pytest.mark.parametrize(
    ("last", "readings", "counters"),
    [
        pytest.param({A1: 10}, {A1: 15}, {ONE: 105}, id="growth of one"),
        pytest.param({A1: 10, B1: 20}, {A1: 11, B1: 22}, {ONE: 103}, id="growth of several is added up"),
        pytest.param({A1: 10, B1: 20}, {A1: 11}, {ONE: 101}, id="one that is gone takes nothing away"),
        pytest.param({A1: 10}, {A1: 11, B1: 500}, {ONE: 101}, id="one that was never seen counts from now on"),
        pytest.param({A1: 10}, {A1: 3}, {ONE: 103}, id="a counter that fell began at zero"),
        pytest.param({A1: 10}, {A1: 10, A2: 7}, {ONE: 100, TWO: 7}, id="a key that is new there began at zero"),
        pytest.param({}, {A1: 1000}, {ONE: 100}, id="of the first reading nothing is known"),
        pytest.param({A1: 10}, {}, {}, id="no reading, no counter"),
        pytest.param({A1: 10}, {A1: math.nan}, {}, id="no number"),
        pytest.param({A1: 10}, {A1: -1}, {}, id="less than nothing"),
    ],
)
def test_growth(last: dict[Stream, float], readings: dict[Stream, float], counters: dict[str, float]) -> None:
    assert add_up(last, {ONE: 100.0}, readings).counters == counters


def test_one_that_is_back_goes_on_from_where_it_was() -> None:
    first = add_up({A1: 10, B1: 20}, {ONE: 0}, {A1: 10})
    back = add_up(first.last, first.counters, {A1: 10, B1: 25})

    assert back.counters == {ONE: 5}


def test_a_key_that_its_gateway_has_forgotten_begins_anew() -> None:
    """An exporter drops a key that was idle for an hour; when it is back, it counts from zero."""
    forgotten = add_up({A1: 10, A2: 20}, {ONE: 0, TWO: 0}, {A2: 20})
    assert forgotten.last == {A2: 20}
    back = add_up(forgotten.last, {ONE: 0, **forgotten.counters}, {A1: 30, A2: 20})

    assert back.counters == {ONE: 30, TWO: 0}


@given(st.lists(st.dictionaries(st.sampled_from([A1, B1, A2]), st.floats(0, 1e9)), max_size=20))
def test_it_never_falls(steps: list[dict[Stream, float]]) -> None:
    last: dict[Stream, float] = {}
    counters: dict[KeyId, float] = {}
    for readings in steps:
        sums = add_up(last, counters, readings)
        assert all(value >= counters.get(key, 0.0) for key, value in sums.counters.items())
        assert {stream.key for stream in readings} == set(sums.counters)
        last, counters = dict(sums.last), {**counters, **sums.counters}
