"""Replicas and the gateway in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.simulate.engine import NEVER, EngineModel, Job
from controller.simulate.errors import ModelError
from controller.simulate.fleet import Fleet, Outcome, State
from controller.simulate.scaler import resize
from controller.simulate.setup import Setup
from controller.simulate.traces import Request

# A prompt of 1000 tokens takes a second, and each further token a tenth of one.
SETUP = Setup(engine=EngineModel(2, 1000, 10, 0.0, 1.0, 100_000), cold_start_s=10.0)


class World:
    """A fleet and what became of its requests, by the times at which they ended."""

    def __init__(self, setup: Setup = SETUP, horizon_s: float = NEVER) -> None:
        self.ended: list[tuple[float, Outcome]] = []
        self.fleet = Fleet(setup, self._on_end, horizon_s)

    def _on_end(self, job: Job, now: float, outcome: Outcome) -> None:
        self.ended.append((round(now, 6), outcome))

    def until(self, now: float) -> None:
        while self.fleet.next_at() <= now:
            self.fleet.step(self.fleet.next_at())
        self.fleet.now_s = now

    def ask(self, prompt: int = 1000, output: int = 1) -> None:
        self.fleet.arrive(Request(self.fleet.now_s, prompt, output))

    def held(self) -> list[int]:
        return [known.engine.in_flight for known in self.fleet.replicas.values()]


def test_a_replica_serves_after_its_cold_start() -> None:
    world = World()
    world.fleet.start("a")
    world.ask()
    world.until(10)
    world.ask()
    world.until(20)

    assert world.ended == [(0.0, Outcome.FAILED), (11.0, Outcome.DONE)]
    assert (world.fleet.serving(), world.fleet.in_flight, world.fleet.arrivals) == (1, 0, 2)


def test_the_least_busy_gets_the_next_in_turn() -> None:
    world = World()
    for _ in range(3):
        world.fleet.start(warm=True)
    spread = []
    for _ in range(4):
        world.ask(output=100)
        spread.append(world.held())

    assert spread == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]]
    world.fleet.drain("replica-1")
    world.ask()
    world.ask()
    assert world.held() == [2, 2, 2]


def test_a_draining_replica_finishes_what_it_has() -> None:
    world = World()
    world.fleet.start("a", warm=True)
    world.ask(output=11)
    world.fleet.drain("a")
    world.fleet.drain("a")
    assert world.fleet.replicas["a"].state is State.DRAINING
    world.ask()
    world.until(5)

    assert world.ended == [(0.0, Outcome.FAILED), (2.0, Outcome.DONE)]
    assert world.fleet.replicas == {}
    assert world.fleet.replica_s() == pytest.approx(2.0)


def test_one_that_still_starts_is_gone_at_once() -> None:
    world = World()
    world.fleet.start("a")
    world.until(4)
    world.fleet.drain("a")
    world.until(30)

    assert (world.fleet.replicas, world.fleet.replica_s()) == ({}, 4.0)


def test_a_kill_cuts_answers_and_tries_the_rest_elsewhere() -> None:
    world = World()
    world.fleet.start("a", warm=True)
    world.ask(output=100)  # has its first token at 1 s
    world.until(1.5)
    world.ask()  # its prompt is being read
    world.ask()  # waits for a slot
    world.fleet.start("b", warm=True)
    world.fleet.remove("a")
    world.fleet.remove("a")
    world.until(10)

    assert world.ended == [(1.5, Outcome.CUT), (2.5, Outcome.DONE), (3.5, Outcome.DONE)]
    assert world.fleet.in_flight == 0


def test_with_no_other_replica_what_was_waiting_fails() -> None:
    world = World()
    world.fleet.start("a", warm=True)
    world.ask()
    world.fleet.remove("a")

    assert world.ended == [(0.0, Outcome.FAILED)]


def test_replicas_die_by_their_number_whoever_orders_them() -> None:
    def deaths(names: list[str]) -> list[float]:
        world, seen = World(replace(SETUP, mtbf_s=100.0, seed=3)), []
        for name in names:
            world.fleet.start(name)
        while world.fleet.deaths < len(names):
            before = world.fleet.deaths
            world.fleet.step(world.fleet.next_at())
            seen += [world.fleet.now_s] * (world.fleet.deaths - before)
        return seen

    assert deaths(["a", "b", "c"]) == deaths(["x", "y", "z"])
    assert min(deaths(["a", "b", "c"])) > 10.0
    assert len(set(deaths(["a", "b", "c"]))) == 3


def test_cold_starts_differ_within_their_jitter() -> None:
    world = World(replace(SETUP, cold_start_jitter=0.2))
    for _ in range(50):
        world.fleet.start()
    world.until(20)
    times = [known.ready_s or 0.0 for known in world.fleet.replicas.values()]

    assert 8 <= min(times) < 9 < 11 < max(times) <= 12


def test_an_autoscaler_may_route_itself() -> None:
    world = World()
    world.fleet.follows = False
    world.fleet.start("a", warm=True)
    assert world.fleet.serving() == 0
    assert world.fleet.route(["a"]) is True
    assert world.fleet.route(["a"]) is False
    assert world.fleet.serving() == 1
    world.fleet.drain("a")
    assert world.fleet.replicas["a"].state is State.EXITED  # until it is removed
    assert world.fleet.route(["a"]) is True
    assert world.fleet.serving() == 0
    world.fleet.remove("a")
    assert world.fleet.replicas == {}


def test_replicas_are_paid_for_up_to_the_horizon() -> None:
    world = World(horizon_s=100.0)
    world.fleet.start("a", warm=True)
    world.until(50)
    world.fleet.start("b", warm=True)
    world.until(200)
    world.fleet.drain("a")
    world.fleet.start("c")
    world.until(300)

    assert (world.fleet.replica_s(), world.fleet.peak) == (150.0, 2)


def test_a_count_is_carried_out_at_once() -> None:
    world = World()
    resize(world.fleet, 3)
    world.until(10)
    resize(world.fleet, 5)
    resize(world.fleet, 4)
    states = [(known.name, known.state) for known in world.fleet.replicas.values()]
    assert states == [
        ("replica-1", State.READY),
        ("replica-2", State.READY),
        ("replica-3", State.READY),
        ("replica-4", State.STARTING),
    ]
    resize(world.fleet, 1)
    assert len(world.fleet.replicas) == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: replace(SETUP, cold_start_s=-1), "a cold start takes up to -1 s; it must be at least 0"),
        (
            lambda: replace(SETUP, cold_start_s=290, cold_start_jitter=0.1),
            "up to 319 s; it must be at least 0 and below",
        ),
        (lambda: replace(SETUP, cold_start_jitter=-0.1), "cold_start_jitter must be at least 0 and below 1"),
        (lambda: replace(SETUP, mtbf_s=0), "mtbf_s must be at least 1 s, or none"),
        (lambda: replace(SETUP, slo_first_token_s=0), "slo_first_token_s is 0; it must be a time above 0"),
        (lambda: replace(SETUP, slo_duration_s=NEVER), "slo_duration_s is inf; it must be a time above 0"),
        (lambda: replace(SETUP, price_per_hour=-1), "price_per_hour must be at least 0"),
        (lambda: replace(SETUP, usage_window_s=0), "usage_window_s is 0; it must be between 1 and 120 s"),
    ],
)
def test_an_impossible_setup_is_refused(wrong: Callable[[], Setup], sentence: str) -> None:
    with pytest.raises(ModelError) as refused:
        wrong()

    assert sentence in str(refused.value)
