"""How much healing is allowed: a budget of replacements for each pool, and a fuse that ends it for a while.

A replica that fails is replaced; when many do within minutes, the cause is rarely in the replicas, and killing and
starting more of them makes it worse. So the fuse stops it and says so. It closes by itself after one window, or at once
when a person releases the pool. Failed starts have a brake of their own, the back-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.core.failover import has_failed
from controller.core.model import PoolMemory, ReplicaId, ReplicaMemory, ReplicaState
from controller.core.policy import HealthPolicy
from controller.core.reason import Reason, ReasonCode

_ALIVE = (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.SUSPECT)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The replicas whose replacement is paid for now, and those that stay as they are because the budget is spent."""

    memory: PoolMemory
    paid: frozenset[ReplicaId] = frozenset()
    blocked: frozenset[ReplicaId] = frozenset()
    held: tuple[Reason, ...] = ()


def allow(mine: Sequence[ReplicaMemory], memory: PoolMemory, policy: HealthPolicy, now: datetime) -> Allowed:
    """Pay for the replacements of those that failed, once each.

    A pool of which nothing is alive gets one at a time even beyond the budget.
    """
    memory = _of_now(memory, policy, now)
    spent, fuse = memory.remediations, memory.fuse_since
    anything = any(known.state in _ALIVE for known in mine)
    unpaid = [known for known in mine if has_failed(known) and known.ready_at is not None and not known.paid]
    paid: set[ReplicaId] = set()
    blocked: set[ReplicaId] = set()
    for known in sorted(unpaid, key=lambda item: (item.since, item.replica)):
        if fuse is None and len(spent) >= policy.budget_actions:
            fuse = now
        if fuse is not None and anything:
            blocked.add(known.replica)
            continue
        paid.add(known.replica)
        spent, anything = (*spent, now), True  # its successor will be
    memory = memory.but(remediations=spent, fuse_since=fuse)
    return Allowed(memory, frozenset(paid), frozenset(blocked), _told(memory, len(blocked), policy, now))


def spare(memory: PoolMemory, policy: HealthPolicy) -> bool:
    """Whether one more replica may be replaced."""
    return memory.fuse_since is None and len(memory.remediations) < policy.budget_actions


def charge(memory: PoolMemory, now: datetime) -> PoolMemory:
    """One is, though it has not failed as yet."""
    return memory.but(remediations=(*memory.remediations, now))


def _of_now(memory: PoolMemory, policy: HealthPolicy, now: datetime) -> PoolMemory:
    recent = tuple(at for at in memory.remediations if now - at < policy.budget_window)
    if memory.fuse_since is not None and now - memory.fuse_since >= policy.budget_window:
        return memory.but(remediations=(), fuse_since=None)
    return memory.but(remediations=recent)


def _told(memory: PoolMemory, blocked: int, policy: HealthPolicy, now: datetime) -> tuple[Reason, ...]:
    if memory.fuse_since is None:
        return ()
    window_s = policy.budget_window.total_seconds()
    left_s = window_s - (now - memory.fuse_since).total_seconds()
    text = (
        f"{policy.budget_actions} failed replicas were replaced within {window_s:.0f} s: healing stops, "
        f"`stoker release {memory.pool}` lets it go on"
    )
    numbers = {"actions": float(policy.budget_actions), "window_s": window_s, "left_s": round(left_s), "kept": blocked}
    return (Reason(ReasonCode.FUSE_BLOWN, text, numbers),)
