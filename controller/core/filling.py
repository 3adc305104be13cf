"""Bring the number of replicas to the desired one: start what is missing, drain what is too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.decision import Decision, DrainReplica, Reason, ReasonCode, StartReplica
from controller.core.failover import backoff
from controller.core.model import PoolMemory, Replica, ReplicaId, ReplicaMemory, ReplicaState
from controller.core.placement import choose_victim
from controller.core.policy import PoolPolicy

Judged = tuple[Replica, ReplicaMemory]


@dataclass(frozen=True, slots=True)
class Filling:
    """What to start or drain, the pool's memory after it, and why less than wanted was done."""

    decisions: tuple[Decision, ...]
    memory: PoolMemory
    held: tuple[Reason, ...] = ()


def fill(policy: PoolPolicy, memory: PoolMemory, judged: Sequence[Judged], now: datetime) -> Filling:
    """Replicas that start or serve count; those that failed or drain do not, so that their successors start at once."""
    counted = [item for item in judged if item[1].state in (ReplicaState.STARTING, ReplicaState.READY)]
    missing = memory.desired - len(counted)
    if missing > 0:
        return _start(policy, memory, counted, missing, now)
    if missing < 0:
        return _drain(memory, counted, judged)
    return Filling((), memory)


def _start(policy: PoolPolicy, memory: PoolMemory, counted: Sequence[Judged], missing: int, now: datetime) -> Filling:
    wait = backoff(memory.start_failures, policy.health)
    if memory.last_start_failure_at is not None and now - memory.last_start_failure_at < wait:
        text = f"held for {wait.total_seconds():.0f} s after {memory.start_failures} failed starts in a row"
        numbers = {"start_failures": float(memory.start_failures), "backoff_s": wait.total_seconds()}
        return Filling((), memory, (Reason(ReasonCode.BACKOFF, text, numbers),))
    starting = sum(1 for _, known in counted if known.state is ReplicaState.STARTING)
    count = min(missing, max(policy.scaling.surge - starting, 0))
    have, want = len(counted), memory.desired
    why = Reason(ReasonCode.BELOW_DESIRED, f"{have} of {want} replicas start or serve", {"have": have, "desired": want})
    names = [ReplicaId(f"{policy.pool}-{memory.next_ordinal + offset}") for offset in range(count)]
    started = tuple(StartReplica(policy.pool, name, (why,)) for name in names)
    held: tuple[Reason, ...] = ()
    if count < missing:
        text = f"{policy.scaling.surge} may start at once, {starting + count} do"
        held = (Reason(ReasonCode.SURGE_LIMITED, text, {"surge": policy.scaling.surge}),)
    return Filling(started, replace(memory, next_ordinal=memory.next_ordinal + count), held)


def _drain(memory: PoolMemory, counted: Sequence[Judged], judged: Sequence[Judged]) -> Filling:
    """One at a time, and a serving one only while the others are enough."""
    if any(known.state is ReplicaState.DRAINING for _, known in judged):
        return Filling((), memory)
    ready = sum(1 for _, known in counted if known.state is ReplicaState.READY)
    victim, because = choose_victim(counted)
    if victim.state is ReplicaState.READY and ready <= memory.desired:
        return Filling((), memory)
    numbers = {"have": len(counted), "desired": memory.desired}
    text = f"{len(counted)} replicas, {memory.desired} are desired; {victim.replica} goes because {because}"
    reason = Reason(ReasonCode.ABOVE_DESIRED, text, numbers)
    return Filling((DrainReplica(victim.pool, victim.replica, (reason,)),), memory)
