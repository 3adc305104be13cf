"""Make room for a successor where too many look bad at once and no GPU has any: one replica at a time goes first.

The panic threshold keeps what looks bad in nginx until a successor shows whether a new one fares better. On GPUs that
are full none can start, and nothing would ever be decided.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from controller.core.decision import StartReplica
from controller.core.model import SERVING, ContainerState, Replica, ReplicaMemory, ReplicaState, Snapshot
from controller.core.pool_plan import PoolPlan, silent_nodes
from controller.core.reason import Reason, ReasonCode

_PATIENCE = timedelta(seconds=30)  # a stall of the machine or of the network is over by then
_STUCK = frozenset({ReasonCode.PANIC_THRESHOLD, ReasonCode.NO_GPU_FITS})
_WAITS = frozenset({ReasonCode.BACKOFF, ReasonCode.CRASH_LOOP})
_SO_IT_GOES = "no GPU has room for a successor, so it goes first"


def give_way(part: PoolPlan, snapshot: Snapshot) -> PoolPlan:
    """The plan, with the one replica that leaves nginx although most of its pool look bad, if one has to."""
    codes = {reason.code for reason in part.evaluation.held}
    if not codes >= _STUCK or codes & _WAITS or not _whole(part):
        return part
    silent = silent_nodes(snapshot)
    found = [
        known
        for item, known in part.judged
        if _hopeless(item, known) and known.node not in silent and snapshot.at - known.since >= _PATIENCE
    ]
    return _without(part, min(found, key=lambda known: (known.since, known.replica))) if found else part


def _whole(part: PoolPlan) -> bool:
    """Whether none is on its way in or out: one that went before has a successor that serves.

    With a blown fuse the first one goes only where none is alive.
    """
    if any(isinstance(decision, StartReplica) for decision in part.decisions):
        return False
    if part.memory.fuse_since is not None and any(known.state in SERVING for _, known in part.judged):
        return False
    there = [known.state for item, known in part.judged if item.routed or known.state in SERVING]
    starting = any(known.state is ReplicaState.STARTING for _, known in part.judged)
    return not starting and len(there) >= part.memory.desired


def _hopeless(item: Replica, known: ReplicaMemory) -> bool:
    """Unready and kept in nginx; its replacement is paid for, so the budget allows it."""
    runs = item.container.state is ContainerState.RUNNING
    return known.state is ReplicaState.UNREADY and item.routed and runs and known.paid


def _without(part: PoolPlan, one: ReplicaMemory) -> PoolPlan:
    why = one.why if one.why.endswith(_SO_IT_GOES) else f"{one.why}; {_SO_IT_GOES}"
    judged = [(item, replace(known, why=why) if known is one else known) for item, known in part.judged]
    text = f"{one.replica}, which has looked bad the longest, leaves nginx all the same: {_SO_IT_GOES}"
    held = (*part.evaluation.held, Reason(ReasonCode.PANIC_THRESHOLD, text))
    return replace(part, judged=judged, evaluation=replace(part.evaluation, held=held), leaving=one.replica)
