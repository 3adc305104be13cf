"""Clocks that were set back: a time that is still to come was noted down by a clock that was ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from controller.core.model import GpuMemory, PoolMemory, Recommendation, Replica, ReplicaMemory, Snapshot


def without_future(snapshot: Snapshot) -> Snapshot:
    """The same, with every remembered time at most that of the snapshot.

    Else a back-off, a drain's deadline or a window would last for as long as the clock was set back.
    """
    at = snapshot.at
    replicas = tuple(_with_memory(replica, at) for replica in snapshot.replicas)
    pools = {name: _of_pool(pool, at) for name, pool in snapshot.pools.items()}
    gpus = {uuid: _of_gpu(known, at) for uuid, known in snapshot.gpu_memory.items()}
    return replace(snapshot, replicas=replicas, pools=pools, gpu_memory=gpus)


def _of_gpu(known: GpuMemory, at: datetime) -> GpuMemory:
    hot, cool = known.hot_since, known.cool_since
    if max(hot or at, cool or at) <= at:
        return known
    return replace(known, hot_since=hot and min(hot, at), cool_since=cool and min(cool, at))


def _with_memory(replica: Replica, at: datetime) -> Replica:
    before = replica.memory
    after = _of_replica(before, at) if before is not None else None
    return replica if after is before else replace(replica, memory=after)


def _of_replica(known: ReplicaMemory, at: datetime) -> ReplicaMemory:
    last = (known.ready_at or at, known.terminated_at or at, known.retiring_since or at, known.seen_at or at)
    busy = known.busy
    if max(known.since, known.created_at, *last) <= at and (
        busy is None or max(busy.since, busy.slow_since or busy.since) <= at
    ):
        return known
    return replace(
        known,
        busy=None,  # it lives in the process, and is begun anew by the next probe
        since=min(known.since, at),
        created_at=min(known.created_at, at),
        ready_at=known.ready_at and min(known.ready_at, at),
        terminated_at=known.terminated_at and min(known.terminated_at, at),
        retiring_since=known.retiring_since and min(known.retiring_since, at),
        seen_at=known.seen_at and min(known.seen_at, at),
    )


_SINGLE = (
    "last_start_failure_at",
    "history_since",
    "last_recycle_at",
    "zero_since",
    "fuse_since",
    "quarantined_since",
)


def _of_pool(known: PoolMemory, at: datetime) -> PoolMemory:
    single = {name: time for name in _SINGLE if (time := getattr(known, name)) is not None}
    if known.shadow is not None:
        known = replace(known, shadow=replace(known.shadow, memory=_of_pool(known.shadow.memory, at)))
    newest = [history[-1].at for history in (known.recommended, known.counts) if history]
    newest += [time for time, _ in known.demand[-1:]]
    if max((*single.values(), *known.remediations, *newest, *known.over_since.values()), default=at) <= at:
        return known
    return replace(
        known,
        **{name: min(time, at) for name, time in single.items()},
        remediations=tuple(min(time, at) for time in known.remediations),
        recommended=_history(known.recommended, at),
        counts=_history(known.counts, at),
        over_since={name: min(since, at) for name, since in known.over_since.items()},
        panic_until=None,  # it lies in the future on purpose; with a clock set back nobody knows how far
        demand=(),
    )


def _history(history: tuple[Recommendation, ...], at: datetime) -> tuple[Recommendation, ...]:
    return tuple(replace(entry, at=min(entry.at, at)) for entry in history)
