"""What `plan()` costs on a fleet that is larger than any one controller will have."""

from __future__ import annotations

import statistics
import time
from datetime import datetime, timedelta
from random import Random

from controller.core.decision import Memory
from controller.core.model import (
    Address,
    Container,
    ContainerState,
    LauncherPhase,
    NodeName,
    PoolMemory,
    PoolName,
    PoolReadings,
    ProbeHistory,
    Reading,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START

_LONG_AGO = START - timedelta(hours=1)
_TICKS = 60
_LAST = 20  # that count: by then every pool has a history
_POOL_SIGNALS = {Signal.IN_FLIGHT: 1.0, Signal.LATENCY: 0.02, Signal.ERRORS: 0.0}
_REPLICA_SIGNALS = {Signal.IN_FLIGHT: 1.0, Signal.UTILIZATION: 0.02, Signal.MEMORY: 0.01}


def measure(pools: int, replicas: int) -> dict[str, float]:
    """Milliseconds that a plan takes, median and worst: the process's own time, so that its neighbours do not count.

    The ticks are 2 s apart and each has another load. Every default signal is known for every pool and replica, and
    the bounds hold the fleet at its size.
    """
    policies = [
        PoolPolicy(PoolName(f"p{number}"), f"model-{number}", ScalingPolicy(floor=replicas, ceiling=replicas))
        for number in range(pools)
    ]
    chance, memory = Random(0), _begin(policies, replicas)
    containers = {name: _container(known, at) for at, (name, known) in enumerate(memory.replicas.items())}
    took = []
    for tick in range(_TICKS):
        snapshot = _snapshot(memory, containers, tick, chance)
        began = time.process_time()
        found = plan(snapshot, policies)
        took.append(1000 * (time.process_time() - began))
        assert not found.decisions
        memory = found.memory
    return {"median_ms": statistics.median(took[-_LAST:]), "worst_ms": max(took[-_LAST:])}


def _begin(policies: list[PoolPolicy], replicas: int) -> Memory:
    pools, known = {}, {}
    for policy in policies:
        pools[policy.pool] = PoolMemory(policy.pool, replicas, replicas + 1, history_since=_LONG_AGO)
        for number in range(1, replicas + 1):
            name = ReplicaId(f"{policy.pool}-{number}")
            known[name] = ReplicaMemory(name, policy.pool, ReplicaState.READY, START, START, ready_at=START)
    return Memory(pools, known)


def _container(known: ReplicaMemory, place: int) -> Container:
    host, port = f"10.{place // 20000}.0.1", 20000 + 2 * (place % 20000)
    at = (Address(host, port), Address(host, port + 1))
    return Container(known.replica, known.pool, NodeName("local"), "abc", ContainerState.RUNNING, START, *at)


def _snapshot(memory: Memory, containers: dict[ReplicaId, Container], tick: int, chance: Random) -> Snapshot:
    now = START + timedelta(seconds=2 * tick)
    probe = ProbeHistory(now, True, 1 + tick, "", LauncherPhase.READY, 1, 0, now)
    replicas = tuple(Replica(containers[name], probe, known, True) for name, known in memory.replicas.items())
    of_pool: dict[PoolName, list[ReplicaId]] = {}
    for known in memory.replicas.values():
        of_pool.setdefault(known.pool, []).append(known.replica)
    readings = {pool: _readings(names, now, chance) for pool, names in of_pool.items()}
    return Snapshot(now, tick, replicas, memory.pools, readings)


def _readings(names: list[ReplicaId], now: datetime, chance: Random) -> PoolReadings:
    at, load = now - timedelta(seconds=0.7), chance.uniform(0, 40)
    pool = {signal: Reading.of(factor * load, at) for signal, factor in _POOL_SIGNALS.items()}
    each = {
        signal: {name: Reading.of(min(factor * load, 1.0), at) for name in names}
        for signal, factor in _REPLICA_SIGNALS.items()
    }
    return PoolReadings(pool, each, Reading.of(now.timestamp(), at))
