"""What the tests of other projects' issues share: a world with its own policy, and the issue's name in the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from controller.core.decision import ScalePool
from controller.core.model import ReplicaId, Signal
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.reconcile.tick import Ticker
from tests.scenarios.world import POOL, World

Test = Callable[..., Any]


def of(*issues: str) -> pytest.MarkDecorator:
    """The issues that a test is about; each gives it its name."""
    return pytest.mark.parametrize("issue", issues)


@dataclass
class Pool(World):
    """A world with one pool that goes by `scaling`. `cold_start_s`: how long a replica needs until it is ready."""

    scaling: ScalingPolicy = ScalingPolicy()
    cold_start_s: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.runtime.cold_start_s = self.cold_start_s
        self._before = 0

    def controller(self) -> Ticker:
        """A new one, as after a crash or with another policy."""
        parts = super().controller()._parts
        self.ticker = Ticker(parts, (PoolPolicy(POOL, "llama", self.scaling),))
        return self.ticker

    @property
    def desired(self) -> int:
        """What the last tick wanted."""
        assert self.ticker.latest is not None
        return self.ticker.latest.plan.memory.pools[POOL].desired

    @property
    def why(self) -> list[str]:
        """The sentences of the last tick."""
        assert self.ticker.latest is not None
        return [reason.text for reason in self.ticker.latest.plan.standing[POOL]]

    def counts(self) -> list[int]:
        """Every count that the pool was scaled to, in order, since `at`."""
        rows = reversed(self.store.decisions(limit=10_000))
        return [row.decision.desired for row in rows if isinstance(row.decision, ScalePool)][self._before :]

    def load(self, in_flight: float | None) -> None:
        """So many requests are in flight at the gateway; None: it does not tell."""
        self.metrics.pool[POOL, Signal.IN_FLIGHT] = in_flight

    def latency(self, seconds: float | None) -> None:
        """As users see it; None: nobody knows."""
        self.metrics.pool[POOL, Signal.LATENCY] = seconds

    def each(self, signal: Signal, value: float | None) -> None:
        """Every replica that serves says so; None: it does not tell."""
        for name in self.routed():
            self.metrics.replica[POOL, ReplicaId(name), signal] = value

    def every_2_s(self, seconds: float, step: Callable[[Pool], None]) -> None:
        """Run, and let the world answer what the controller did: `step` before each tick."""
        for _ in range(int(seconds / 2)):
            step(self)
            self.run(2)

    def at(self, count: int) -> Pool:
        """The pool with so many replicas, and long watched."""
        self.load(count * 4)
        self.run(60)
        assert len(self.routed()) == count, self.why
        self.run(self.scaling.scale_down_window.total_seconds() + 60)
        assert len(self.routed()) == count, self.why
        self._before = len(self.counts())
        return self
