"""The controller killed between every two steps of its work, then started anew: the same end as without.

Every call of a port that changes something is a step: the record, each container, nginx, the targets, the outcome, the
events, the last words. A scenario is played once to count them, then once for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from controller.core.model import NodeName, Order, OrderKind, ReplicaId
from controller.core.policy import PoolPolicy, RolloutPolicy
from tests.fakes.store import FakeStore
from tests.scenarios.world import POOL, SCALING, World

POLICY = PoolPolicy(POOL, "llama", SCALING, spec_hash="old")
STEPS = {
    "store": ("save", "finish", "append", "keep_last_words"),
    "gateway": ("apply",),
    "targets": ("write",),
    "runtime": ("start_replica", "terminate_replica", "remove_replica"),
}


class Killed(BaseException):
    """The controller dies here; nothing in it may catch this."""


@dataclass
class Killer:
    """Counts the steps, and kills at one of them, once: before it (`after` False) or when it is done."""

    at: int | None = None
    after: bool = False
    steps: list[str] = field(default_factory=list)

    def wrap(self, name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: object, **named: object) -> Any:
            self.steps.append(name)
            mine = self.at == len(self.steps) - 1
            if mine and not self.after:
                raise Killed
            found = whole(*arguments, **named)
            if mine:
                raise Killed
            return found

        return step


@contextmanager
def watched(world: World, killer: Killer) -> Iterator[None]:
    """Every step of this world goes through the killer."""
    owners = {"store": [world.store], "gateway": [world.gateway], "targets": [world.targets]}
    owners["runtime"] = list(world.runtimes.values())
    with pytest.MonkeyPatch.context() as patch:
        for kind, names in STEPS.items():
            for owner in owners[kind]:
                for name in names:
                    patch.setattr(owner, name, killer.wrap(f"{kind}.{name}", getattr(owner, name)))
        yield


def play(world: World, killer: Killer, seconds: float) -> bool:
    """Run; where the controller is killed, start a new one on what lasts and run on. Whether it was killed."""
    try:
        with watched(world, killer):
            world.run(seconds)
    except Killed:
        world.store = FakeStore(world.store.database)
        world.controller()
        world.run(seconds)
        return True
    return False


def end(world: World) -> dict[str, object]:
    """What must be the same: names may differ, since a start that was cut off takes the next number."""
    containers = {name: spec for runtime in world.runtimes.values() for name, spec in runtime.specs.items()}
    pool = world.store.load().pools[POOL]
    return {
        "routed": sorted(containers[ReplicaId(name)] for name in world.routed()),
        "running": sorted(containers[ReplicaId(name)] for name in world.running()),
        "desired": pool.desired,
        "good": pool.good_spec,
        "refused": pool.refused_spec,
        "orders": world.store.orders(),
        "nodes": {node: len(runtime.replicas) for node, runtime in world.runtimes.items()},
        "targets": sorted({item.replica for item in world.targets.written} & set(world.routed())) == world.routed(),
    }


def kill_one(world: World) -> None:
    world.runtime.kill(ReplicaId("llama-2"))


def kill_one_freeze_one(world: World) -> None:
    world.runtime.kill(ReplicaId("llama-1"))
    world.runtime.pause(ReplicaId("llama-2"))


def more_load(world: World) -> None:
    world.metrics.gateway[POOL] = 20


def restart_one(world: World) -> None:
    world.store.give_order(Order(OrderKind.RESTART, "replica/llama-1", world.clock.now()))


def drain_a_node(world: World) -> None:
    world.store.give_order(Order(OrderKind.DRAIN, "node/alpha", world.clock.now()))


def lose_a_node(world: World) -> None:
    lost = world.runtimes[NodeName("beta")]
    lost.down = True
    for entry in lost.replicas.values():
        entry.hung = True


def change_the_spec(world: World) -> None:
    world.policy = replace(world.policy, spec_hash="new", rollout=RolloutPolicy(bake=timedelta(seconds=3)))
    world.controller()


def change_to_a_bad_spec(world: World) -> None:
    world.runtime.broken.add("bad")
    world.policy = replace(world.policy, spec_hash="bad")
    world.controller()


@dataclass(frozen=True)
class Scenario:
    happens: Callable[[World], None]
    seconds: float
    nodes: tuple[str, ...] = ("local",)
    floor: int = 3

    def world(self) -> World:
        policy = replace(POLICY, scaling=replace(SCALING, floor=self.floor))
        world = World(policy=policy, nodes=self.nodes)
        world.run(10)
        assert len(world.routed()) == self.floor
        self.happens(world)
        return world


SCENARIOS = [
    Scenario(kill_one, 14),
    Scenario(kill_one_freeze_one, 24),
    Scenario(more_load, 14),
    Scenario(restart_one, 20),
    Scenario(drain_a_node, 60, ("alpha", "beta")),
    Scenario(lose_a_node, 40, ("alpha", "beta")),
    Scenario(change_the_spec, 34, floor=2),
    Scenario(change_to_a_bad_spec, 44, floor=2),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.happens.__name__)
def test_killed_at_any_step_the_next_controller_ends_in_the_same_place(scenario: Scenario) -> None:
    whole, counter = scenario.world(), Killer()
    assert not play(whole, counter, scenario.seconds)
    wanted = end(whole)
    assert len(counter.steps) > 5, counter.steps

    last = len(counter.steps) - 1
    # After a step is before the next one: nothing changes in between.
    for number, after in [*((number, False) for number in range(last + 1)), (last, True)]:
        world = scenario.world()
        assert play(world, Killer(number, after), scenario.seconds), "it was killed"
        where = f"killed {'after' if after else 'before'} step {number}, {counter.steps[number]}"
        assert end(world) == wanted, where
        started = [name for runtime in world.runtimes.values() for name in runtime.started]
        assert len(started) == len(set(started)), f"{where}: started twice"
