"""Run the deciders in a fixed order: health -> rollout -> failover -> scaling -> filling -> routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from controller.core import budget, orders, rollout, starts
from controller.core.clocks import without_future
from controller.core.decision import (
    Decision,
    DrainReplica,
    Memory,
    Plan,
    RecycleReplica,
    RemoveReplica,
    ScalePool,
    StartReplica,
    StateChange,
    TerminateReplica,
)
from controller.core.evaluation import Evaluation
from controller.core.failover import decide_failover, has_failed
from controller.core.filling import Need, fill
from controller.core.judging import Judged, Mine, by_pool, changed, judge
from controller.core.limits import Context, room
from controller.core.model import (
    SERVING,
    ContainerState,
    NodeName,
    PoolMemory,
    PoolName,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.placement import Places, taken, why_not
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.recycle import decide_recycle
from controller.core.routing import plan_routes
from controller.core.scaling import decide_scale
from controller.core.shadow import cast
from controller.core.votes import PoolView

RUNTIME = "runtime"  # in Snapshot.unknown: no node's engine answers, the replicas are those of an earlier tick
_CHANCE = timedelta(seconds=5)  # for the probes of a replica whose node has come back
_DOUBTFUL = (ReplicaState.SUSPECT, ReplicaState.UNREADY)
_UP = (ReplicaState.STARTING, *SERVING)
_Found = TypeVar("_Found")
_SILENT = Reason(ReasonCode.RUNTIME_SILENT, "the container engine gives no answer: nothing is started or stopped")


@dataclass(frozen=True, slots=True)
class _PoolPlan:
    decisions: tuple[Decision, ...]
    memory: PoolMemory
    evaluation: Evaluation
    judged: Sequence[Judged]

    @property
    def standing(self) -> tuple[Reason, ...]:
        return (*self.evaluation.reasons, *self.evaluation.held)


def plan(snapshot: Snapshot, policies: Sequence[PoolPolicy]) -> Plan:
    """What this tick wants.

    While no engine can be listed no replica is started or stopped; nginx still loses those that fail their probes.
    """
    snapshot = without_future(snapshot)
    configured = {policy.pool: policy for policy in policies}
    judged, changes = judge(snapshot, configured)
    if RUNTIME in snapshot.unknown or all(node.silent_since is not None for node in snapshot.nodes):
        return _only_routes(snapshot, policies, judged, changes)
    mine = by_pool(judged, changes, configured)
    places = Places.of(snapshot.nodes, [known for _, known in judged])
    doubtful = any(known.state in _DOUBTFUL for _, known in judged)  # else it is known that nothing is held
    held = plan_routes(policies, judged).held if doubtful else {}
    pools: dict[PoolName, _PoolPlan] = {}
    for policy in policies:
        part = _plan_pool(policy, snapshot, mine[policy.pool], places, _some(held.get(policy.pool)))
        pools[policy.pool] = part
        starting = [item.node for item in part.decisions if isinstance(item, StartReplica)]
        places = taken(places, policy.pool, starting) if starting else places
    strangers = [item for item in judged if item[1].pool not in configured]
    decisions = [decision for part in pools.values() for decision in part.decisions]
    decisions += [*_orphans(strangers, snapshot.at), *_duplicates(snapshot)]
    return _whole(snapshot, policies, pools, strangers, _possible(decisions, snapshot), changes)


def _whole(
    snapshot: Snapshot,
    policies: Sequence[PoolPolicy],
    pools: Mapping[PoolName, _PoolPlan],
    strangers: Sequence[Judged],
    decisions: tuple[Decision, ...],
    changes: tuple[StateChange, ...],
) -> Plan:
    judged = [item for part in pools.values() for item in part.judged] + list(strangers)
    after = _carry_out([known for _, known in judged], decisions, snapshot.at)
    routing = plan_routes(policies, [(replica, after[known.replica]) for replica, known in judged])
    # A pool that is no longer configured is remembered: should it come back, its replicas are numbered on.
    memory = Memory({**snapshot.pools, **{name: part.memory for name, part in pools.items()}}, after)
    standing = {name: part.standing for name, part in pools.items()}
    evaluations = {name: part.evaluation for name, part in pools.items()}
    done = orders.fulfilled(snapshot.orders, after, pools)
    return Plan(decisions, routing.plan, memory, changes, standing, done, evaluations)


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


def _only_routes(
    snapshot: Snapshot,
    policies: Sequence[PoolPolicy],
    judged: Sequence[Judged],
    changes: tuple[StateChange, ...],
) -> Plan:
    routing = plan_routes(policies, judged)
    memory = Memory(snapshot.pools, {known.replica: known for _, known in judged})
    standing = {policy.pool: (_SILENT, *_some(routing.held.get(policy.pool))) for policy in policies}
    return Plan((), routing.plan, memory, changes, standing)


def _plan_pool(
    policy: PoolPolicy, snapshot: Snapshot, mine: Mine, places: Places, panic: tuple[Reason, ...]
) -> _PoolPlan:
    now, lost, there = snapshot.at, _lost(snapshot, policy.health), mine.elsewhere(_silent(snapshot))
    before = snapshot.pools.get(policy.pool) or starts.adopt(policy.pool, mine)
    memory = orders.release(starts.remember(policy, before, mine, now), snapshot.orders)
    rolled = rollout.decide_rollout(policy, memory, there.memories(), _readings(snapshot, policy.pool), now)
    if rolled.memory.refused_spec and not memory.refused_spec:
        mine = changed(mine, mine.names(*SERVING), retiring_since=None)  # the way back: what was to go stays
    allowed = budget.allow(_healed(mine, snapshot), rolled.memory, policy.health, now)
    mine = changed(mine, allowed.paid, paid=True)
    out = _out(mine, allowed.blocked, policy.health, snapshot)
    evaluation, context = decide_scale(_view(allowed.memory, mine, snapshot, lost), policy.scaling, now, policy.mode)
    wish = orders.wish(snapshot.orders, there.memories(), snapshot.nodes) or rolled.wish
    recycled, told = _recycled(context, mine, there, wish)
    memory = context.memory
    if recycled is not None:
        mine, memory = changed(mine, (recycled.replica,), retiring_since=now), replace(memory, last_recycle_at=now)
    need = Need(policy, memory, mine.judged, now, places, _surge(policy, context, panic), room(context), rolled.spec)
    filling = fill(replace(need, kept=allowed.blocked, lost=lost))
    memory = _with_shadow(filling.memory, policy, evaluation, before)
    shadow = memory.shadow.memory.desired if memory.shadow is not None else None
    held = (*told, *rolled.told, *allowed.held, *panic, *filling.held)
    decisions = (*_scaled(before, evaluation), *_some(recycled), *filling.decisions, *out)
    return _PoolPlan(decisions, memory, replace(evaluation, held=held, shadow=shadow), mine.judged)


def _out(mine: Mine, blocked: frozenset[ReplicaId], policy: HealthPolicy, snapshot: Snapshot) -> list[Decision]:
    """The next step out of each that goes."""
    free = [item for item in mine.judged if item[1].replica not in blocked and not _returning(*item, snapshot)]
    steps = [decide_failover(item, known, policy, snapshot.at) for item, known in free]
    return [step for step in steps if step is not None]


def _recycled(
    context: Context, mine: Mine, there: Mine, wish: rollout.Wish | None
) -> tuple[RecycleReplica | None, tuple[Reason, ...]]:
    """The replica to replace; none on a node that gives no answer."""
    found, told = decide_recycle(context, mine.memories(), wish)
    reached = found is None or found.replica in there.names(*_UP)
    return (found if reached else None), told


def _with_shadow(memory: PoolMemory, policy: PoolPolicy, evaluation: Evaluation, before: PoolMemory) -> PoolMemory:
    if policy.shadow is None:
        return memory
    return replace(memory, shadow=cast(evaluation, policy.shadow, before.shadow))


def _healed(mine: Mine, snapshot: Snapshot) -> list[ReplicaMemory]:
    """What the budget is for. One that failed with its node costs nothing until it is known to be lost."""
    silent = _silent(snapshot)
    return [
        known
        for item, known in mine.judged
        if not has_failed(known) or not (known.node in silent or _returning(item, known, snapshot))
    ]


def _returning(replica: Replica, known: ReplicaMemory, snapshot: Snapshot) -> bool:
    """Whether its node has only just come back: it may serve again, which three probes will tell."""
    runs = replica.container.state is ContainerState.RUNNING and known.state is ReplicaState.UNREADY
    back = [node.back_since for node in snapshot.nodes if node.name == known.node and node.back_since is not None]
    return runs and any(snapshot.at - at < _CHANCE for at in back)


def _scaled(before: PoolMemory, evaluation: Evaluation) -> tuple[Decision, ...]:
    if evaluation.desired == before.desired:
        return ()
    return (ScalePool(before.pool, before.desired, evaluation.desired, evaluation.reasons),)


def _some(found: _Found | None) -> tuple[_Found, ...]:
    return () if found is None else (found,)


def _surge(policy: PoolPolicy, context: Context, panic: tuple[Reason, ...]) -> int | None:
    """Where most look bad one successor shows first whether a new one fares any better."""
    if panic:
        return 1
    return None if context.overrun else policy.scaling.surge  # too few for the demand: all that are missing at once


def _silent(snapshot: Snapshot) -> frozenset[NodeName]:
    return frozenset(node.name for node in snapshot.nodes if node.silent_since is not None)


def _lost(snapshot: Snapshot, policy: HealthPolicy) -> frozenset[NodeName]:
    """Nodes whose replicas are replaced elsewhere, because their engines have been silent for too long."""
    if not any(why_not(node) is None for node in snapshot.nodes):
        return frozenset()
    silent = [(node.name, node.silent_since) for node in snapshot.nodes if node.silent_since is not None]
    return frozenset(name for name, since in silent if snapshot.at - since >= policy.node_grace)


def _view(memory: PoolMemory, mine: Mine, snapshot: Snapshot, lost: frozenset[NodeName]) -> PoolView:
    here = mine.elsewhere(lost)  # what starts or drains on a lost node does so for ever
    starting, draining = len(here.names(ReplicaState.STARTING)), len(here.names(ReplicaState.DRAINING))
    readings = _readings(snapshot, memory.pool)
    return PoolView(memory, mine.names(*SERVING), starting, draining, readings, snapshot.gpus)


def _readings(snapshot: Snapshot, pool: PoolName) -> PoolReadings:
    return snapshot.readings.get(pool, PoolReadings())


def _orphans(judged: Sequence[Judged], now: datetime) -> list[Decision]:
    """Replicas of a pool that is no longer configured go the same way out."""
    decisions: list[Decision] = []
    reason = Reason(ReasonCode.POOL_UNKNOWN, "its pool is no longer in the configuration")
    for replica, known in judged:
        if known.state in (ReplicaState.STARTING, *SERVING):
            decisions.append(DrainReplica(known.pool, known.replica, (reason,)))
        elif (step := decide_failover(replica, known, HealthPolicy(), now)) is not None:
            decisions.append(step)
    return decisions


def _duplicates(snapshot: Snapshot) -> list[Decision]:
    """A node that was lost came back with a replica that has been started elsewhere since: the younger one goes."""
    text = "an older container has its name"
    return [
        RemoveReplica(known.pool, known.replica, (Reason(ReasonCode.DUPLICATE, text),), known.node)
        for known in snapshot.duplicates
    ]


def _possible(decisions: Sequence[Decision], snapshot: Snapshot) -> tuple[Decision, ...]:
    """Without what would have to be done on a node whose engine gives no answer."""
    silent = _silent(snapshot)
    there = {item.container.replica for item in snapshot.replicas if item.container.node in silent}
    return tuple(
        decision
        for decision in decisions
        if not (isinstance(decision, TerminateReplica | RemoveReplica) and decision.node in silent)
        and not (isinstance(decision, DrainReplica) and decision.replica in there)
    )


def _carry_out(
    memories: Sequence[ReplicaMemory], decisions: Sequence[Decision], now: datetime
) -> dict[ReplicaId, ReplicaMemory]:
    """The replicas' memories with what was decided of them."""
    after = {known.replica: known for known in memories}
    for decision in decisions:
        if isinstance(decision, DrainReplica):
            known = after[decision.replica]
            why = decision.reasons[0].text
            after[decision.replica] = replace(
                known, state=ReplicaState.DRAINING, since=now, why=why, held=known.holds, retiring_since=None
            )
        elif isinstance(decision, TerminateReplica):
            known = after[decision.replica]
            after[decision.replica] = replace(known, terminated_at=known.terminated_at or now)
    return after
