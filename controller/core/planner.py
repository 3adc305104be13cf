"""Run the deciders in a fixed order and give one Plan: health -> failover -> scaling -> filling -> routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.clocks import without_future
from controller.core.decision import (
    Decision,
    DrainReplica,
    Memory,
    Plan,
    RecycleReplica,
    ScalePool,
    StartReplica,
    StateChange,
    TerminateReplica,
)
from controller.core.evaluation import Evaluation
from controller.core.failover import decide_failover
from controller.core.filling import Judged, Need, fill
from controller.core.health import fold_health
from controller.core.limits import room
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
from controller.core.reason import Reason, ReasonCode
from controller.core.recycle import decide_recycle
from controller.core.routing import plan_routes
from controller.core.scaling import decide_scale
from controller.core.shadow import cast
from controller.core.votes import PoolView

RUNTIME = "runtime"  # in Snapshot.unknown: the replicas are those of an earlier tick
_SILENT = Reason(ReasonCode.RUNTIME_SILENT, "the container engine gives no answer: nothing is started or stopped")
_LEARN = 0.3  # weight of the newest cold start in the moving average


@dataclass(frozen=True, slots=True)
class _PoolPlan:
    decisions: tuple[Decision, ...]
    memory: PoolMemory
    evaluation: Evaluation

    @property
    def standing(self) -> tuple[Reason, ...]:
        return (*self.evaluation.reasons, *self.evaluation.held)


def plan(snapshot: Snapshot, policies: Sequence[PoolPolicy]) -> Plan:
    """What this tick wants.

    While the runtime cannot be listed no replica is started or stopped; nginx still loses those that fail their probes.
    """
    snapshot = without_future(snapshot)
    by_pool = {policy.pool: policy for policy in policies}
    judged, changes = _judge(snapshot, by_pool)
    if RUNTIME in snapshot.unknown:
        memory = Memory(snapshot.pools, {known.replica: known for _, known in judged})
        return Plan((), plan_routes(policies, judged), memory, changes, dict.fromkeys(by_pool, (_SILENT,)))
    mine = _by_pool(judged, changes, by_pool)
    pools = {policy.pool: _plan_pool(policy, snapshot, mine[policy.pool]) for policy in policies}
    decisions = [decision for part in pools.values() for decision in part.decisions]
    decisions += _orphans([item for item in judged if item[1].pool not in by_pool], snapshot.at)
    after = _carry_out([known for _, known in judged], decisions, snapshot.at)
    routes = plan_routes(policies, [(replica, after[known.replica]) for replica, known in judged])
    # A pool that is no longer configured is remembered: should it come back, its replicas are numbered on.
    memory = Memory({**snapshot.pools, **{name: part.memory for name, part in pools.items()}}, after)
    standing = {name: part.standing for name, part in pools.items()}
    evaluations = {name: part.evaluation for name, part in pools.items()}
    return Plan(tuple(decisions), routes, memory, changes, standing, evaluations)


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


@dataclass(slots=True)
class _Mine:
    """The replicas of one pool, and what changed of them in this tick."""

    judged: list[Judged]
    changes: list[StateChange]

    def names(self, state: ReplicaState) -> tuple[ReplicaId, ...]:
        return tuple(known.replica for _, known in self.judged if known.state is state)


def _by_pool(
    judged: Sequence[Judged], changes: Sequence[StateChange], pools: Iterable[PoolName]
) -> dict[PoolName, _Mine]:
    found = {pool: _Mine([], []) for pool in pools}
    for item in judged:
        if item[1].pool in found:
            found[item[1].pool].judged.append(item)
    for change in changes:
        if change.pool in found:
            found[change.pool].changes.append(change)
    return found


def _plan_pool(policy: PoolPolicy, snapshot: Snapshot, mine: _Mine) -> _PoolPlan:
    now = snapshot.at
    before = snapshot.pools.get(policy.pool) or _adopt(policy.pool, mine.judged)
    memory = _learn(_count_failed_starts(before, mine, now), mine)
    out = [decide_failover(replica, known, policy.health, now) for replica, known in mine.judged]
    evaluation, context = decide_scale(_view(memory, mine, snapshot), policy.scaling, now, policy.mode)
    scaled: tuple[Decision, ...] = ()
    if evaluation.desired != before.desired:
        scaled = (ScalePool(policy.pool, before.desired, evaluation.desired, evaluation.reasons),)
    recycled, told = decide_recycle(context, [known for _, known in mine.judged])
    memory, judged = _recycled(context.memory, mine.judged, recycled, now)
    surge = None if context.overrun else policy.scaling.surge  # too few for the demand: all that are missing at once
    filling = fill(Need(policy, memory, judged, now, surge, room(context)))
    memory = filling.memory
    if policy.shadow is not None:
        memory = replace(memory, shadow=cast(evaluation, policy.shadow, before.shadow))
    first = (*scaled, recycled) if recycled is not None else scaled
    decisions = (*first, *filling.decisions, *(decision for decision in out if decision is not None))
    shadow = memory.shadow.memory.desired if memory.shadow is not None else None
    return _PoolPlan(decisions, memory, replace(evaluation, held=(*told, *filling.held), shadow=shadow))


def _view(memory: PoolMemory, mine: _Mine, snapshot: Snapshot) -> PoolView:
    starting, draining = len(mine.names(ReplicaState.STARTING)), len(mine.names(ReplicaState.DRAINING))
    readings = snapshot.readings.get(memory.pool, PoolReadings())
    return PoolView(memory, mine.names(ReplicaState.READY), starting, draining, readings, snapshot.gpus)


def _recycled(
    memory: PoolMemory, judged: Sequence[Judged], decision: RecycleReplica | None, now: datetime
) -> tuple[PoolMemory, Sequence[Judged]]:
    """What is remembered once a replica is to be recycled; its successor is started in the same tick."""
    if decision is None:
        return memory, judged
    after = [
        (replica, replace(known, retiring_since=now) if known.replica == decision.replica else known)
        for replica, known in judged
    ]
    return replace(memory, last_recycle_at=now), after


def _adopt(pool: PoolName, mine: Sequence[Judged]) -> PoolMemory:
    """A pool that nothing is remembered of has the size that is found, and numbers on from the highest."""
    live = sum(1 for _, known in mine if known.state in (ReplicaState.STARTING, ReplicaState.READY))
    tails = [known.replica.removeprefix(f"{pool}-") for _, known in mine]
    return PoolMemory(pool, live, 1 + max((int(tail) for tail in tails if tail.isdecimal()), default=0))


def _count_failed_starts(memory: PoolMemory, mine: _Mine, now: datetime) -> PoolMemory:
    """Starts that ended before they were ever ready, in a row; one that gets ready ends the row."""
    known = {item[1].replica: item[1] for item in mine.judged}
    for change in mine.changes:
        if change.now is ReplicaState.READY:
            memory = replace(memory, start_failures=0, last_start_failure_at=None)
        elif _failed_start(change, known[change.replica]):
            memory = replace(memory, start_failures=memory.start_failures + 1, last_start_failure_at=now)
    return memory


def _learn(memory: PoolMemory, mine: _Mine) -> PoolMemory:
    """How long a cold start takes, from those that have just been ready for the first time."""
    began = {change.replica for change in mine.changes if change.now is ReplicaState.READY}
    for _, known in mine.judged:
        if known.replica in began and known.ready_at == known.since:
            took_s = max((known.ready_at - known.created_at).total_seconds(), 0.0)
            usual = memory.cold_start_s
            memory = replace(memory, cold_start_s=took_s if usual is None else usual + _LEARN * (took_s - usual))
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
        elif isinstance(decision, RecycleReplica):
            after[decision.replica] = replace(after[decision.replica], retiring_since=now)
    return after
