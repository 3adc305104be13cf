"""What is scraped, and the windows over it."""

from __future__ import annotations

import pytest

from controller.simulate.engine import EngineModel, Job
from controller.simulate.fleet import Fleet, Outcome
from controller.simulate.metrics import Metrics, Numbers
from controller.simulate.setup import Setup
from controller.simulate.traces import Request

SETUP = Setup(engine=EngineModel(2, 1000, 10, 0.0, 1.0, 10_000))


class World:
    """A fleet that is scraped every second."""

    def __init__(self, outages: tuple[tuple[float, float], ...] = ()) -> None:
        self.fleet = Fleet(SETUP, self._on_end)
        self.metrics = Metrics(self.fleet, SETUP, outages)
        self.seconds = 0

    def _on_end(self, job: Job, now: float, outcome: Outcome) -> None:
        self.metrics.on_end(job, now, outcome)

    def until(self, end: int) -> None:
        for now in range(self.seconds, end + 1):
            self.seconds = now + 1
            while self.fleet.next_at() <= now:
                self.fleet.step(self.fleet.next_at())
            self.fleet.now_s = float(now)
            self.metrics.scrape(now)

    def ask(self, prompt: int, output: int) -> None:
        self.fleet.arrive(Request(self.fleet.now_s, prompt, output))

    def numbers(self) -> Numbers:
        seen = self.metrics.view(self.fleet.now_s, 1).numbers
        assert seen is not None
        return seen


def test_before_the_first_scrape_nothing_is_known() -> None:
    assert World().metrics.view(0.0, 3).numbers is None


def test_a_view_counts_replicas_without_metrics() -> None:
    world = World(outages=((0, 100),))
    world.fleet.start(warm=True)
    world.fleet.start()
    world.until(5)
    seen = world.metrics.view(5.0, 2)

    assert (seen.ready, seen.starting, seen.desired, seen.numbers) == (1, 1, 2, None)


def test_counts_are_those_of_the_last_scrape() -> None:
    world = World()
    world.fleet.start("a", warm=True)
    for _ in range(3):
        world.ask(500, 100)
    world.until(0)
    world.ask(500, 100)
    seen = world.numbers()

    assert (seen.measured_at_s, seen.in_flight, seen.last_request_s) == (0.0, 3, 0.0)
    usage = seen.of_replica["a"]
    assert (usage.in_flight, usage.waiting, usage.kv_share) == (3, 1, pytest.approx(0.12))
    world.until(1)
    assert world.numbers().in_flight == 4


def test_windows_of_arrivals_ends_and_means() -> None:
    world = World()
    world.fleet.start(warm=True)
    world.until(0)
    for second in range(1, 101):
        world.ask(1, 1)  # over before the next scrape
        world.until(second)
    world.ask(1, 600)  # a minute
    world.until(110)
    seen = world.numbers()

    # The windows reach back to 104, 80 and 50 s.
    assert (seen.arrivals[6], seen.arrivals[30], seen.arrivals[60]) == (0, 20 + 1, 50 + 1)
    assert (seen.ended[6], seen.ended[30], seen.ended[60]) == (0, 20, 50)
    assert (seen.mean_in_flight[6], seen.mean_in_flight[60]) == (1.0, pytest.approx(10 / 60, abs=0.02))


def test_utilization_and_tokens_are_rates_over_their_window() -> None:
    world = World()
    world.fleet.start("a", warm=True)
    world.until(20)
    world.ask(1000, 31)  # reads a second, decodes three: 31 tokens
    world.until(24)
    assert world.numbers().utilization["a"] == pytest.approx(0.4)
    assert world.numbers().tokens_per_s["a"] == pytest.approx(3.1)
    world.until(40)
    assert (world.numbers().utilization["a"], world.numbers().tokens_per_s["a"]) == (0.0, 0.0)


def test_a_young_replica_is_measured_since_it_was_ready() -> None:
    world = World()
    world.until(20)
    world.fleet.start("a", warm=True)
    world.ask(1000, 100)
    world.until(22)

    assert world.numbers().utilization["a"] == pytest.approx(1.0)


def test_latency_is_that_of_what_ended_within_the_window() -> None:
    world = World()
    world.fleet.start(warm=True)
    world.until(1)
    world.ask(1000, 11)  # first token after 1 s, end after 2 s
    world.until(4)
    seen = world.numbers()

    assert (seen.first_byte.mean(), seen.duration.mean()) == (pytest.approx(1.0), pytest.approx(2.0))
    assert seen.first_byte.quantile(0.95) == pytest.approx(1.0, rel=0.2)
    assert seen.duration.quantile(0.5) == pytest.approx(2.0, rel=0.2)
    world.until(40)
    assert (world.numbers().first_byte.count, world.numbers().first_byte.quantile(0.95)) == (0, 0.0)
    assert world.numbers().duration.mean() == 0.0


def test_errors_are_a_share_of_what_ended() -> None:
    world = World()
    world.until(0)
    world.ask(1, 1)
    world.fleet.start(warm=True)
    for _ in range(3):
        world.ask(1, 1)
    world.until(2)
    assert world.numbers().error_share == 0.25
    world.until(60)
    assert world.numbers().error_share == 0.0


def test_what_arrived_while_metrics_were_out_is_counted_after() -> None:
    world = World(outages=((5, 20),))
    world.fleet.start(warm=True)
    world.until(10)
    world.ask(1, 1)
    world.until(19)
    assert world.metrics.view(19.0, 1).numbers is None
    world.until(20)

    assert world.numbers().arrivals[30] == 1
    assert world.numbers().measured_at_s == 20


def test_a_long_run_keeps_few_scrapes() -> None:
    world = World()
    world.fleet.start(warm=True)
    world.until(2000)
    world.ask(1, 1)
    world.until(2001)

    assert len(world.metrics._scrapes) <= 256
    assert world.numbers().arrivals[60] == 1
