"""Whole ticks on fakes, with a receiver of alerts: what is told, when, how often, and what a restart does to that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from controller.core.alarm import Standing
from controller.core.model import NodeName, Signal
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import AlarmParts, Parts
from controller.reconcile.tick import Ticker
from tests.fakes.alarms import FakeAlarms, FakeAlarmSink
from tests.fakes.store import FakeLease, FakeStore
from tests.fakes.world import FakeProber
from tests.scenarios.world import POOL, World, spec

FIRING, RESOLVED = "firing", "resolved"
SLOW, DOWN, FLOOR, TARGET = "StokerLatencyHigh", "StokerPoolDown", "StokerPoolBelowFloor", "StokerTargetDown"


@dataclass
class Watched(World):
    """A world in which somebody wants to know. `run` lets the receiver take what it was told, tick by tick."""

    told: bool = True

    def controller(self) -> Ticker:
        self.alarms = getattr(self, "alarms", None) or FakeAlarms(self.store)
        self.webhook = FakeAlarmSink(self.clock)
        lease = FakeLease(self.store)
        parts = Parts(
            clock=self.clock,
            fleet=Fleet(self.runtimes, self.clock),
            prober=FakeProber(*self.runtimes.values()),
            metrics=self.metrics,
            gateway=self.gateway,
            store=self.store,
            lease=lease,
            sink=self.sink,
            targets=self.targets,
            spec_for=spec,
            alarms=AlarmParts(self.alarms, self.webhook if self.told else None, timedelta(hours=4)),
        )
        self.ticker = Ticker(parts, (self.policy,))
        return self.ticker

    def run(self, seconds: float) -> None:
        """Ticks every 2 s; between two of them the receiver takes what there is."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            self.ticker.run()
            self.webhook.deliver()
            self.clock.advance(2)

    def slow(self, seconds: float | None = 2.0) -> None:
        self.metrics.pool[POOL, Signal.LATENCY] = seconds

    def events(self) -> list[tuple[str, str, str]]:
        return [(e.event, e.subject, e.reason) for e in self.sink.told if e.event.startswith("alert")]


@pytest.fixture
def world() -> Watched:
    made = Watched()
    made.up()
    assert made.webhook.received == []
    return made


def test_a_threshold_is_told_when_it_is_crossed_for_its_time_and_when_it_is_over(world: Watched) -> None:
    crossed = world.clock.now()
    world.slow()
    world.run(120)
    world.slow(0.1)
    over = world.clock.now()
    world.run(120)

    assert world.webhook.told() == [(SLOW, FIRING), (SLOW, RESOLVED)]
    fired, resolved = world.webhook.received
    assert timedelta(seconds=15) <= fired.changed_at - crossed <= timedelta(seconds=17)
    assert resolved.changed_at - over <= timedelta(seconds=62), "it is kept for a minute, and told by the next tick"
    assert fired.finding.description == "2 s (first_byte, p95), above 0.5 s for 15 s."
    assert world.events() == [
        ("alert_firing", "pool/llama", SLOW),
        ("alert_resolved", "pool/llama", SLOW),
    ]
    assert [row.event for row in world.store.events(limit=200) if row.event.startswith("alert")] == [
        "alert_resolved",
        "alert_firing",
    ]


def test_what_goes_on_is_told_again_after_the_interval(world: Watched) -> None:
    world.slow()
    world.run(5 * 3600)

    assert world.webhook.told() == [(SLOW, FIRING)] * 2
    first, second = (alarm.since for alarm in world.webhook.received)
    assert first == second


def test_a_restart_tells_nothing_twice_and_forgets_no_end(world: Watched) -> None:
    world.slow()
    world.run(30)
    before = world.webhook.received[0]
    for _ in range(3):
        world.controller()
        world.run(60)
        assert world.webhook.told() == []
    world.slow(0.1)
    world.controller()
    world.run(90)

    assert world.webhook.told() == [(SLOW, RESOLVED)]
    assert world.webhook.received[0].since == before.since
    assert world.alarms.rows == {}


def test_a_restart_before_it_was_taken_tells_it(world: Watched) -> None:
    world.webhook.trouble = "The webhook answered 500"
    world.slow()
    world.run(30)
    assert world.webhook.received == []
    world.controller()
    world.run(4)

    assert world.webhook.told() == [(SLOW, FIRING)]


def test_a_receiver_that_is_away_is_said_once_and_gets_all_when_it_is_back(world: Watched) -> None:
    world.webhook.trouble = "The webhook could not be reached: ConnectionError"
    world.slow()
    world.run(600)
    world.metrics.pool[POOL, Signal.ERRORS] = 0.5
    world.run(600)
    assert world.webhook.received == []
    world.webhook.trouble = ""
    world.run(6)

    assert world.webhook.told() == [(SLOW, FIRING), ("StokerErrorsHigh", FIRING)]
    assert [name for name, subject, _ in world.events() if subject == "webhook"] == [
        "alerts_undelivered",
        "alerts_delivered",
    ]
    assert world.sink.names().count("tick_failed") == 0


def test_one_that_came_and_went_while_the_receiver_was_away_is_not_told(world: Watched) -> None:
    world.webhook.trouble = "The webhook answered 500"
    world.slow()
    world.run(60)
    world.slow(0.1)
    world.run(120)
    world.webhook.trouble = ""
    world.run(60)

    assert world.webhook.received == []


def test_without_prometheus_it_tells_that_and_what_it_knows_itself(world: Watched) -> None:
    world.slow()
    world.run(30)
    world.metrics.down = True
    world.run(200)
    assert world.webhook.told() == [(SLOW, FIRING), (TARGET, FIRING)], "what was slow is not known to be well"

    world.runtime.broken.add("")  # what starts from now on exits at once
    for name in list(world.runtime.replicas):
        world.runtime.kill(name)
    world.run(200)
    told = world.webhook.told()
    assert (DOWN, FIRING) in told
    assert (FLOOR, FIRING) in told
    assert (SLOW, RESOLVED) in told, "nobody is served slowly by a pool that is down"

    world.metrics.down = False
    world.run(30)
    assert (TARGET, RESOLVED) in world.webhook.told()


def test_while_no_engine_answers_what_stands_over_a_pool_stands(world: Watched) -> None:
    world.runtime.down = True
    world.run(60)

    assert world.webhook.told() == [("StokerNodeDown", FIRING)]
    world.runtime.down = False
    world.run(10)
    assert world.webhook.told() == [("StokerNodeDown", FIRING), ("StokerNodeDown", RESOLVED)]


def test_a_replica_that_falls_again_and_again_is_told_of(world: Watched) -> None:
    for _ in range(7):
        world.runtime.kill(next(iter(sorted(world.runtime.replicas))))
        world.run(30)

    assert ("StokerReplicaFlapping", FIRING) in world.webhook.told()


def test_ticks_that_fail_end_nothing_and_what_is_due_is_told_meanwhile(world: Watched) -> None:
    world.webhook.trouble = "The webhook answered 500"
    world.slow()
    world.run(30)
    world.store.database.gone = True
    world.webhook.trouble = ""
    world.run(60)
    assert world.webhook.told() == [(SLOW, FIRING)]

    world.store.database.gone = False
    world.run(10)
    assert {key[0]: alarm.standing for key, alarm in world.alarms.rows.items()} == {SLOW: Standing.FIRING}
    assert world.webhook.told() == [(SLOW, FIRING)]


def test_who_lost_the_lead_tells_nothing_more(world: Watched) -> None:
    FakeStore(world.store.database).take_term()
    world.slow()
    world.run(120)

    assert world.ticker.lost_lease
    assert world.webhook.received == []


def test_a_quiet_world_writes_no_row(world: Watched) -> None:
    world.run(600)
    assert (world.alarms.writes, world.webhook.received, world.ticker.alarms()) == (0, [], ())


def test_one_that_goes_on_is_written_once_and_once_when_it_was_taken(world: Watched) -> None:
    world.slow()
    world.run(1200)

    assert world.alarms.writes == 2


def test_without_a_receiver_it_is_only_known() -> None:
    alone = Watched(told=False)
    alone.up()
    alone.slow()
    alone.run(30)

    assert [alarm.finding.name for alarm in alone.ticker.alarms()] == [SLOW]
    assert alone.alarms.rows == {}
    assert alone.events() == []
    alone.slow(0.1)
    alone.run(80)
    assert alone.ticker.alarms() == ()


def test_a_node_of_two_that_is_silent_is_told_with_its_name() -> None:
    world = Watched(nodes=("one", "two"))
    world.run(20)
    world.runtimes[NodeName("two")].down = True
    world.run(60)

    found = [dict(alarm.finding.labels) for alarm in world.webhook.received if alarm.finding.name == "StokerNodeDown"]
    assert found == [{"node": "two"}]
