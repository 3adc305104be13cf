"""Every replica of a snapshot -> its state of this tick, and the pools that they belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from controller.core import orders, suspicion
from controller.core.decision import StateChange
from controller.core.health import Evidence, fold_health
from controller.core.model import (
    UNKNOWN,
    NodeName,
    PoolName,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import Reason

Judged = tuple[Replica, ReplicaMemory]
_NONE: Mapping[str, Reason] = MappingProxyType({})


@dataclass(slots=True)
class Mine:
    """The replicas of one pool, and what changed of them in this tick."""

    judged: list[Judged]
    changes: list[StateChange]

    def names(self, *states: ReplicaState) -> tuple[ReplicaId, ...]:
        """Those in one of these states."""
        return tuple(known.replica for _, known in self.judged if known.state in states)

    def elsewhere(self, nodes: Collection[NodeName]) -> Mine:
        """Without those on these nodes."""
        return Mine([item for item in self.judged if item[1].node not in nodes], self.changes)

    def memories(self) -> list[ReplicaMemory]:
        """Of all of them."""
        return [known for _, known in self.judged]


def judge(
    snapshot: Snapshot, policies: Mapping[PoolName, PoolPolicy], dead: Mapping[str, Reason] = _NONE
) -> tuple[list[Judged], tuple[StateChange, ...]]:
    """The state of each replica, and those that changed. What runs on a `dead` GPU (by UUID) is dead."""
    by_pool: dict[PoolName, list[Replica]] = {}
    for replica in snapshot.replicas:
        by_pool.setdefault(replica.container.pool, []).append(replica)
    judged: list[Judged] = []
    changes: list[StateChange] = []
    for pool, mine in by_pool.items():
        for replica, known, reason in _judge_pool(snapshot, policies.get(pool), mine, dead):
            judged.append((replica, known))
            if reason is not None:
                was = replica.memory.state if replica.memory else None
                changes.append(StateChange(known.replica, known.pool, was, known.state, reason))
    return judged, tuple(changes)


def _judge_pool(
    snapshot: Snapshot, policy: PoolPolicy | None, mine: Sequence[Replica], dead: Mapping[str, Reason]
) -> Iterable[tuple[Replica, ReplicaMemory, Reason | None]]:
    health, now = policy.health if policy else HealthPolicy(), snapshot.at
    readings = snapshot.readings.get(policy.pool, PoolReadings()) if policy else PoolReadings()
    suspects: Mapping[ReplicaId, Reason] = {}
    if policy is not None:
        mine = suspicion.slowness(mine, health, policy.scaling, readings, now)
        suspects = suspicion.suspicions(mine, health, policy.scaling, readings, now)
    kept = orders.kept(snapshot.orders)
    silent = {node.name for node in snapshot.nodes if node.silent_since is not None}
    for replica in mine:
        name, node = replica.container.replica, replica.container.node
        tokens = readings.tokens.get(name, UNKNOWN)
        lost = dead.get(replica.container.gpu) if dead else None
        evidence = Evidence(tokens, suspects.get(name), kept.get(name), node in silent, lost)
        known, reason = fold_health(replica, health, now, evidence)
        yield replica, known, reason


def by_pool(
    judged: Sequence[Judged], changes: Sequence[StateChange], pools: Iterable[PoolName]
) -> dict[PoolName, Mine]:
    """What each of these pools has."""
    found = {pool: Mine([], []) for pool in pools}
    for item in judged:
        if item[1].pool in found:
            found[item[1].pool].judged.append(item)
    for change in changes:
        if change.pool in found:
            found[change.pool].changes.append(change)
    return found


def changed(mine: Mine, names: Collection[ReplicaId], **changes: object) -> Mine:
    """The same with changes of these replicas' memories."""
    if not names:
        return mine
    after = [
        (replica, replace(known, **changes) if known.replica in names else known)  # type: ignore[arg-type]
        for replica, known in mine.judged
    ]
    return Mine(after, mine.changes)
