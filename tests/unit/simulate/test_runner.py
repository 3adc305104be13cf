"""Whole runs: small ones worked out by hand, and what holds for all."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.policy import ScalingPolicy, TargetPolicy
from controller.simulate import baselines
from controller.simulate.engine import EngineModel
from controller.simulate.fleet import Fleet
from controller.simulate.metrics import View
from controller.simulate.runner import run
from controller.simulate.scaler import Counted, Look
from controller.simulate.score import Result
from controller.simulate.series import MOST_POINTS
from controller.simulate.setup import Setup
from controller.simulate.synthetic import Kind, Synthetic
from controller.simulate.traces import Request, Trace, load
from tests.unit.simulate.places import AZURE, public_trace

# A prompt of 1000 tokens takes a second, and each further token a tenth of one.
SETUP = Setup(
    policy=ScalingPolicy(floor=1, ceiling=4, in_flight=TargetPolicy(2.0)),
    engine=EngineModel(2, 1000, 10, 0.0, 1.0, 100_000),
    cold_start_s=5.0,
    slo_first_token_s=1.5,
    slo_duration_s=5.0,
)


def trace(*requests: tuple[float, int, int]) -> Trace:
    return Trace("by hand", tuple(Request(*one) for one in requests))


class Listed:
    """Wants what a list says, one entry for each tick."""

    name = "listed"

    def __init__(self, counts: Sequence[int], interval_s: float = 2.0) -> None:
        self.counts, self.interval_s = list(counts), interval_s
        self.views: list[View] = []

    def decide(self, view: View) -> int:
        self.views.append(view)
        return self.counts.pop(0) if self.counts else view.desired


def play(requests: Trace, counts: Sequence[int], setup: Setup = SETUP) -> tuple[Result, Listed]:
    listed = Listed(counts)
    return run(requests, Counted(listed, 1), setup), listed


def test_one_request() -> None:
    result, _ = play(trace((0.0, 1000, 11)), [])

    assert (result.requests, result.done, result.slo_share) == (1, 1, 1.0)
    assert result.first_token_p50_s == pytest.approx(1.0, rel=0.02)
    assert (result.scale_ups, result.scale_downs, result.peak_replicas, result.worst_queue) == (0, 0, 1, 0)


def test_a_second_replica_takes_over_part_of_the_load() -> None:
    load = trace(*((float(second), 1000, 1) for second in range(20)))
    alone, _ = play(load, [])
    helped, _ = play(load, [2])

    assert alone.slo_share == 1.0  # a second of work in each second
    burst = trace(*((float(second // 2), 1000, 1) for second in range(40)))
    assert play(burst, [])[0].slo_share < play(burst, [2])[0].slo_share
    assert helped.replica_hours == pytest.approx(2 * alone.replica_hours)
    assert (helped.scale_ups, helped.peak_replicas) == (1, 2)


def test_starting_and_draining_replicas_cost() -> None:
    # 20 s: one all the time, one from 4 s on, ordered away at 8 s before it is ready at 9 s.
    result, _ = play(trace((0.0, 1, 1), (20.0, 1, 1)), [1, 1, 2, 2, 1])

    assert result.replica_hours * 3600 == pytest.approx(20 + 4)
    assert (result.scale_ups, result.scale_downs, result.flips) == (1, 1, 1)
    # One that serves a long answer drains for as long as that takes: 10 s from 0 on.
    result, _ = play(trace((0.0, 1, 101), (20.0, 1, 1)), [2, 2, 2, 1])
    assert result.replica_hours * 3600 == pytest.approx(20 + 6, abs=0.1)


def test_what_is_seen_is_as_old_as_the_last_scrape() -> None:
    _, listed = play(trace((1.0, 1000, 11), (7.0, 1, 1)), [])
    ages = [view.now_s - view.numbers.measured_at_s for view in listed.views if view.numbers]

    assert listed.views[0].numbers is None  # nothing is scraped before the first tick
    assert ages == [pytest.approx(0.7)] * len(ages)
    assert [view.numbers.in_flight for view in listed.views if view.numbers] == [1, 0, 0]


def test_metrics_go_missing_in_an_outage() -> None:
    made = replace(trace((0.0, 1, 1), (20.0, 1, 1)), outages=((5.0, 11.0),))
    _, listed = play(made, [])

    assert [view.now_s for view in listed.views if view.numbers is None] == [0.0, 6.0, 8.0, 10.0]


def test_without_a_ready_replica_requests_fail() -> None:
    result = run(trace((0.0, 1, 1), (1.0, 1, 1)), Counted(Listed([]), 0), SETUP)

    assert (result.failed, result.slo_share, result.first_token_p50_s) == (2, 0.0, None)


def test_the_dead_are_replaced_at_once() -> None:
    made = Synthetic(Kind.FLAT, hours=0.5, rps=1, prompt=100, output=5)
    result = run(made, Counted(Listed([]), 2), replace(SETUP, mtbf_s=120.0, seed=2))

    assert result.deaths > 10
    assert result.slo_share > 0.8
    assert result.failed + result.cut > 0
    assert (result.scale_ups, result.peak_replicas) == (0, 2)


def test_cost_ends_with_the_last_arrival() -> None:
    result, _ = play(trace((0.0, 1, 1), (100.0, 1, 1000)), [])

    assert (result.duration_s, result.replica_hours * 3600) == (100.0, pytest.approx(100.0))
    assert result.done == 2


def test_progress_is_told() -> None:
    told: list[tuple[float, float]] = []
    run(trace((0.0, 1, 1), (200.0, 1, 1)), Counted(Listed([]), 1), SETUP, lambda done, of: told.append((done, of)))

    assert told == [(59.3, 200.0), (119.3, 200.0), (179.3, 200.0)]


class Listening(Counted):
    """Notes when it hears of a death."""

    def __init__(self) -> None:
        super().__init__(Listed([]), 1)
        self.deaths_at: list[float] = []

    def on_death(self, fleet: Fleet, look: Look) -> None:
        assert look().now_s == fleet.now_s
        self.deaths_at.append(fleet.now_s)


def test_an_autoscaler_hears_of_each_death() -> None:
    scaler = Listening()
    result = run(Synthetic(Kind.FLAT, hours=0.5), scaler, replace(SETUP, mtbf_s=60.0))

    assert len(scaler.deaths_at) == result.deaths > 1
    assert result.failed > 0


loads = st.lists(st.tuples(st.floats(0, 60), st.integers(1, 3000), st.integers(1, 60)), min_size=1, max_size=60).map(
    lambda found: trace(*sorted(found))
)


@given(loads, st.sampled_from([*baselines.NAMES, "static:2"]), st.sampled_from([None, 15.0]), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_every_request_ends_once_and_the_same_way_each_time(
    load_: Trace, name: str, mtbf_s: float | None, seed: int
) -> None:
    setup = replace(SETUP, mtbf_s=mtbf_s, seed=seed)
    first = run(load_, baselines.scaler(name, setup, load_), setup)

    assert first.requests == len(load_.requests) == first.done + first.failed + first.cut
    assert 0 <= first.slo_share <= min(first.slo_first_token_share, first.slo_duration_share) <= 1
    assert first.replica_hours <= first.peak_replicas * first.duration_s / 3600 + 1e-9
    assert mtbf_s is not None or first.cut == 0
    assert first == run(load_, baselines.scaler(name, setup, load_), setup)


@pytest.mark.parametrize("name", baselines.NAMES)
def test_bounds_hold_for_all(name: str) -> None:
    made = Synthetic(Kind.BURST, hours=0.5, rps=4, prompt=200, output=20)
    result = run(made, baselines.scaler(name, SETUP, made), SETUP)

    assert result.requests == sum(1 for _ in made)
    assert all(1 <= point.desired <= 4 for point in result.series)
    assert len(result.series) <= MOST_POINTS


def test_memory_stays_flat_however_long_it_goes() -> None:
    def peak(hours: float) -> int:
        made = Synthetic(Kind.FLAT, hours=hours, rps=0.2, prompt=100, output=5)
        tracemalloc.start()
        run(made, baselines.scaler("hpa", SETUP, made), SETUP)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(0.1)
    assert peak(4) < 1.5 * peak(1) + 100_000


def test_the_public_azure_trace() -> None:
    found = load(public_trace(AZURE))
    setup = Setup(policy=ScalingPolicy(floor=1, ceiling=8))
    small, large = (run(found, baselines.scaler(name, setup, found), setup) for name in ("static:1", "static:8"))

    assert (small.requests, large.requests) == (8819, 8819)
    assert small.slo_share < 0.5 < 0.9 < large.slo_share
    assert large.replica_hours == pytest.approx(8 * found.duration_s / 3600)
