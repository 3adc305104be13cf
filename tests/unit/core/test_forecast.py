"""The trend of the demand, one cold start ahead."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.forecast import Samples, ahead, sample
from tests.fakes.clock import START, FakeClock

WINDOW = timedelta(seconds=120)


def line(values: list[float], every_s: float = 2.0) -> Samples:
    """Samples that end at START."""
    last = len(values) - 1
    return tuple((START - timedelta(seconds=every_s * (last - number)), value) for number, value in enumerate(values))


def test_a_straight_line_goes_on() -> None:
    rising = line([10.0 + number for number in range(20)])  # half a request a second, 29 now

    assert ahead(rising, START, 0) == pytest.approx(29)
    assert ahead(rising, START, 60) == pytest.approx(59)
    assert ahead(rising, START + timedelta(seconds=10), 60) == pytest.approx(64), "the samples are ten seconds old"


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param((), id="none"),
        pytest.param(line([1.0 * number for number in range(9)]), id="too few"),
        pytest.param(line([5.0] * 20), id="flat"),
        pytest.param(line([30.0 - number for number in range(20)]), id="falling"),
        pytest.param(line([5.0, 9.0] * 10), id="up and down"),
        pytest.param(line([5.0, 5.0, 9.0, 5.0, 7.0, 5.0, 8.0, 4.0, 6.0, 7.0]), id="noise that rises a little"),
        pytest.param(tuple((START, 1.0 * number) for number in range(20)), id="all in one moment"),
    ],
)
def test_without_a_trend_there_is_no_forecast(samples: Samples) -> None:
    assert ahead(samples, START, 60) is None


def test_ten_samples_are_enough() -> None:
    assert ahead(line([1.0 * number for number in range(10)]), START, 2) == pytest.approx(10)


def test_a_trend_in_noise_is_seen_once_it_is_twice_its_error() -> None:
    """Ten samples with noise of -1 and 1 in turn: by hand a standard error of 0.12 a step, and a slope of 0.06 more."""
    sure = line([0.35 * number + (1 if number % 2 else -1) for number in range(10)])
    unsure = line([0.15 * number + (1 if number % 2 else -1) for number in range(10)])

    assert ahead(sure, START, 10) is not None
    assert ahead(unsure, START, 10) is None


def test_samples_come_at_most_sixty_times_in_a_window_and_leave_it() -> None:
    clock, samples = FakeClock(), ()
    for number in range(300):
        samples = sample(samples, float(number), clock.advance(1), WINDOW)

    times = [at for at, _ in samples]
    assert len(samples) == 61
    assert {after - before for before, after in zip(times, times[1:], strict=False)} == {timedelta(seconds=2)}
    assert clock.now() - times[0] <= WINDOW + timedelta(seconds=2)


def test_a_sample_too_soon_changes_nothing() -> None:
    first = sample((), 5.0, START, WINDOW)

    assert first == ((START, 5.0),)
    assert sample(first, 9.0, START + timedelta(seconds=1.9), WINDOW) == first
    assert sample(first, 9.0, START + timedelta(seconds=2), WINDOW) == (*first, (START + timedelta(seconds=2), 9.0))


def test_what_is_as_old_as_the_window_stays_and_older_goes() -> None:
    first = ((START - timedelta(seconds=121), 1.0), (START - timedelta(seconds=120), 2.0))

    assert [value for _, value in sample(first, 3.0, START, WINDOW)] == [2.0, 3.0]


@given(st.lists(st.floats(0, 1000), min_size=10, max_size=60), st.floats(0, 600), st.floats(0, 50))
def test_the_further_ahead_the_more(values: list[float], seconds: float, further: float) -> None:
    near, far = (ahead(line(values), START, ahead_s) for ahead_s in (seconds, seconds + further))

    assert (near is None) == (far is None)
    if near is not None and far is not None:
        assert far >= near
