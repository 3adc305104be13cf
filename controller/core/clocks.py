"""Clocks that were set back: a time that is still to come was noted down by a clock that was ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from controller.core.model import PoolMemory, Recommendation, Replica, ReplicaMemory, Snapshot


def without_future(snapshot: Snapshot) -> Snapshot:
    """The same, with every remembered time at most that of the snapshot.

    Else a back-off, a drain's deadline or a window would last for as long as the clock was set back.
    """
    at = snapshot.at
    replicas = tuple(_with_memory(replica, at) for replica in snapshot.replicas)
    return replace(
        snapshot, replicas=replicas, pools={name: _of_pool(pool, at) for name, pool in snapshot.pools.items()}
    )


def _with_memory(replica: Replica, at: datetime) -> Replica:
    before = replica.memory
    after = _of_replica(before, at) if before is not None else None
    return replica if after is before else replace(replica, memory=after)


def _of_replica(known: ReplicaMemory, at: datetime) -> ReplicaMemory:
    times = (known.since, known.created_at, known.ready_at or at, known.terminated_at or at, known.retiring_since or at)
    if max(times) <= at:
        return known
    return replace(
        known,
        since=min(known.since, at),
        created_at=min(known.created_at, at),
        ready_at=known.ready_at and min(known.ready_at, at),
        terminated_at=known.terminated_at and min(known.terminated_at, at),
        retiring_since=known.retiring_since and min(known.retiring_since, at),
    )


def _of_pool(known: PoolMemory, at: datetime) -> PoolMemory:
    single = (known.last_start_failure_at, known.history_since, known.last_recycle_at, known.zero_since)
    if known.shadow is not None:
        known = replace(known, shadow=replace(known.shadow, memory=_of_pool(known.shadow.memory, at)))
    newest = [history[-1].at for history in (known.recommended, known.counts) if history]
    newest += [time for time, _ in known.demand[-1:]]
    if max((*(time for time in single if time), *newest, *known.over_since.values()), default=at) <= at:
        return known
    return replace(
        known,
        last_start_failure_at=known.last_start_failure_at and min(known.last_start_failure_at, at),
        history_since=known.history_since and min(known.history_since, at),
        last_recycle_at=known.last_recycle_at and min(known.last_recycle_at, at),
        zero_since=known.zero_since and min(known.zero_since, at),
        recommended=_history(known.recommended, at),
        counts=_history(known.counts, at),
        over_since={name: min(since, at) for name, since in known.over_since.items()},
        panic_until=None,  # it lies in the future on purpose; with a clock set back nobody knows how far
        demand=(),
    )


def _history(history: tuple[Recommendation, ...], at: datetime) -> tuple[Recommendation, ...]:
    return tuple(replace(entry, at=min(entry.at, at)) for entry in history)
