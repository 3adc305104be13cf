"""Bring the number of replicas to the desired one: start what is missing, drain what is too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.decision import Decision, DrainReplica, StartReplica
from controller.core.failover import backoff
from controller.core.limits import no_room
from controller.core.model import PoolMemory, Replica, ReplicaId, ReplicaMemory, ReplicaState
from controller.core.placement import choose_victim
from controller.core.policy import PoolPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.recycle import succeed

Judged = tuple[Replica, ReplicaMemory]
_COUNT = (ReplicaState.STARTING, ReplicaState.READY)


@dataclass(frozen=True, slots=True)
class Need:
    """A pool that is to be filled.

    `surge` is how many replicas may start at once, and `room` how many more its GPUs hold; None: that sets no limit.
    """

    policy: PoolPolicy
    memory: PoolMemory
    judged: Sequence[Judged]
    now: datetime
    surge: int | None = None
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Filling:
    """What to start or drain, the pool's memory after it, and why less than wanted was done."""

    decisions: tuple[Decision, ...]
    memory: PoolMemory
    held: tuple[Reason, ...] = ()


def fill(need: Need) -> Filling:
    """Start what is missing, or drain one that is too many.

    Replicas that start or serve count; those that failed, drain or are recycled do not, so that their successors start
    at once.
    """
    counted = [item for item in need.judged if item[1].state in _COUNT and item[1].retiring_since is None]
    missing = need.memory.desired - len(counted)
    if missing > 0:
        return _start(need, counted, missing)
    retired = succeed([known for _, known in need.judged], need.memory.desired)
    if retired is not None:
        return Filling((retired,), need.memory)
    return _drain(need.memory, counted, need.judged) if missing < 0 else Filling((), need.memory)


def _start(need: Need, counted: Sequence[Judged], missing: int) -> Filling:
    policy, memory = need.policy, need.memory
    wait = backoff(memory.start_failures, policy.health)
    if memory.last_start_failure_at is not None and need.now - memory.last_start_failure_at < wait:
        text = f"held for {wait.total_seconds():.0f} s after {memory.start_failures} failed starts in a row"
        numbers = {"start_failures": float(memory.start_failures), "backoff_s": wait.total_seconds()}
        return Filling((), memory, (Reason(ReasonCode.BACKOFF, text, numbers),))
    starting = sum(1 for _, known in counted if known.state is ReplicaState.STARTING)
    count = missing if need.surge is None else min(missing, max(need.surge - starting, 0))
    held: tuple[Reason, ...] = ()
    if need.room is not None and need.room < count:
        count, needed = need.room, policy.scaling.gpu_memory_bytes
        held = (Reason(ReasonCode.NO_GPU_FITS, no_room(needed), {"needed_bytes": needed}),)
    elif count < missing:
        text = f"{need.surge} may start at once, {starting + count} do"
        held = (Reason(ReasonCode.SURGE_LIMITED, text, {"surge": float(need.surge or 0)}),)
    return Filling(_starts(need, len(counted), count), _numbered_on(memory, count), held)


def _starts(need: Need, have: int, count: int) -> tuple[StartReplica, ...]:
    pool, want, first = need.policy.pool, need.memory.desired, need.memory.next_ordinal
    why = Reason(ReasonCode.BELOW_DESIRED, f"{have} of {want} replicas start or serve", {"have": have, "desired": want})
    return tuple(StartReplica(pool, ReplicaId(f"{pool}-{first + offset}"), (why,)) for offset in range(count))


def _numbered_on(memory: PoolMemory, count: int) -> PoolMemory:
    return replace(memory, next_ordinal=memory.next_ordinal + count)


def _drain(memory: PoolMemory, counted: Sequence[Judged], judged: Sequence[Judged]) -> Filling:
    """One at a time. Those that start go first, so a serving one goes only where all of them serve."""
    if any(known.state is ReplicaState.DRAINING for _, known in judged):
        return Filling((), memory)
    victim, because = choose_victim(counted)
    numbers = {"have": len(counted), "desired": memory.desired}
    text = f"{len(counted)} replicas, {memory.desired} are desired; {victim.replica} goes because {because}"
    reason = Reason(ReasonCode.ABOVE_DESIRED, text, numbers)
    return Filling((DrainReplica(victim.pool, victim.replica, (reason,)),), memory)
