"""What a tick saw and wanted -> which alerts stand, under the names of alerts/rules and with the same thresholds.

Pure. What holds is a `Finding`; of what nobody can tell now there is the key only. It takes microseconds for each pool.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.alarm import Alarm, Finding, Key, follow
from controller.core.alarm_fleet import of_certificates, of_gateway, of_gateways, of_gpus, of_nodes
from controller.core.alarm_pools import FLAPPING_WINDOW, PoolSight, of_pool
from controller.core.alarm_signals import of_signals
from controller.core.alarm_sources import METRICS, of_sources
from controller.core.decision import Plan, StateChange
from controller.core.gateways import GatewayStatus
from controller.core.model import (
    SERVING,
    PoolMemory,
    PoolName,
    PoolReadings,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.policy import PoolPolicy
from controller.core.votes import Moment, PoolView

Falls = Mapping[PoolName, Mapping[ReplicaId, Sequence[datetime]]]
_FALLEN = (ReplicaState.SUSPECT, ReplicaState.UNREADY, ReplicaState.STOPPED)


@dataclass(frozen=True, slots=True)
class Sight:
    """One tick, and what is known of nginx: whether it refused what it should run, and of those of other machines; and
    until when certificates are good, by whose they are: gateway, controller."""

    snapshot: Snapshot
    plan: Plan
    refused: bool = False
    certificate_ends: Mapping[str, datetime] = field(default_factory=dict)
    gateways: Sequence[GatewayStatus] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """The alarms that stand, and when replicas fell out of service lately, which lives in the process only."""

    alarms: Mapping[Key, Alarm] = field(default_factory=dict)
    falls: Falls = field(default_factory=dict)


def watch(board: Board, sight: Sight, policies: Sequence[PoolPolicy]) -> Board:
    """What stands after this tick. Each tick is to be looked at once."""
    now = sight.snapshot.at
    falls = _falls(board.falls, sight.plan.changes, now)
    found: list[Finding] = []
    unknown: set[Key] = set()
    for item in _look(sight, falls, policies):
        if isinstance(item, Finding):
            found.append(item)
        else:
            unknown.add(item)
    return Board(follow(board.alarms, found, unknown, now), falls)


def _look(sight: Sight, falls: Falls, policies: Sequence[PoolPolicy]) -> Iterator[Finding | Key]:
    snapshot, plan, now = sight.snapshot, sight.plan, sight.snapshot.at
    mine: defaultdict[PoolName, list[ReplicaMemory]] = defaultdict(list)
    for known in plan.memory.replicas.values():
        mine[known.pool].append(known)
    silent = {node.name for node in snapshot.nodes if node.silent_since is not None}
    blind = bool(snapshot.nodes) and len(silent) == len(snapshot.nodes)
    moments: list[tuple[PoolName, Moment]] = []
    for policy in policies:
        pool, replicas = policy.pool, mine[policy.pool]
        yield from of_pool(PoolSight(policy, plan, replicas, falls.get(pool, {}), now, blind))
        reached = [known for known in replicas if known.node not in silent]
        moments.append((pool, _moment(policy, snapshot, reached)))
    for pool, moment in moments:
        yield from of_signals(pool, moment)
    yield from of_sources(moments, METRICS in snapshot.unknown)
    yield from of_nodes(snapshot)
    yield from of_gpus(plan)
    yield from of_gateway(sight.refused)
    yield from of_certificates(sight.certificate_ends, now)
    yield from of_gateways(sight.gateways, now)


def _moment(policy: PoolPolicy, snapshot: Snapshot, replicas: Sequence[ReplicaMemory]) -> Moment:
    ready = tuple(known.replica for known in replicas if known.state in SERVING)
    readings = snapshot.readings.get(policy.pool) or PoolReadings()
    return Moment(PoolView(PoolMemory(policy.pool, 0), ready, readings=readings), policy.scaling, snapshot.at)


def _falls(before: Falls, changes: Sequence[StateChange], now: datetime) -> Falls:
    """With those of this tick, once for each way from ready out of service, and without what was too long ago."""
    after: defaultdict[PoolName, dict[ReplicaId, list[datetime]]] = defaultdict(dict)
    for pool, replicas in before.items():
        for replica, times in replicas.items():
            if lately := [at for at in times if now - at < FLAPPING_WINDOW]:
                after[pool][replica] = lately
    for change in changes:
        if change.was is ReplicaState.READY and change.now in _FALLEN:
            after[change.pool].setdefault(change.replica, []).append(now)
    return after
