"""Scores, quantiles and chart lines, in bounded memory."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulate.engine import Job
from controller.simulate.fleet import Fleet, Outcome
from controller.simulate.histogram import Histogram
from controller.simulate.score import Score
from controller.simulate.series import MOST_POINTS, Series
from controller.simulate.setup import Setup

SETUP = Setup(slo_first_token_s=1.0, slo_duration_s=10.0, price_per_hour=2.5)


def job(first: float | None) -> Job:
    made = Job(0.0, 1, 1)
    made.first_token_s = first
    return made


def fleet() -> Fleet:
    return Fleet(SETUP, lambda ended, now, outcome: None, 7200.0)


def test_shares_by_first_token_by_duration_and_by_both() -> None:
    score = Score(SETUP, 7200.0, 1)
    for first, end, outcome in (
        (1.0, 10.0, Outcome.DONE),  # on the edge of both
        (1.1, 5.0, Outcome.DONE),
        (0.5, 10.5, Outcome.DONE),
        (2.0, 20.0, Outcome.DONE),
        (0.1, 0.5, Outcome.CUT),
        (None, 0.0, Outcome.FAILED),
        (None, 0.0, Outcome.FAILED),
        (0.2, 0.3, Outcome.DONE),
    ):
        score.on_end(job(first), end, outcome)
    result = score.result("hpa", "trace", fleet())

    assert (result.requests, result.done, result.failed, result.cut) == (8, 5, 2, 1)
    assert (result.slo_share, result.slo_first_token_share, result.slo_duration_share) == (2 / 8, 3 / 8, 3 / 8)
    assert result.first_token_p50_s == pytest.approx(1.0, rel=0.02)
    assert result.first_token_p99_s == pytest.approx(2.0, rel=0.02)
    assert (result.scaler, result.trace, result.duration_s) == ("hpa", "trace", 7200.0)


def test_changes_of_the_count() -> None:
    score = Score(SETUP, 7200.0, 3)
    for now, desired in (
        (0, 3),
        (10, 5),
        (20, 5),
        (100, 8),
        (700, 6),  # down 600 s after up: a flip
        (1400, 7),  # 700 s later: none
        (1401, 6),
        (7201, 20),  # after the horizon
    ):
        score.on_desired(now, desired)
    result = score.result("hpa", "trace", fleet())

    assert (result.scale_ups, result.scale_downs, result.flips) == (3, 2, 2)


def test_hours_cost_and_the_worst_queue() -> None:
    score, machines = Score(SETUP, 7200.0, 1), fleet()
    machines.start(warm=True)
    machines.start()
    score.sample(0.3, machines)
    machines.now_s = 5400.0
    result = score.result("hpa", "trace", machines)

    assert (result.replica_hours, result.cost) == (3.0, 7.5)
    assert (result.peak_replicas, result.worst_queue) == (2, 0)


def test_a_run_without_requests_misses_nothing() -> None:
    result = Score(SETUP, 10.0, 1).result("hpa", "trace", fleet())

    assert (result.slo_share, result.first_token_p50_s, result.series) == (1.0, None, ())


def test_a_result_is_plain_data() -> None:
    score = Score(SETUP, 10.0, 1)
    score.on_end(job(0.5), 1.0, Outcome.DONE)
    score.sample(0.3, fleet())
    content = score.result("hpa", "trace", fleet()).as_dict()

    assert json.loads(json.dumps(content))["series"][0]["first_token_p95_s"] == pytest.approx(0.5, rel=0.1)


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=300), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
@settings(deadline=None)
def test_a_quantile_is_off_by_one_bucket_at_most(values: list[float], share: float) -> None:
    histogram = Histogram(1.02)
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]

    found = histogram.quantile(share)
    assert found is not None
    assert exact / 1.0001 <= found <= exact * 1.0201


def test_a_histogram_is_bounded() -> None:
    histogram = Histogram(1.02)
    for value in (0.0, -1.0, 1e-12, 1e300):
        histogram.add(value)

    assert histogram.count == 4
    assert histogram.quantile(0.5) == pytest.approx(0.001)
    assert Histogram(1.02).quantile(0.5) is None


def test_points_are_means() -> None:
    series = Series(1.0)
    series.first_token(0.5)
    for second in range(3):
        series.sample(second, arrivals=second, in_flight=10 * second, counts=(1, 2, 3 * second))
    points = series.points()

    assert [(point.at_s, point.demand_rps, point.in_flight) for point in points] == [(0, 0, 0), (0, 1, 10), (1, 2, 20)]
    assert (points[0].ready, points[0].desired, points[2].waiting) == (1, 2, 6)
    assert points[0].first_token_p95_s == pytest.approx(0.5, rel=0.1)
    assert points[1].first_token_p95_s is None


@pytest.mark.parametrize("seconds", [1, 599, 600, 601, 1199, 1200, 1201, 5000, 86_400])
def test_a_line_has_few_points_and_loses_nothing(seconds: int) -> None:
    series = Series(1.0)
    for second in range(seconds):
        series.first_token(1.0)
        series.sample(float(second), arrivals=2, in_flight=second, counts=(1, 1, 0))
    points = series.points()

    assert min(seconds, MOST_POINTS // 2) <= len(points) <= MOST_POINTS
    assert {point.demand_rps for point in points} == {2.0}
    assert [point.at_s for point in points] == sorted(point.at_s for point in points)
    assert points[-1].in_flight == pytest.approx(seconds, rel=0.02, abs=2)
    assert all(point.first_token_p95_s for point in points)
