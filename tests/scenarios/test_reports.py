"""What ticks report for the controller's own metrics, on which alerts stand: whole ticks on fakes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from controller.core.cron import FloorWindow
from controller.core.gateways import GatewayReport
from controller.core.model import NodeName, ReplicaId
from controller.core.policy import LatencyPolicy, MemoryOf, MemoryPolicy, PoolPolicy, Source, UtilizationPolicy
from controller.ports import Threshold, TickReport
from controller.reconcile.gateways import Gateways
from controller.reconcile.parts import GatewayParts
from tests.scenarios.world import POOL, SCALING, World

FIRST = ReplicaId("llama-1")


def newest(world: World) -> TickReport:
    return world.sink.reports[-1]


def failures(world: World) -> dict[str, int]:
    """By replica, over all reports."""
    found: dict[str, int] = {}
    for report in world.sink.reports:
        for (_, replica), count in report.failed_replicas.items():
            found[replica] = found.get(replica, 0) + count
    return found


def test_the_pools_own_thresholds_are_told_with_what_they_are_of() -> None:
    scaling = replace(
        SCALING,
        utilization=UtilizationPolicy(threshold=0.95, source=Source.GPU),
        memory=MemoryPolicy(threshold=0.8, of=MemoryOf.HOST),
        latency=LatencyPolicy(threshold=2.0, quantile=None),
    )
    world = World(policy=PoolPolicy(POOL, "llama", scaling))
    world.ticker.run()

    assert newest(world).thresholds == (
        Threshold(POOL, "utilization", 0.95, of="gpu"),
        Threshold(POOL, "memory", 0.8, of="host"),
        Threshold(POOL, "latency", 2.0, measure="first_byte", statistic="mean"),
        Threshold(POOL, "errors", 0.01),
    )


def test_a_signal_that_is_disabled_has_no_threshold() -> None:
    scaling = replace(SCALING, latency=LatencyPolicy(enabled=False), memory=MemoryPolicy(enabled=False))
    world = World(policy=PoolPolicy(POOL, "llama", scaling))
    world.ticker.run()

    assert [threshold.signal for threshold in newest(world).thresholds] == ["utilization", "errors"]


def test_what_is_wanted_of_a_pool_is_told_before_any_tick_has_ended_well() -> None:
    world = World()
    world.runtime.down = True
    world.ticker.run()

    report = newest(world)
    assert (report.failed, report.desired) == (True, {})
    assert (report.bounds, len(report.thresholds)) == ({POOL: (3, 6)}, 4)
    assert report.targets == {POOL: 4.0}


def test_the_floor_is_that_of_the_hour() -> None:
    """The fake clock begins at noon."""
    scaling = replace(SCALING, schedule=(FloorWindow("0 12 * * *", timedelta(hours=1), 5, "UTC"),))
    world = World(policy=PoolPolicy(POOL, "llama", scaling))
    world.ticker.run()
    assert newest(world).bounds == {POOL: (5, 6)}

    world.clock.advance(3600)
    world.ticker.run()
    assert newest(world).bounds == {POOL: (3, 6)}


def test_a_replica_that_starts_is_told_with_its_age_until_it_is_ready() -> None:
    world = World()
    world.runtime.cold_start_s = 10.0
    world.run(6)
    ages = newest(world).starting
    assert set(ages) == {(POOL, ReplicaId(f"llama-{number}")) for number in (1, 2, 3)}
    assert 2 < ages[(POOL, FIRST)] <= 6

    world.run(20)
    report = newest(world)
    assert report.starting == {}
    assert {quantile: round(seconds) for (_, quantile), seconds in report.cold_starts.items()} == {
        "0.5": 10,
        "0.95": 10,
    }


def test_a_replica_that_fails_is_counted_once() -> None:
    world = World().up()
    assert failures(world) == {"llama-1": 0, "llama-2": 0, "llama-3": 0}

    world.runtime.kill(FIRST, 137)
    world.run(20)

    assert failures(world) == {"llama-1": 1, "llama-2": 0, "llama-3": 0, "llama-4": 0}


def test_a_replica_that_comes_and_goes_is_counted_each_time() -> None:
    world = World().up()
    for _ in range(3):
        world.runtime.replicas[FIRST].hung = True
        world.clock.advance(2)
        world.ticker.run()
        world.runtime.replicas[FIRST].hung = False
        world.run(10)

    assert failures(world)["llama-1"] == 3


def test_a_replica_that_goes_because_it_is_to_is_no_failure() -> None:
    world = World().up()
    world.policy = replace(world.policy, scaling=replace(SCALING, floor=1, ceiling=2))
    world.controller()
    world.run(120)

    assert len(world.running()) <= 2
    assert sum(failures(world).values()) == 0


def test_a_tick_that_fails_counts_nothing_twice() -> None:
    world = World().up()
    world.runtime.kill(FIRST, 137)
    world.ticker.run()
    world.store.database.gone = True
    for _ in range(3):
        world.clock.advance(2)
        world.ticker.run()

    assert [report.failed for report in world.sink.reports[-4:]] == [False, True, True, True]
    assert failures(world)["llama-1"] == 1


def test_nodes_that_answer_and_one_that_does_not() -> None:
    world = World(nodes=("a", "b"))
    world.run(10)
    assert newest(world).nodes == {"a": True, "b": True}

    world.runtimes[NodeName("b")].down = True
    world.run(4)
    assert newest(world).nodes == {"a": True, "b": False}


def test_nginx_that_refuses_and_takes_again() -> None:
    world = World().up()
    world.gateway.accepts = lambda plan: False
    world.runtime.kill(FIRST, 137)
    world.run(10)
    assert newest(world).gateway_refused

    world.gateway.accepts = lambda plan: True
    world.run(10)
    assert not newest(world).gateway_refused


def test_a_gateway_that_lags_and_the_end_of_the_certificate() -> None:
    world, known = World(), Gateways()
    end = world.clock.now() + timedelta(days=9)
    others = GatewayParts(known, lambda found: None)
    parts = replace(world.ticker._parts, gateways=others, certificate_ends=lambda: {"gateway": end})
    ticker = type(world.ticker)(parts, (world.policy,))
    known.hear(GatewayReport("east", "1"), world.clock.now())
    world.clock.advance(7)
    ticker.run()

    assert newest(world).gateway_lags == {"east": 7.0}
    assert newest(world).certificate_ends == {"gateway": end}
