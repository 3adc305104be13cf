"""Which replica is to be recycled: one whose memory is full, or whose errors stand out from those of its peers.

New first: a successor starts, and once it serves the old one drains. One at a time, and with time in between, since a
successor that fares no better would else be followed by the next one for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.core.decision import Decision, DrainReplica, RecycleReplica
from controller.core.limits import Context, no_room, room
from controller.core.model import SERVING, Known, Reading, ReplicaId, ReplicaMemory, ReplicaState, Signal
from controller.core.reason import Reason, ReasonCode
from controller.core.suspicion import STANDS_OUT
from controller.core.thresholds import durations_of, key_of, long_enough
from controller.core.words import amount


def decide_recycle(
    context: Context, mine: Sequence[ReplicaMemory], wish: tuple[ReplicaMemory, Reason] | None = None
) -> tuple[RecycleReplica | None, tuple[Reason, ...]]:
    """The replica to recycle, if any, and what stands in the way of one that should be.

    A `wish` (an order, or a changed spec) comes first, and waits for no interval.
    """
    if wish is not None:
        return _wished(context, mine, *wish)
    worst = _slow(mine)
    told: tuple[Reason, ...] = ()
    if worst is None and any("/" in name for name in context.memory.over_since):
        over = long_enough(context.memory.over_since, durations_of(context.moment.policy), context.now)
        worst = _fullest(context, over)
        if worst is None:
            worst, told = _failing(context, over)
    if worst is None or any(known.retiring_since is not None for known in mine):
        return None, told
    name, reason = worst
    held = _held(context, name)
    if held is not None:
        return None, (*told, reason, held)
    return RecycleReplica(context.memory.pool, name, (reason,)), told


def _wished(
    context: Context, mine: Sequence[ReplicaMemory], known: ReplicaMemory, reason: Reason
) -> tuple[RecycleReplica | None, tuple[Reason, ...]]:
    """One at a time, and only while the pool is whole."""
    view = context.moment.view
    if view.pending or view.draining or any(other.retiring_since is not None for other in mine):
        return None, (reason,)
    if room(context) == 0:
        text = f"{known.replica} is not replaced: {no_room(context)}"
        return None, (reason, Reason(ReasonCode.NO_GPU_FITS, text))
    return RecycleReplica(known.pool, known.replica, (reason,)), ()


def _slow(mine: Sequence[ReplicaMemory]) -> tuple[ReplicaId, Reason] | None:
    """One that was found to be far slower than its peers; it has left nginx, so there is nothing to wait for."""
    for known in mine:
        if known.state is ReplicaState.SUSPECT and known.code == ReasonCode.SPEED_STANDS_OUT.value:
            return known.replica, Reason(ReasonCode.SPEED_STANDS_OUT, known.why)
    return None


def succeed(mine: Sequence[ReplicaMemory], desired: int, spec: str, baked: datetime) -> Decision | None:
    """Drain the recycled replica once the others are enough without it.

    One of another spec than `spec` waits until all of that spec have been ready since `baked`.
    """
    old = next((known for known in mine if known.retiring_since and known.state in SERVING), None)
    others = [known for known in mine if known.state in SERVING and known.retiring_since is None]
    if old is None or len(others) < desired or any(known.state is ReplicaState.DRAINING for known in mine):
        return None
    if spec and old.spec_hash != spec:
        raw = [known for known in others if known.spec_hash == spec and (known.ready_at or baked) > baked]
        if raw:
            return None
    text = f"{len(others)} others serve, {desired} are desired"
    reason = Reason(ReasonCode.SUCCESSOR_READY, text, {"others": len(others), "desired": desired})
    return DrainReplica(old.pool, old.replica, (reason,))


def _fullest(context: Context, over: frozenset[str]) -> tuple[ReplicaId, Reason] | None:
    policy = context.policy.memory
    found = [
        (reading.value, name)
        for name, reading in _readings(context, Signal.MEMORY)
        if key_of(Signal.MEMORY, name) in over
    ]
    if not found:
        return None
    value, name = max(found)
    told = f"{amount(Signal.MEMORY, value)} of the {policy.of}'s memory is in use"
    text = f"{told}, above {amount(Signal.MEMORY, policy.threshold)} for {policy.duration.total_seconds():.0f} s"
    return name, Reason(ReasonCode.MEMORY_HIGH, text, {"memory": round(value, 4), "threshold": policy.threshold})


def _failing(context: Context, over: frozenset[str]) -> tuple[tuple[ReplicaId, Reason] | None, tuple[Reason, ...]]:
    """The replica that fails more than its peers; where all do, a reason that says that more would not help."""
    readings = [item for item in _readings(context, Signal.ERRORS) if item[1].known is not Known.UNKNOWN]
    found = [(reading.value, name) for name, reading in readings if key_of(Signal.ERRORS, name) in over]
    if not found:
        return None, ()
    value, name = max(found)
    peers = [reading.value for other, reading in readings if other != name]
    usual = sum(peers) / len(peers) if peers else value
    numbers = {"errors": round(value, 4), "peers": round(usual, 4), "threshold": context.policy.errors.threshold}
    share, theirs = amount(Signal.ERRORS, value), amount(Signal.ERRORS, usual)
    if peers and value > STANDS_OUT * usual:
        text = f"{share} of its answers are errors, {theirs} of its peers'"
        return (name, Reason(ReasonCode.ERRORS_STAND_OUT, text, numbers)), ()
    text = f"{share} of the answers of {name} are errors, and {theirs} of its peers': more replicas would not help"
    return None, (Reason(ReasonCode.ERRORS_EVERYWHERE, text, numbers),)


def _held(context: Context, name: ReplicaId) -> Reason | None:
    view, interval = context.moment.view, context.policy.recycle_interval
    last = context.memory.last_recycle_at
    if last is not None and context.now - last < interval:
        left_s = (last + interval - context.now).total_seconds()
        text = f"{name} is not recycled yet: one was {(context.now - last).total_seconds():.0f} s ago"
        return Reason(ReasonCode.RECYCLE_HELD, text, {"left_s": round(left_s, 3)})
    if view.pending or view.draining:
        text = f"{name} is not recycled while others start or drain"
        return Reason(ReasonCode.RECYCLE_HELD, text, {"moving": view.pending + view.draining})
    if room(context) == 0:
        return Reason(ReasonCode.NO_GPU_FITS, f"{name} is not recycled: {no_room(context)}")
    return None


def _readings(context: Context, signal: Signal) -> list[tuple[ReplicaId, Reading]]:
    return list(zip(context.moment.view.ready, context.moment.replicas(signal), strict=True))
