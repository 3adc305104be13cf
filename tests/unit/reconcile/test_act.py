"""What was decided is begun only for as long as the lease holds."""

from __future__ import annotations

import pytest

from controller.core.decision import RemoveReplica, StartReplica
from controller.core.model import ReplicaId
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.ports import ReplicaSpec
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import Parts
from controller.reconcile.tick import Ticker
from tests.fakes.store import FakeLease, KeptTargets
from tests.fakes.world import FakeProber
from tests.scenarios.world import POOL, World, spec

MANY = 12  # more than are begun at once
TTL_S = 10.0


class Slow(World):
    """A pool of many, and a lease whose clock goes on with the runtime's work."""

    def controller(self) -> Ticker:
        self.at = 0.0
        parts = Parts(
            clock=self.clock,
            fleet=Fleet(self.runtimes, self.clock),
            prober=FakeProber(*self.runtimes.values()),
            metrics=self.metrics,
            gateway=self.gateway,
            store=self.store,
            lease=FakeLease(self.store, ttl_s=TTL_S, now=lambda: self.at),
            sink=self.sink,
            targets=KeptTargets(),
            spec_for=spec,
        )
        self.ticker = Ticker(parts, (self.policy,))
        return self.ticker


@pytest.fixture
def world() -> Slow:
    return Slow(policy=PoolPolicy(POOL, "llama", ScalingPolicy(floor=MANY, ceiling=MANY, surge=MANY)))


def test_nothing_is_begun_once_the_lease_has_run_out(world: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    start = world.runtime.start_replica

    def slow(wanted: ReplicaSpec) -> None:
        start(wanted)
        world.at = TTL_S

    monkeypatch.setattr(world.runtime, "start_replica", slow)
    world.ticker.run()

    rows = [row for row in world.store.decisions(limit=100) if isinstance(row.decision, StartReplica)]
    begun = [row for row in rows if row.outcome == "done"]
    assert len(rows) == MANY
    assert 1 <= len(begun) == len(world.runtime.started) <= 4
    assert {row.outcome for row in rows} == {"done", "LostLease: the lease ran out before it was begun"}
    assert world.store.load().pools[POOL].start_failures == 0, "no start has failed"
    assert "start_replica_failed" in world.sink.names()

    world.ticker.run()
    assert world.ticker.lost_lease
    monkeypatch.undo()
    world.controller()
    world.run(20)
    assert len(world.runtime.started) == len(set(world.running())) == MANY, "whoever leads does the others"


def test_last_words_that_take_their_time_keep_nothing_going(world: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(20)
    world.runtime.kill(ReplicaId("llama-1"))

    def slow(_: ReplicaId) -> str:
        world.at = world.at + TTL_S
        return "the end"

    monkeypatch.setattr(world.runtime, "last_words", slow)
    for _ in range(5):
        world.ticker.run()
        world.clock.advance(2)

    rows = [row for row in world.store.decisions(limit=100) if isinstance(row.decision, RemoveReplica)]
    assert [row.outcome for row in rows] == ["LostLease: the lease ran out before it was begun"]
    assert "llama-1" in world.running()
    assert world.ticker.lost_lease
