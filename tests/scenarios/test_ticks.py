"""Whole ticks on fakes: what dies, hangs, vanishes or is cut off half-way, and what comes of it."""

from __future__ import annotations

import pytest

from controller.core.decision import ScalePool
from controller.core.model import Order, OrderKind, ReplicaId, Signal
from tests.fakes.store import FakeStore
from tests.scenarios.world import POOL, World


def test_from_nothing_to_the_floor() -> None:
    world = World()
    world.run(20)

    assert world.routed() == world.running() == ["llama-1", "llama-2", "llama-3"]
    assert all(row.outcome == "done" for row in world.store.decisions(limit=100))


def test_a_quiet_world_decides_nothing_and_writes_nothing() -> None:
    world = World().up()
    before = world.store.decisions(limit=1)
    world.run(120)

    assert world.sink.told == []
    assert world.store.decisions(limit=1) == before


def test_a_killed_replica_is_replaced() -> None:
    world = World().up()
    world.runtime.kill(ReplicaId("llama-2"))
    world.ticker.run()
    assert world.routed() == ["llama-1", "llama-3"]

    world.run(10)
    assert world.routed() == world.running() == ["llama-1", "llama-3", "llama-4"]


def test_a_paused_replica_is_out_after_three_probes_and_replaced() -> None:
    world = World().up()
    world.runtime.pause(ReplicaId("llama-1"))
    world.run(2)
    assert "llama-1" in world.routed(), "two failures are not three"

    world.run(15)
    assert world.routed() == world.running() == ["llama-2", "llama-3", "llama-4"]
    names = world.sink.names()
    assert names.index("replica_unready") < names.index("gateway_reloaded") < names.index("replica_removed")


def test_one_killed_and_one_paused_together() -> None:
    world = World().up()
    world.runtime.kill(ReplicaId("llama-1"))
    world.runtime.pause(ReplicaId("llama-2"))
    world.run(20)

    assert world.routed() == world.running() == ["llama-3", "llama-4", "llama-5"]


def test_load_brings_more_and_its_end_brings_them_back_after_the_window() -> None:
    world = World().up()
    world.run(60)
    world.metrics.gateway[POOL] = 20
    world.run(12)
    assert len(world.routed()) == 5

    world.metrics.gateway[POOL] = 0
    world.run(50)
    assert len(world.routed()) == 5, "the window is not over"
    world.run(30)
    assert len(world.running()) == 3
    scaled = [row.decision for row in world.store.decisions(limit=100) if isinstance(row.decision, ScalePool)]
    assert [(item.current, item.desired) for item in reversed(scaled)] == [(0, 3), (3, 5), (5, 4), (4, 3)]


def test_a_tick_comes_at_the_moment_at_which_a_threshold_was_crossed_for_long_enough() -> None:
    world = World().up()
    world.run(60)
    world.metrics.gateway[POOL] = 9  # busy, and few enough for three
    world.metrics.pool[POOL, Signal.LATENCY] = 0.7
    crossed_at = world.clock.now()
    world.run(20)

    (scaled,) = [row for row in world.store.decisions(limit=2) if isinstance(row.decision, ScalePool)]
    assert (scaled.decision.current, scaled.decision.desired) == (3, 4)
    assert (scaled.at - crossed_at).total_seconds() == 15, "no tick of every 2 s comes then"


def test_a_busy_replica_finishes_before_it_goes() -> None:
    world = World().up()
    world.run(60)
    world.metrics.gateway[POOL] = 16
    world.run(10)
    for entry in world.runtime.replicas.values():
        entry.in_flight = 1
    world.metrics.gateway[POOL] = 4
    world.run(75)
    leaving = [name for name, entry in world.runtime.replicas.items() if entry.terminated]
    assert len(leaving) == 1
    assert leaving[0] not in world.routed()

    world.runtime.replicas[leaving[0]].in_flight = 0
    world.run(4)
    assert leaving[0] not in world.running()


def test_prometheus_gone_holds_the_pool_and_says_so_once() -> None:
    world = World().up()
    world.run(60)
    world.metrics.gateway[POOL] = 20
    world.run(10)
    world.metrics.down = True
    world.run(600)

    assert len(world.routed()) == 5
    assert world.sink.names().count("source_lost") == 1
    world.metrics.down = False
    world.run(4)
    assert world.sink.names().count("source_back") == 1


def test_stale_numbers_are_no_numbers() -> None:
    world = World().up()
    world.run(60)
    world.metrics.gateway[POOL] = 20
    world.run(10)
    world.metrics.gateway[POOL], world.metrics.age_s = 0, 30
    world.run(600)

    assert len(world.routed()) == 5


def test_docker_gone_changes_nothing_but_takes_the_hung_out() -> None:
    world = World().up()
    world.runtime.down = True
    world.run(60)
    assert world.routed() == ["llama-1", "llama-2", "llama-3"]

    world.runtime.pause(ReplicaId("llama-3"))
    world.run(6)
    assert world.routed() == ["llama-1", "llama-2"]

    world.runtime.down = False
    world.run(15)
    assert world.routed() == ["llama-1", "llama-2", "llama-4"]


def test_a_database_that_is_gone_keeps_no_dead_replica_in_the_gateway() -> None:
    world = World().up()
    world.store.database.gone = True
    world.runtime.kill(ReplicaId("llama-1"))
    world.run(10)
    assert world.routed() == ["llama-2", "llama-3"]
    assert world.runtime.started == ["llama-1", "llama-2", "llama-3"], "there is no decision without its record"

    world.runtime.pause(ReplicaId("llama-3"))
    world.run(10)
    assert world.routed() == ["llama-2"]

    world.store.database.gone = False
    world.run(20)
    assert world.routed() == world.running()
    assert len(world.routed()) == 3


def test_a_replica_that_was_ordered_to_be_kept_stays_kept_while_the_database_is_gone() -> None:
    world = World().up()
    world.store.give_order(Order(OrderKind.QUARANTINE, "replica/llama-1", world.clock.now()))
    world.run(10)
    before = world.routed()
    assert "llama-1" not in before
    world.store.database.gone = True
    world.run(60)

    assert world.routed() == before
    assert "llama-1" in world.running()


def test_a_controller_that_never_heard_its_orders_changes_nothing() -> None:
    world = World().up()
    world.controller()
    world.ticker.lead()
    world.store.database.gone = True
    world.runtime.kill(ReplicaId("llama-1"))
    world.run(10)

    assert world.routed() == ["llama-1", "llama-2", "llama-3"]
    assert world.sink.reports[-1].failed


def test_a_new_controller_adopts_and_starts_none() -> None:
    world = World().up()
    world.controller()
    world.run(10)

    assert world.runtime.started == ["llama-1", "llama-2", "llama-3"]
    assert world.routed() == ["llama-1", "llama-2", "llama-3"]


def test_a_new_controller_without_its_database_adopts_too() -> None:
    world = World().up()
    world.store = FakeStore()
    world.controller()
    world.run(10)

    assert world.running() == ["llama-1", "llama-2", "llama-3"]
    world.runtime.kill(ReplicaId("llama-3"))
    world.run(10)
    assert world.running() == ["llama-1", "llama-2", "llama-4"]


def test_an_older_controller_stops_at_the_fence_and_does_nothing() -> None:
    world = World().up()
    old = world.ticker
    lost: list[bool] = []
    old.on_lost_lease = lambda: lost.append(True)
    world.controller()
    world.run(2)
    world.runtime.kill(ReplicaId("llama-3"))
    old.run()

    assert lost == [True]
    assert world.runtime.started == ["llama-1", "llama-2", "llama-3"]


class Cut(Exception):
    """The controller dies here."""


@pytest.mark.parametrize("port", ["runtime.start_replica", "gateway.apply", "store.finish", "targets.write"])
def test_cut_off_between_recording_and_the_end_the_next_controller_ends_in_the_same_place(port: str) -> None:
    world = World().up()
    world.runtime.kill(ReplicaId("llama-2"))
    owner_name, method = port.split(".")
    owner = getattr(world, owner_name)
    whole = getattr(owner, method)

    def die(*_: object, **__: object) -> None:
        raise Cut

    setattr(owner, method, die)
    world.ticker.run()
    setattr(owner, method, whole)
    assert "tick_failed" in world.sink.names()
    world.controller()
    world.run(15)

    assert len(world.routed()) == len(world.running()) == 3
    assert len(world.runtime.started) == 4, "one replaced, none twice"


def test_a_refused_image_is_tried_again_ever_more_rarely() -> None:
    world = World()
    world.runtime.reject = "no such image"
    world.run(300)
    failures = world.sink.names().count("start_replica_failed")
    assert 3 <= failures <= 18, "three at a time, each time after a longer wait"

    world.runtime.reject = None
    world.run(320)
    assert len(world.routed()) == 3


def test_prometheus_is_told_of_every_replica() -> None:
    world = World().up()

    assert sorted(item.replica for item in world.targets.written) == ["llama-1", "llama-2", "llama-3"]
