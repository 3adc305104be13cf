"""A controller on fakes: everything around the ticks, and what a scenario asks of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from controller.core.model import NodeName, PoolName, ReplicaId
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.ports import ReplicaSpec
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import Parts
from controller.reconcile.tick import Ticker
from tests.fakes.clock import FakeClock
from tests.fakes.gateway import FakeGateway
from tests.fakes.overrides import FakeOverrides
from tests.fakes.store import FakeLease, FakeStore, KeptSink, KeptTargets
from tests.fakes.world import FakeMetrics, FakeProber, FakeRuntime

POOL = PoolName("llama")
SCALING = ScalingPolicy(
    floor=3,
    ceiling=6,
    scale_down_window=timedelta(seconds=60),
)


def spec(pool: PoolName, replica: ReplicaId, spec_hash: str) -> ReplicaSpec:
    return ReplicaSpec(replica, pool, "llama", "llamacpp", "image", "/m.gguf", spec_hash, 2, 512, 1, 30.0)


@dataclass
class World:
    """Everything around the ticks. `controller()` makes a new one on the same world, as after a crash."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStore = field(default_factory=FakeStore)
    sink: KeptSink = field(default_factory=KeptSink)
    targets: KeptTargets = field(default_factory=KeptTargets)

    policy: PoolPolicy = field(default_factory=lambda: PoolPolicy(POOL, "llama", SCALING))
    nodes: tuple[str, ...] = ("local",)
    overrides: FakeOverrides = field(init=False)

    def __post_init__(self) -> None:
        self.runtimes = {NodeName(name): FakeRuntime(self.clock, node=NodeName(name)) for name in self.nodes}
        self.runtime = self.runtimes[NodeName(self.nodes[0])]
        self.metrics = FakeMetrics(self.clock, self.runtime)
        self.gateway = FakeGateway(self.clock)
        self.metrics.gateway[POOL] = 0
        self.overrides = FakeOverrides(self.store)
        self.ticker = self.controller()

    def controller(self) -> Ticker:
        parts = Parts(
            clock=self.clock,
            fleet=Fleet(self.runtimes, self.clock),
            prober=FakeProber(*self.runtimes.values()),
            metrics=self.metrics,
            gateway=self.gateway,
            store=self.store,
            lease=FakeLease(self.store),
            sink=self.sink,
            targets=self.targets,
            spec_for=spec,
            overrides=self.overrides,
        )
        self.ticker = Ticker(parts, (self.policy,))
        return self.ticker

    def run(self, seconds: float) -> None:
        """Ticks as the schedule makes them: every 2 s, and again when a tick says so."""
        end = self.clock.now() + timedelta(seconds=seconds)
        for _ in range(10_000):
            again = self.ticker.run()
            now = self.clock.now()
            wait = 2.0 if again is None else min(max((again - now).total_seconds(), 0.05), 2.0)
            if now + timedelta(seconds=wait) > end:
                break
            self.clock.advance(wait)
        else:
            pytest.fail("the ticks never come to rest")

    def up(self) -> World:
        """The pool at its floor."""
        self.run(20)
        assert self.routed() == ["llama-1", "llama-2", "llama-3"]
        self.sink.told.clear()
        return self

    def routed(self) -> list[str]:
        return sorted(self.gateway.state().applied.replicas())

    def running(self) -> list[str]:
        return sorted(name for runtime in self.runtimes.values() for name in runtime.replicas)
