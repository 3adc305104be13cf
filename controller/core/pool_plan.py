"""One pool's part of a tick: health -> rollout -> budget -> failover -> scaling -> recycling -> filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

from controller.core import budget, gpus, orders, rollout, starts
from controller.core.decision import Decision, RecycleReplica, ScalePool
from controller.core.evaluation import Evaluation
from controller.core.failover import decide_failover, has_failed, overdue
from controller.core.filling import Need, fill
from controller.core.gpus import GpuHealth
from controller.core.judging import Judged, Mine, changed
from controller.core.limits import Context, room
from controller.core.model import (
    SERVING,
    ContainerState,
    NodeName,
    PoolMemory,
    PoolName,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.overrides import explained
from controller.core.placement import Places, why_not
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.recycle import decide_recycle
from controller.core.scaling import decide_scale
from controller.core.shadow import cast
from controller.core.votes import PoolView

_CHANCE = timedelta(seconds=5)  # for the probes of a replica whose node has come back
_UP = (ReplicaState.STARTING, *SERVING)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is the same for every pool of a tick."""

    snapshot: Snapshot
    gpus: GpuHealth = field(default_factory=GpuHealth)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What is decided of a pool."""

    decisions: tuple[Decision, ...]
    memory: PoolMemory
    evaluation: Evaluation
    judged: Sequence[Judged]
    notes: tuple[Reason, ...] = ()  # on the policy
    leaving: ReplicaId | None = None  # it leaves nginx although too many look bad at once

    @property
    def standing(self) -> tuple[Reason, ...]:
        """Why it has the size that it has, and what is held back."""
        said = self.evaluation.reasons
        return (*said, *(note for note in self.notes if note not in said), *self.evaluation.held)


def plan_pool(policy: PoolPolicy, scene: Scene, mine: Mine, places: Places, panic: tuple[Reason, ...]) -> PoolPlan:
    """What this tick wants of the pool. `panic`: most of it looks bad at once."""
    snapshot, now = scene.snapshot, scene.snapshot.at
    lost, there = _lost(snapshot, policy.health), mine.elsewhere(silent_nodes(snapshot))
    before = snapshot.pools.get(policy.pool) or starts.adopt(policy.pool, mine)
    memory = orders.release(starts.remember(policy, before, mine, now), snapshot.orders)
    rolled = rollout.decide_rollout(policy, memory, there.memories(), _readings(snapshot, policy.pool), now)
    if rolled.memory.refused_spec and not memory.refused_spec:
        mine = changed(mine, mine.names(*SERVING), retiring_since=None)  # the way back: what was to go stays
    allowed = budget.allow(_healed(mine, snapshot), rolled.memory, policy.health, now)
    mine = changed(mine, allowed.paid, paid=True)
    out = _out(mine, allowed.blocked, policy.health, snapshot)
    here = _moving(mine.elsewhere(lost) if lost else mine, policy.health, snapshot)
    view = _view(allowed.memory, mine, here, scene, places)
    evaluation, context = decide_scale(view, policy.scaling, now, policy.mode)
    evaluation = explained(evaluation, policy.notes)
    recycled, told, memory = _recycled(context, mine, there, _wish(scene, there, rolled), policy.health)
    mine = mine if recycled is None else changed(mine, (recycled.replica,), retiring_since=now)
    need = Need(policy, memory, mine.judged, now, places, _surge(policy, context, panic), room(context), rolled.spec)
    filling = fill(replace(need, judged=_moving(mine, policy.health, snapshot).judged, kept=allowed.blocked, lost=lost))
    memory = _with_shadow(filling.memory, policy, evaluation, before)
    shadow = memory.shadow.memory.desired if memory.shadow is not None else None
    held = (*told, *rolled.told, *allowed.held, *panic, *_of_gpus(policy, scene), *filling.held)
    decisions = (*_scaled(before, evaluation), *some(recycled), *filling.decisions, *out)
    return PoolPlan(decisions, memory, replace(evaluation, held=held, shadow=shadow), mine.judged, policy.notes)


def _wish(scene: Scene, there: Mine, rolled: rollout.Rollout) -> rollout.Wish | None:
    """The next replica to replace: because it was ordered, because of its GPU, or because of its spec."""
    snapshot = scene.snapshot
    ordered = orders.wish(snapshot.orders, there.memories(), snapshot.nodes)
    return ordered or gpus.wish(scene.gpus, there.memories()) or rolled.wish


def _recycled(
    context: Context, mine: Mine, there: Mine, wish: rollout.Wish | None, policy: HealthPolicy
) -> tuple[RecycleReplica | None, tuple[Reason, ...], PoolMemory]:
    """The replica to replace; none on a node that gives no answer, nor for its GPU once the budget is spent."""
    memory, for_gpu = context.memory, wish is not None and wish[1].code is ReasonCode.GPU_CORDONED
    if wish is not None and for_gpu and not budget.spare(memory, policy):
        return None, (wish[1],), memory.but(fuse_since=memory.fuse_since or context.now)
    found, told = decide_recycle(context, mine.memories(), wish)
    if found is None or found.replica not in there.names(*_UP):
        return None, told, memory
    if for_gpu:
        memory = budget.charge(memory, context.now)
    return found, told, replace(memory, last_recycle_at=context.now)


def _of_gpus(policy: PoolPolicy, scene: Scene) -> tuple[Reason, ...]:
    """What is said of a pool on GPUs while most of those look broken."""
    return some(scene.gpus.held) if policy.scaling.gpu_memory_bytes else ()


def _out(mine: Mine, blocked: frozenset[ReplicaId], policy: HealthPolicy, snapshot: Snapshot) -> list[Decision]:
    """The next step out of each that goes."""
    free = [item for item in mine.judged if item[1].replica not in blocked and not _returning(*item, snapshot)]
    steps = [decide_failover(item, known, policy, snapshot.at) for item, known in free]
    return [step for step in steps if step is not None]


def _moving(mine: Mine, policy: HealthPolicy, snapshot: Snapshot) -> Mine:
    """Without what should long have drained: one that cannot be removed must hold nothing else up for ever."""
    if not any(overdue(known, policy, snapshot.at) for known in mine.memories()):
        return mine
    return Mine([item for item in mine.judged if not overdue(item[1], policy, snapshot.at)], mine.changes)


def _with_shadow(memory: PoolMemory, policy: PoolPolicy, evaluation: Evaluation, before: PoolMemory) -> PoolMemory:
    if policy.shadow is None:
        return memory
    return replace(memory, shadow=cast(evaluation, policy.shadow, before.shadow))


def _healed(mine: Mine, snapshot: Snapshot) -> list[ReplicaMemory]:
    """What the budget is for. One that failed with its node costs nothing until it is known to be lost."""
    silent = silent_nodes(snapshot)
    return [
        known
        for item, known in mine.judged
        if not has_failed(known) or not (known.node in silent or _returning(item, known, snapshot))
    ]


def _returning(replica: Replica, known: ReplicaMemory, snapshot: Snapshot) -> bool:
    """Whether its node has only just come back: it may serve again, which three probes will tell."""
    runs = replica.container.state is ContainerState.RUNNING and known.state is ReplicaState.UNREADY
    back = [node.back_since for node in snapshot.nodes if node.name == known.node and node.back_since is not None]
    return runs and any(snapshot.at - at < _CHANCE for at in back)


def _scaled(before: PoolMemory, evaluation: Evaluation) -> tuple[Decision, ...]:
    if evaluation.desired == before.desired:
        return ()
    return (ScalePool(before.pool, before.desired, evaluation.desired, evaluation.reasons),)


def some(found: _Found | None) -> tuple[_Found, ...]:
    """It, if there is one."""
    return () if found is None else (found,)


def _surge(policy: PoolPolicy, context: Context, panic: tuple[Reason, ...]) -> int | None:
    """Where most look bad one successor shows first whether a new one fares any better."""
    if panic:
        return 1
    return None if context.overrun else policy.scaling.surge  # too few for the demand: all that are missing at once


def silent_nodes(snapshot: Snapshot) -> frozenset[NodeName]:
    """Those whose engines give no answer."""
    return frozenset(node.name for node in snapshot.nodes if node.silent_since is not None)


def _lost(snapshot: Snapshot, policy: HealthPolicy) -> frozenset[NodeName]:
    """Nodes whose replicas are replaced elsewhere, because their engines have been silent for too long."""
    if not any(why_not(node) is None for node in snapshot.nodes):
        return frozenset()
    silent = [(node.name, node.silent_since) for node in snapshot.nodes if node.silent_since is not None]
    return frozenset(name for name, since in silent if snapshot.at - since >= policy.node_grace)


def _view(memory: PoolMemory, mine: Mine, here: Mine, scene: Scene, places: Places) -> PoolView:
    """`here` is without what starts or drains on a lost node, or drains elsewhere, and does so for ever."""
    starting, draining = here.names(ReplicaState.STARTING), here.names(ReplicaState.DRAINING)
    readings, gpus = _readings(scene.snapshot, memory.pool), places.gpus
    unplaced = sum(not known.gpu for known in here.memories() if known.state is ReplicaState.STARTING) if gpus else None
    return PoolView(memory, mine.names(*SERVING), len(starting), len(draining), readings, gpus, unplaced)


def _readings(snapshot: Snapshot, pool: PoolName) -> PoolReadings:
    return snapshot.readings.get(pool, PoolReadings())
