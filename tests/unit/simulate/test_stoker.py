"""The real core on the simulated fleet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.model import Known, Signal
from controller.core.policy import HealthPolicy, LatencyPolicy, Measure, ScalingPolicy, TargetPolicy, UtilizationPolicy
from controller.simulate.engine import EngineModel, Job
from controller.simulate.fleet import Fleet, Outcome
from controller.simulate.metrics import Latency, Metrics
from controller.simulate.runner import run
from controller.simulate.setup import Setup
from controller.simulate.stoker import Stoker, _readings
from controller.simulate.synthetic import Kind, Synthetic
from controller.simulate.traces import Request
from tests.unit.simulate.build import numbers

SETUP = Setup(
    policy=ScalingPolicy(floor=2, ceiling=6, in_flight=TargetPolicy(2.0)),
    engine=EngineModel(4, 1000, 10, 0.0, 1.0, 100_000),
    cold_start_s=5.0,
)


class World:
    """A fleet, its metrics and the core, one second after the other; ticks fall on even ones."""

    def __init__(self, setup: Setup = SETUP, outages: tuple[tuple[float, float], ...] = ()) -> None:
        self.ended: list[Outcome] = []
        self.fleet = Fleet(setup, self._on_end)
        self.metrics = Metrics(self.fleet, setup, outages)
        self.seconds = 0
        self.stoker = Stoker(setup)
        self.stoker.begin(self.fleet)

    def _on_end(self, job: Job, now: float, outcome: Outcome) -> None:
        self.ended.append(outcome)
        self.metrics.on_end(job, now, outcome)

    def until(self, end: int) -> None:
        for now in range(self.seconds, end + 1):
            self.seconds = now + 1
            while self.fleet.next_at() <= now:
                self.fleet.step(self.fleet.next_at())
            self.fleet.now_s = float(now)
            self.metrics.scrape(now)
            if now % 2 == 0:
                self.tick()

    def tick(self) -> None:
        self.stoker.step(self.fleet, lambda: self.metrics.view(self.fleet.now_s, self.stoker.desired))

    def ask(self, count: int, output: int) -> None:
        for _ in range(count):
            self.fleet.arrive(Request(self.fleet.now_s, 10, output))

    def names(self) -> list[str]:
        return sorted(self.fleet.replicas)


def test_it_begins_with_the_floor_ready() -> None:
    world = World()
    assert (world.names(), world.fleet.serving(), world.stoker.desired) == (["sim-1", "sim-2"], 2, 2)
    world.until(20)
    assert (world.names(), world.fleet.serving()) == (["sim-1", "sim-2"], 2)


def test_it_grows_under_load_and_routes_what_is_ready() -> None:
    world = World()
    world.until(0)
    world.ask(10, output=1000)
    world.until(2)
    assert world.stoker.desired > 2
    started = [known for known in world.fleet.replicas.values() if known.name not in ("sim-1", "sim-2")]
    assert started
    assert not any(known.routed for known in started)
    world.until(20)
    assert world.fleet.serving() == world.stoker.desired == len(world.fleet.replicas)


def test_it_shrinks_after_its_window_and_removes_what_exited() -> None:
    world = World()
    world.until(0)
    world.ask(10, output=300)
    world.until(60)
    assert world.stoker.desired > 2
    assert world.fleet.in_flight == 0
    world.until(600)

    assert (len(world.names()), world.fleet.serving(), world.stoker.desired) == (2, 2, 2)
    assert set(world.ended) == {Outcome.DONE}


def test_a_dead_replica_is_replaced_at_once() -> None:
    world = World()
    world.until(4)
    dead = world.fleet.replicas["sim-1"]
    dead.died = True
    world.fleet._kill(dead)
    world.tick()

    assert world.names() == ["sim-2", "sim-3"]
    assert world.fleet.serving() == 1
    world.until(12)
    assert world.fleet.serving() == 2


def test_a_drain_that_takes_too_long_is_ended() -> None:
    setup = replace(
        SETUP,
        policy=replace(
            SETUP.policy,
            scale_down_window=timedelta(seconds=10),
            utilization=UtilizationPolicy(enabled=False),
            latency=LatencyPolicy(enabled=False),
        ),
        health=HealthPolicy(drain_timeout=timedelta(seconds=5)),
    )
    world = World(setup)
    world.until(0)
    world.ask(30, output=100)
    world.until(40)
    world.ask(3, output=100_000)  # one for each of three, for as long as it goes
    world.until(200)

    assert Outcome.CUT in world.ended


def test_blind_it_keeps_its_count() -> None:
    world = World(outages=((50.0, 2000.0),))
    world.until(0)
    world.ask(10, output=300)
    world.until(48)
    grown = world.stoker.desired
    world.until(1500)

    assert world.stoker.desired == grown > 2


def test_the_reasons_of_the_last_plan_are_there() -> None:
    world = World()
    world.until(2)

    assert world.stoker.last is not None
    assert world.stoker.last.standing["sim"]  # type: ignore[index]


def test_a_pool_goes_to_zero_and_comes_back_with_a_request() -> None:
    policy = replace(SETUP.policy, floor=0, zero_after=timedelta(minutes=1))
    world = World(replace(SETUP, policy=policy))
    assert world.names() == []
    world.until(10)
    world.ask(1, output=1)
    world.until(30)
    assert (world.fleet.serving(), world.ended) == (1, [Outcome.FAILED])
    world.ask(1, output=1)
    world.until(32)
    assert world.ended[1:] == [Outcome.DONE]
    world.until(1000)
    assert world.names() == []


def test_every_signal_of_a_policy_is_read() -> None:
    readings = _readings(numbers([3, 4], error_share=0.1, last_request_s=5.0), SETUP.policy)

    assert readings.pool[Signal.IN_FLIGHT].value == 7
    assert readings.pool[Signal.ERRORS].value == pytest.approx(0.1)
    assert {signal: len(found) for signal, found in readings.replicas.items()} == dict.fromkeys(
        (Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE, Signal.TOKENS, Signal.MEMORY), 2
    )
    assert readings.last_request.value > 0
    assert _readings(None, SETUP.policy).pool == {}


@pytest.mark.parametrize(
    ("latency", "value"),
    [
        (LatencyPolicy(), 0.5),
        (LatencyPolicy(quantile=None), 0.4),
        (LatencyPolicy(measure=Measure.DURATION, quantile=0.5), 1.0),
        (LatencyPolicy(measure=Measure.DURATION, quantile=None), 2.0),
    ],
)
def test_latency_is_the_one_that_the_policy_means(latency: LatencyPolicy, value: float) -> None:
    class Fixed:
        count = 3

        def __init__(self, quantile: float, mean: float) -> None:
            self._quantile, self._mean = quantile, mean

        def quantile(self, share: float) -> float:
            return self._quantile

        def mean(self) -> float:
            return self._mean

    seen = numbers([1], first_byte=Fixed(0.5, 0.4), duration=Fixed(1.0, 2.0))
    readings = _readings(seen, replace(SETUP.policy, latency=latency))

    assert readings.pool[Signal.LATENCY].value == value


@pytest.mark.parametrize(("in_flight", "known"), [([0], Known.IDLE), ([1], Known.UNKNOWN)])
def test_without_an_answer_in_the_window_latency_is_idle_or_unknown(in_flight: list[int], known: Known) -> None:
    none = Latency((), 0, 0.0)
    readings = _readings(numbers(in_flight, first_byte=none, duration=none), SETUP.policy)

    assert readings.pool[Signal.LATENCY].known is known


def test_a_whole_run_with_failures() -> None:
    made = Synthetic(Kind.BURST, hours=0.5, rps=2, prompt=100, output=20)
    # So many deaths are no accident any more: the fuse would blow.
    dying = replace(SETUP, mtbf_s=300.0, health=HealthPolicy(budget_actions=1000))
    result = run(made, Stoker(dying), dying)

    assert result.deaths > 0
    assert result.requests == result.done + result.failed + result.cut
    assert result.slo_share > 0.9
