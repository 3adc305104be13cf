"""Whole ticks on fakes while something around the controller fails: the disk, the clock, a signal, the engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from controller.core.model import ReplicaId
from controller.reconcile.overrides import OverrideKeeper
from tests.scenarios.world import POOL, World


def refuse(*_: object, **__: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def test_a_controller_that_starts_while_docker_is_silent_leaves_nginx_alone() -> None:
    world = World().up()
    world.runtime.down = True
    world.controller()
    world.run(60)
    assert world.routed() == ["llama-1", "llama-2", "llama-3"]
    assert world.ticker.latest is None, "nothing was seen, so nothing is told"

    world.runtime.down = False
    world.run(4)
    assert world.routed() == ["llama-1", "llama-2", "llama-3"]
    assert world.runtime.started == ["llama-1", "llama-2", "llama-3"]


def test_targets_that_cannot_be_written_stop_no_healing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().up()
    monkeypatch.setattr(world.targets, "write", refuse)
    world.runtime.kill(ReplicaId("llama-2"))
    world.run(10)

    assert world.routed() == ["llama-1", "llama-3", "llama-4"]
    assert "targets_failed" in world.sink.names()


def test_without_a_record_nothing_is_started_but_the_dead_leave_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().up()
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "save", refuse)
        world.runtime.kill(ReplicaId("llama-2"))
        world.run(10)
        assert world.routed() == ["llama-1", "llama-3"]
        assert len(world.runtime.started) == 3
    world.run(10)

    assert world.routed() == ["llama-1", "llama-3", "llama-4"]


def test_a_clock_that_goes_back_an_hour_holds_no_start_back() -> None:
    world = World()
    world.runtime.reject = "no such image"
    world.run(30)
    world.clock.advance(-3600)
    world.runtime.reject = None
    world.run(60)

    assert len(world.routed()) == 3


def test_a_clock_that_goes_back_after_a_silence_keeps_no_failed_replica() -> None:
    world = World().up()
    world.runtime.down = True
    world.run(6)
    world.runtime.down = False
    world.run(60)
    world.clock.advance(-3600)
    for entry in world.runtime.replicas.values():
        entry.started_at = world.clock.now() - timedelta(seconds=60)  # they serve on, whatever the time is
    world.run(4)
    world.runtime.pause(ReplicaId("llama-1"))
    world.run(20)

    assert world.running() == ["llama-2", "llama-3", "llama-4"]


def test_a_replica_that_ignores_sigterm_is_killed_after_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().up()
    world.run(60)
    world.metrics.gateway[POOL] = 16
    world.run(10)
    assert len(world.routed()) == 4
    asked: list[ReplicaId] = []
    monkeypatch.setattr(world.runtime, "terminate_replica", asked.append)
    world.metrics.gateway[POOL] = 0
    world.run(150)

    assert len(world.running()) == 3
    assert 2 <= len(asked) <= 5, "once, and a few times more for one who did not hear"


def test_a_removal_that_moves_nothing_is_not_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().up()
    monkeypatch.setattr(world.runtime, "remove_replica", lambda replica: None)
    world.runtime.kill(ReplicaId("llama-2"))
    world.run(60)

    assert len(world.store.decisions(limit=1000)) < 50


def test_a_replica_that_lost_its_address_is_replaced() -> None:

    world = World().up()
    entry = world.runtime.replicas[ReplicaId("llama-1")]
    entry.container = replace(entry.container, engine=None, launcher=None)
    world.run(15)

    assert world.routed() == ["llama-2", "llama-3", "llama-4"]


def test_a_pool_that_comes_back_numbers_on() -> None:
    world = World().up()
    configured = world.ticker._overrides
    world.ticker._overrides = OverrideKeeper(None, ())
    world.run(30)
    assert world.running() == []

    world.ticker._overrides = configured
    world.run(20)
    assert world.running() == ["llama-4", "llama-5", "llama-6"]
