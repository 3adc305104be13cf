"""What a pool remembers of its starts: those that failed in a row, and how long the others took."""

from __future__ import annotations

from datetime import datetime

from controller.core import anatomy
from controller.core.decision import StateChange
from controller.core.judging import Mine
from controller.core.model import SERVING, PoolMemory, PoolName, ReplicaMemory, ReplicaState
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode
from controller.core.rollout import baking, rolling

_LEARN = 0.3  # weight of the newest cold start in the moving average
_FAILED = (ReplicaState.STOPPED, ReplicaState.UNREADY)


def adopt(pool: PoolName, mine: Mine) -> PoolMemory:
    """A pool that nothing is remembered of has the size that is found, and numbers on from the highest."""
    live = len(mine.names(ReplicaState.STARTING, *SERVING))
    tails = [known.replica.removeprefix(f"{pool}-") for known in mine.memories()]
    return PoolMemory(pool, live, 1 + max((int(tail) for tail in tails if tail.isdecimal()), default=0))


def remember(policy: PoolPolicy, memory: PoolMemory, mine: Mine, now: datetime) -> PoolMemory:
    """The pool's memory with what became of its starts in this tick."""
    known = {item.replica: item for item in mine.memories()}
    memory = _proven(policy, memory, mine, now)
    for change in mine.changes:
        one = known[change.replica]
        if change.now is ReplicaState.READY and one.ready_at == one.since:  # else it had served before
            memory = _learn(memory, one)
            if not rolling(policy, memory):  # else one that dies again and again would never be a reason to go back
                memory = memory.but(start_failures=0, last_start_failure_at=None, quarantined_since=None)
        elif _failed_start(policy, memory, change, one, now):
            memory = memory.but(start_failures=memory.start_failures + 1, last_start_failure_at=now)
    if memory.start_failures >= policy.health.quarantine_after and memory.quarantined_since is None:
        memory = memory.but(quarantined_since=now)
    return memory


def _proven(policy: PoolPolicy, memory: PoolMemory, mine: Mine, now: datetime) -> PoolMemory:
    """While a spec rolls in, one of it that has served for its bake ends the row of those that failed before it."""
    last = memory.last_start_failure_at
    if last is None or not rolling(policy, memory):
        return memory
    serving = [known for known in mine.memories() if known.state in SERVING and known.spec_hash == policy.spec_hash]
    proven = [known for known in serving if known.ready_at is not None and not baking(policy, memory, known, now)]
    if not any(known.ready_at > last for known in proven if known.ready_at is not None):
        return memory
    return memory.but(start_failures=0, last_start_failure_at=None, quarantined_since=None)


def _learn(memory: PoolMemory, known: ReplicaMemory) -> PoolMemory:
    """How long a cold start takes, from one that has just been ready for the first time."""
    if known.cold_start is None:
        return memory
    took_s, usual = known.cold_start.total_s, memory.cold_start_s
    learned = took_s if usual is None else usual + _LEARN * (took_s - usual)
    return memory.but(cold_start_s=learned, cold_starts=anatomy.remember(memory, known.cold_start))


def _failed_start(
    policy: PoolPolicy, memory: PoolMemory, change: StateChange, known: ReplicaMemory, now: datetime
) -> bool:
    if change.now not in _FAILED or known.terminated_at is not None:
        return False
    if known.code == ReasonCode.GPU_LOST:
        return False  # that says nothing of what it is made of, and it has another GPU next time
    if memory.tried_spec and known.spec_hash != memory.tried_spec:
        return False  # one of the spec before: it says nothing of this one's starts
    was_starting = change.was in (None, ReplicaState.STARTING)
    return was_starting or (change.was in SERVING and baking(policy, memory, known, now))
