"""Run the deciders in a fixed order and give one Plan: health -> failover -> scaling -> filling -> routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.clocks import without_future
from controller.core.decision import (
    Decision,
    DrainReplica,
    Memory,
    Plan,
    Reason,
    ReasonCode,
    ScalePool,
    StartReplica,
    StateChange,
    TerminateReplica,
)
from controller.core.failover import decide_failover
from controller.core.filling import Judged, fill
from controller.core.health import fold_health
from controller.core.model import (
    PoolMemory,
    PoolName,
    PoolReadings,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.routing import plan_routes
from controller.core.scaling import PoolView, decide_scale
from controller.core.signals import demand_of

RUNTIME = "runtime"  # in Snapshot.unknown: the replicas are those of an earlier tick


@dataclass(frozen=True, slots=True)
class _PoolPlan:
    decisions: tuple[Decision, ...]
    memory: PoolMemory
    standing: tuple[Reason, ...]


def plan(snapshot: Snapshot, policies: Sequence[PoolPolicy]) -> Plan:
    """What this tick wants.

    While the runtime cannot be listed no replica is started or stopped; nginx still loses those that fail their probes.
    """
    snapshot = without_future(snapshot)
    by_pool = {policy.pool: policy for policy in policies}
    judged, changes = _judge(snapshot, by_pool)
    if RUNTIME in snapshot.unknown:
        memory = Memory(snapshot.pools, {known.replica: known for _, known in judged})
        silent = Reason(
            ReasonCode.RUNTIME_SILENT, "the container engine gives no answer: nothing is started or stopped"
        )
        return Plan((), plan_routes(policies, judged), memory, changes, dict.fromkeys(by_pool, (silent,)))
    pools = {policy.pool: _plan_pool(policy, snapshot, judged, changes) for policy in policies}
    decisions = [decision for part in pools.values() for decision in part.decisions]
    decisions += _orphans([item for item in judged if item[1].pool not in by_pool], snapshot.at)
    after = _carry_out([known for _, known in judged], decisions, snapshot.at)
    routes = plan_routes(policies, [(replica, after[known.replica]) for replica, known in judged])
    # A pool that is no longer configured is remembered: should it come back, its replicas are numbered on.
    memory = Memory({**snapshot.pools, **{name: part.memory for name, part in pools.items()}}, after)
    return Plan(tuple(decisions), routes, memory, changes, {name: part.standing for name, part in pools.items()})


def after_failures(memory: Memory, failed: Sequence[Decision], now: datetime) -> Memory:
    """The memory once the runtime could not do some of it.

    A refused start counts as a failed one, once for each pool, so that the next waits. A SIGTERM that could not be
    sent was not sent.
    """
    pools, replicas = dict(memory.pools), dict(memory.replicas)
    for pool in {decision.pool for decision in failed if isinstance(decision, StartReplica)}:
        known = pools[pool]
        pools[pool] = replace(known, start_failures=known.start_failures + 1, last_start_failure_at=now)
    for decision in failed:
        if isinstance(decision, TerminateReplica):
            replicas[decision.replica] = replace(replicas[decision.replica], terminated_at=None)
    return Memory(pools, replicas)


def _judge(snapshot: Snapshot, policies: Mapping[PoolName, PoolPolicy]) -> tuple[list[Judged], tuple[StateChange, ...]]:
    judged: list[Judged] = []
    changes: list[StateChange] = []
    for replica in snapshot.replicas:
        policy = policies.get(replica.container.pool)
        known, reason = fold_health(replica, policy.health if policy else HealthPolicy(), snapshot.at)
        judged.append((replica, known))
        if reason is not None:
            was = replica.memory.state if replica.memory else None
            changes.append(StateChange(known.replica, known.pool, was, known.state, reason))
    return judged, tuple(changes)


def _plan_pool(
    policy: PoolPolicy, snapshot: Snapshot, judged: Sequence[Judged], changes: Sequence[StateChange]
) -> _PoolPlan:
    mine = [item for item in judged if item[1].pool == policy.pool]
    now = snapshot.at
    before = snapshot.pools.get(policy.pool) or _adopt(policy.pool, mine)
    memory = _count_failed_starts(before, mine, changes, now)
    out = [decide_failover(replica, known, policy.health, now) for replica, known in mine]
    serving = [known.replica for _, known in mine if known.state is ReplicaState.READY]
    moving = sum(1 for _, known in mine if known.state in (ReplicaState.STARTING, ReplicaState.DRAINING))
    readings = snapshot.readings.get(policy.pool, PoolReadings())
    demand = demand_of(readings, serving, now, policy.scaling.max_reading_age)
    step, memory = decide_scale(PoolView(memory, demand, moving), policy.scaling, now)
    scaled: tuple[Decision, ...] = ()
    if step.replicas != before.desired:
        scaled = (ScalePool(policy.pool, before.desired, step.replicas, step.reasons),)
    filling = fill(policy, memory, mine, now)
    decisions = (*scaled, *filling.decisions, *(decision for decision in out if decision is not None))
    return _PoolPlan(decisions, filling.memory, (*step.reasons, *filling.held))


def _adopt(pool: PoolName, mine: Sequence[Judged]) -> PoolMemory:
    """A pool that nothing is remembered of has the size that is found, and numbers on from the highest."""
    live = sum(1 for _, known in mine if known.state in (ReplicaState.STARTING, ReplicaState.READY))
    tails = [known.replica.removeprefix(f"{pool}-") for _, known in mine]
    return PoolMemory(pool, live, 1 + max((int(tail) for tail in tails if tail.isdecimal()), default=0))


def _count_failed_starts(
    memory: PoolMemory, mine: Sequence[Judged], changes: Sequence[StateChange], now: datetime
) -> PoolMemory:
    """Starts that ended before they were ever ready, in a row; one that gets ready ends the row."""
    known = {item[1].replica: item[1] for item in mine}
    for change in changes:
        if change.pool != memory.pool:
            continue
        if change.now is ReplicaState.READY:
            memory = replace(memory, start_failures=0, last_start_failure_at=None)
        elif _failed_start(change, known[change.replica]):
            memory = replace(memory, start_failures=memory.start_failures + 1, last_start_failure_at=now)
    return memory


def _failed_start(change: StateChange, known: ReplicaMemory) -> bool:
    was_starting = change.was in (None, ReplicaState.STARTING)
    return was_starting and change.now in (ReplicaState.EXITED, ReplicaState.UNREADY) and known.terminated_at is None


def _orphans(judged: Sequence[Judged], now: datetime) -> list[Decision]:
    """Replicas of a pool that is no longer configured go the same way out."""
    decisions: list[Decision] = []
    reason = Reason(ReasonCode.POOL_UNKNOWN, "its pool is no longer in the configuration")
    for replica, known in judged:
        if known.state in (ReplicaState.STARTING, ReplicaState.READY):
            decisions.append(DrainReplica(known.pool, known.replica, (reason,)))
        elif (step := decide_failover(replica, known, HealthPolicy(), now)) is not None:
            decisions.append(step)
    return decisions


def _carry_out(
    memories: Sequence[ReplicaMemory], decisions: Sequence[Decision], now: datetime
) -> dict[ReplicaId, ReplicaMemory]:
    """The replicas' memories with what was decided of them."""
    after = {known.replica: known for known in memories}
    for decision in decisions:
        if isinstance(decision, DrainReplica):
            known = after[decision.replica]
            why = decision.reasons[0].text
            after[decision.replica] = replace(known, state=ReplicaState.DRAINING, since=now, why=why)
        elif isinstance(decision, TerminateReplica):
            known = after[decision.replica]
            after[decision.replica] = replace(known, terminated_at=known.terminated_at or now)
    return after
