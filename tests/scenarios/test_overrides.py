"""Whole ticks on fakes while people change what they want of the pool."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from controller.core.errors import TransientError
from controller.core.model import ReplicaId
from controller.core.overrides import Bounds, Pause
from controller.core.policy import Mode
from controller.core.reason import ReasonCode
from tests.scenarios.world import POOL, World


def bound(world: World, floor: int, ceiling: int) -> None:
    bounds = Bounds(floor, ceiling, world.clock.now(), "alice", "launch")
    world.overrides.change_override(POOL, lambda known: replace(known, bounds=bounds))


def pause(world: World, for_s: float | None = None) -> None:
    now = world.clock.now()
    until = now + timedelta(seconds=for_s) if for_s else None
    world.overrides.change_override(POOL, lambda known: replace(known, pause=Pause(now, "bob", "", until)))


def away(*_: object) -> NoReturn:
    raise TransientError("the table is away")


def test_a_higher_floor_starts_a_replica_and_the_ledger_says_who_wanted_it() -> None:
    world = World().up()
    bound(world, 4, 6)
    world.run(20)
    assert len(world.routed()) == 4
    (scaled,) = [event for event in world.sink.told if event.event == "pool_scaled"]
    assert scaled.message.endswith("; the floor is 4; bounds 4 to 6, instead of 3 to 6, set by alice: launch.")
    assert world.sink.reports[-1].bounds[POOL] == (4, 6)
    (evaluation, *_) = world.store.evaluations(pool=POOL, limit=1)
    assert evaluation.evaluation.policy.floor == 4


def test_a_paused_pool_keeps_its_count_heals_and_goes_on_by_itself_when_its_time_is_up() -> None:
    world = World().up()
    pause(world, for_s=60)
    world.metrics.gateway[POOL] = 40
    world.runtime.kill(ReplicaId("llama-2"))
    world.run(50)
    assert world.routed() == ["llama-1", "llama-3", "llama-4"]
    assert world.ticker.latest is not None
    assert world.ticker.latest.policies[0].mode is Mode.PAUSED

    world.run(40)
    assert len(world.routed()) > 3
    assert world.overrides.overrides() == ()
    (resumed,) = [event for event in world.store.events(limit=999) if event.event == "pool_resumed"]
    assert (resumed.subject, resumed.message) == ("pool/llama", "The time of the pause by bob is up.")


def test_while_their_table_is_away_the_last_known_wishes_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().up()
    bound(world, 4, 6)
    world.run(10)
    monkeypatch.setattr(world.overrides, "overrides", away)
    world.run(30)
    assert len(world.routed()) == 4
    assert world.ticker.latest is not None
    assert ReasonCode.BOUNDS_SET in [reason.code for reason in world.ticker.latest.plan.standing[POOL]]


def test_a_new_controller_does_nothing_until_it_knows_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().up()
    bound(world, 5, 6)
    with monkeypatch.context() as broken:
        broken.setattr(world.overrides, "overrides", away)
        world.controller()
        world.run(10)
        assert world.ticker.latest is None
    world.run(20)
    assert len(world.routed()) == 5
