"""What a tick costs on fakes: the planner and the loop around it, without waiting for anything outside."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.adapters.database import FileLease, FileLock, SqlStore
from controller.core.model import NodeName, PoolName, ReplicaId
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import Parts
from controller.reconcile.tick import Ticker
from tests.fakes.clock import FakeClock
from tests.fakes.gateway import FakeGateway
from tests.fakes.store import KeptSink, KeptTargets
from tests.fakes.world import FakeMetrics, FakeProber, FakeRuntime
from tests.scenarios.world import spec

_TICKS = 50


def measure(replicas: int) -> dict[str, float]:
    """Milliseconds of a quiet tick (median) and of the worst tick while all replicas come up, with a real database."""
    with TemporaryDirectory(prefix="st-") as folder:
        return _measure(replicas, Path(folder))


def _measure(replicas: int, folder: Path) -> dict[str, float]:
    clock = FakeClock()
    runtime = FakeRuntime(clock)
    metrics = FakeMetrics(clock, runtime)
    store = SqlStore(folder / "controller.db")
    pool = PoolName("llama")
    parts = Parts(
        clock=clock,
        fleet=Fleet({NodeName("local"): runtime}, clock),
        prober=FakeProber(runtime),
        metrics=metrics,
        gateway=FakeGateway(clock),
        store=store,
        lease=FileLease(FileLock(folder / "lock"), store),
        sink=KeptSink(),
        targets=KeptTargets(),
        spec_for=spec,
    )
    scaling = ScalingPolicy(floor=replicas, ceiling=replicas, surge=replicas, scale_down_window=timedelta(seconds=60))
    ticker = Ticker(parts, (PoolPolicy(pool, "llama", scaling),))
    rising = [_tick(ticker, clock) for _ in range(6)]
    assert len(parts.gateway.state().applied.replicas()) == replicas
    metrics.gateway[pool] = replicas * 3
    metrics.replicas = {(pool, ReplicaId(name)): 3.0 for name in runtime.replicas}
    quiet = [_tick(ticker, clock) for _ in range(_TICKS)]
    store.close()
    return {"quiet_ms": statistics.median(quiet) * 1000, "worst_ms": max(rising) * 1000}


def _tick(ticker: Ticker, clock: FakeClock) -> float:
    clock.advance(2)
    began = time.perf_counter()
    ticker.run()
    return time.perf_counter() - began
