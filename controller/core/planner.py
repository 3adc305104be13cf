"""Run the deciders in a fixed order: health -> rollout -> failover -> scaling -> filling -> routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core import gpus, orders
from controller.core.clocks import without_future
from controller.core.decision import (
    Decision,
    DrainReplica,
    Memory,
    Plan,
    RemoveReplica,
    StartReplica,
    StateChange,
    TerminateReplica,
)
from controller.core.failover import decide_failover
from controller.core.giving_way import give_way
from controller.core.judging import Judged, by_pool, judge
from controller.core.model import (
    SERVING,
    PoolName,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.placement import Places, Spot, taken
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.pool_plan import PoolPlan, Scene, plan_pool, silent_nodes, some
from controller.core.reason import Reason, ReasonCode
from controller.core.routing import plan_routes
from controller.core.stock import stock

RUNTIME = "runtime"  # in Snapshot.unknown: no node's engine answers, the replicas are those of an earlier tick
_DOUBTFUL = (ReplicaState.SUSPECT, ReplicaState.UNREADY)
_SILENT = Reason(ReasonCode.RUNTIME_SILENT, "the container engine gives no answer: nothing is started or stopped")


def plan(snapshot: Snapshot, policies: Sequence[PoolPolicy]) -> Plan:
    """What this tick wants.

    While no engine can be listed no replica is started or stopped; nginx still loses those that fail their probes.
    """
    snapshot = without_future(snapshot)
    configured = {policy.pool: policy for policy in policies}
    health = gpus.assess(snapshot, policies)
    judged, changes = judge(snapshot, configured, health.dead)
    seen = _Seen(Scene(snapshot, health), judged, changes)
    if RUNTIME in snapshot.unknown or all(node.silent_since is not None for node in snapshot.nodes):
        return _only_routes(seen, policies)
    mine = by_pool(judged, changes, configured)
    places = Places.of(snapshot.nodes, [known for _, known in judged], stock(snapshot, policies, health, judged))
    doubtful = any(known.state in _DOUBTFUL for _, known in judged)  # else it is known that nothing is held
    held = plan_routes(policies, judged).held if doubtful else {}
    pools: dict[PoolName, PoolPlan] = {}
    for policy in policies:
        part = plan_pool(policy, seen.scene, mine[policy.pool], places, some(held.get(policy.pool)))
        part = give_way(part, snapshot) if policy.pool in held else part
        pools[policy.pool] = part
        spots = [Spot(item.node, item.gpu) for item in part.decisions if isinstance(item, StartReplica)]
        places = taken(places, policy.pool, spots, policy.scaling.gpu_memory_bytes) if spots else places
    return _whole(seen, policies, pools)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A tick's replicas, and what changed of them."""

    scene: Scene
    judged: Sequence[Judged]
    changes: tuple[StateChange, ...]


def _whole(seen: _Seen, policies: Sequence[PoolPolicy], pools: Mapping[PoolName, PoolPlan]) -> Plan:
    snapshot, health = seen.scene.snapshot, seen.scene.gpus
    strangers = [item for item in seen.judged if item[1].pool not in pools]
    wanted = [decision for part in pools.values() for decision in part.decisions]
    decisions = _possible([*wanted, *_orphans(strangers, snapshot.at), *_duplicates(snapshot)], snapshot)
    judged = [item for part in pools.values() for item in part.judged] + list(strangers)
    after = _carry_out([known for _, known in judged], decisions, snapshot.at)
    leaving = {part.leaving for part in pools.values() if part.leaving is not None}
    routing = plan_routes(policies, [(replica, after[known.replica]) for replica, known in judged], leaving)
    # A pool that is no longer configured is remembered: should it come back, its replicas are numbered on.
    remembered = {**snapshot.pools, **{name: part.memory for name, part in pools.items()}}
    memory = Memory(remembered, after, health.memory)
    standing = {name: part.standing for name, part in pools.items()}
    evaluations = {name: part.evaluation for name, part in pools.items()}
    done = orders.fulfilled(snapshot.orders, after, pools)
    return Plan(decisions, routing.plan, memory, seen.changes, standing, done, evaluations, health.changes)


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
    return Memory(pools, replicas, memory.gpus)


def _only_routes(seen: _Seen, policies: Sequence[PoolPolicy]) -> Plan:
    routing, health = plan_routes(policies, seen.judged), seen.scene.gpus
    memory = Memory(seen.scene.snapshot.pools, {known.replica: known for _, known in seen.judged}, health.memory)
    standing = {policy.pool: (_SILENT, *policy.notes, *some(routing.held.get(policy.pool))) for policy in policies}
    return Plan((), routing.plan, memory, seen.changes, standing, gpu_changes=health.changes)


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
    silent = silent_nodes(snapshot)
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
