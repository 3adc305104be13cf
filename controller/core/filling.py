"""Bring the number of replicas to the desired one: start what is missing, drain what is too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controller.core.capacity import no_room, short
from controller.core.decision import Decision, DrainReplica, StartReplica
from controller.core.failover import backoff
from controller.core.model import SERVING, NodeName, PoolMemory, Replica, ReplicaId, ReplicaMemory, ReplicaState
from controller.core.placement import Places, Spot, choose_spots, choose_victim, nowhere
from controller.core.policy import PoolPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.recycle import succeed

Judged = tuple[Replica, ReplicaMemory]
_COUNT = (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.SUSPECT)


@dataclass(frozen=True, slots=True)
class Need:
    """A pool that is to be filled with replicas of `spec`.

    `surge` is how many replicas may start at once, and `room` how many more its GPUs hold; None: that sets no limit.
    `kept` failed and are not replaced now; what is on a `lost` node does not count.
    """

    policy: PoolPolicy
    memory: PoolMemory
    judged: Sequence[Judged]
    now: datetime
    places: Places
    surge: int | None = None
    room: int | None = None
    spec: str = ""
    kept: frozenset[ReplicaId] = frozenset()
    lost: frozenset[NodeName] = frozenset()


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
    here = [item for item in need.judged if item[1].node not in need.lost]
    counted = [item for item in here if item[1].state in _COUNT and item[1].retiring_since is None]
    missing, extra = need.memory.desired - len(counted) - len(need.kept), len(counted) - need.memory.desired
    if missing > 0:
        return _start(need, counted, missing)
    # A successor of another spec has to serve for a while, so that its errors show, before an old one goes.
    bake = need.policy.rollout.bake if need.spec else timedelta(0)
    retired = succeed([known for _, known in here], need.memory.desired, need.spec, need.now - bake)
    if retired is not None:
        return Filling((retired,), need.memory)
    return _drain(need, here, counted) if extra > 0 else Filling((), need.memory)


def _start(need: Need, counted: Sequence[Judged], missing: int) -> Filling:
    memory, starting = need.memory, sum(1 for _, known in counted if known.state is ReplicaState.STARTING)
    waits, held = _brake(need, starting)
    if waits:
        return Filling((), memory, held)
    surge = 1 if memory.quarantined_since is not None else need.surge
    count = missing if surge is None else min(missing, max(surge - starting, 0))
    fit, needed = count if need.room is None else min(need.room, count), need.policy.scaling.gpu_memory_bytes
    spots = choose_spots(need.places, need.policy.pool, fit, needed)
    if len(spots) < count:
        held = (*held, _unplaced(need))
    elif count < missing:
        text = f"{surge} may start at once, {starting + count} do"
        held = (*held, Reason(ReasonCode.SURGE_LIMITED, text, {"surge": float(surge or 0)}))
    return Filling(_starts(need, len(counted), spots), _numbered_on(memory, len(spots)), held)


def _unplaced(need: Need) -> Reason:
    """Why not all that may start do."""
    if need.places.closed():
        return nowhere(need.places, need.now)
    needed = need.policy.scaling.gpu_memory_bytes
    return Reason(ReasonCode.NO_GPU_FITS, no_room(needed, need.places.gpus), {"needed_bytes": needed})


def _brake(need: Need, starting: int) -> tuple[bool, tuple[Reason, ...]]:
    """Whether nothing starts now because of the starts that failed, and what is to be said of them."""
    policy, memory, failed_at = need.policy.health, need.memory, need.memory.last_start_failure_at
    waited = None if failed_at is None else need.now - failed_at
    numbers = {"start_failures": float(memory.start_failures)}
    if memory.quarantined_since is not None:
        text = (
            f"{memory.start_failures} starts in a row failed: one is tried every "
            f"{policy.backoff_cap.total_seconds():.0f} s, `stoker release {memory.pool}` tries at once"
        )
        held = (Reason(ReasonCode.CRASH_LOOP, text, numbers),)
        return starting > 0 or (waited is not None and waited < policy.backoff_cap), held
    wait = backoff(memory.start_failures, policy)
    if waited is None or waited >= wait:
        return False, ()
    text = f"held for {wait.total_seconds():.0f} s after {memory.start_failures} failed starts in a row"
    return True, (Reason(ReasonCode.BACKOFF, text, {**numbers, "backoff_s": wait.total_seconds()}),)


def _starts(need: Need, have: int, spots: Sequence[Spot]) -> tuple[StartReplica, ...]:
    pool, want, first = need.policy.pool, need.memory.desired, need.memory.next_ordinal
    text, numbers = f"{have} of {want} replicas start or serve", {"have": have, "desired": want}
    whys = [f"{text}; it gets {short(spot.gpu)} of {spot.node}" if spot.gpu else text for spot in spots]
    return tuple(
        StartReplica(
            pool,
            ReplicaId(f"{pool}-{first + offset}"),
            (Reason(ReasonCode.BELOW_DESIRED, why, numbers),),
            spot.node,
            need.spec,
            spot.gpu,
        )
        for offset, (spot, why) in enumerate(zip(spots, whys, strict=True))
    )


def _numbered_on(memory: PoolMemory, count: int) -> PoolMemory:
    return replace(memory, next_ordinal=memory.next_ordinal + count)


def _drain(need: Need, here: Sequence[Judged], counted: Sequence[Judged]) -> Filling:
    """One at a time, where the engine answers. A serving one goes only while more serve than are desired."""
    memory, silent = need.memory, {node.name for node in need.places.nodes if node.silent_since is not None}
    able = [item for item in counted if item[1].node not in silent]
    if sum(known.state in SERVING for _, known in counted) <= memory.desired:
        able = [item for item in able if item[1].state is ReplicaState.STARTING]
    if not able or any(known.state is ReplicaState.DRAINING for _, known in here):
        return Filling((), memory)
    victim, because = choose_victim(able, need.spec, need.places.gpus)
    numbers = {"have": len(counted), "desired": memory.desired}
    text = f"{len(counted)} replicas, {memory.desired} are desired; {victim.replica} goes because {because}"
    reason = Reason(ReasonCode.ABOVE_DESIRED, text, numbers)
    return Filling((DrainReplica(victim.pool, victim.replica, (reason,)),), memory)
