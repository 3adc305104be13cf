"""The last tick and the ledger -> what the API answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.api.deps import Seen
from controller.api.evaluations import reason_of, shadow_of, signals_of
from controller.api.schemas import DecisionOut, EventOut, NodeOut, PoolOut, ReplicaOut
from controller.core.decision import ScalePool
from controller.core.event import Event
from controller.core.model import (
    UNKNOWN,
    Known,
    NodeName,
    PoolReadings,
    Replica,
    ReplicaMemory,
    ReplicaState,
    Signal,
)
from controller.core.planner import RUNTIME
from controller.core.policy import PoolPolicy
from controller.ports import Recorded


def pools_of(seen: Seen | None, policies: Sequence[PoolPolicy]) -> list[PoolOut]:
    """Every configured pool, also before the first tick."""
    return [_pool(seen, policy) for policy in policies]


def _pool(seen: Seen | None, policy: PoolPolicy) -> PoolOut:
    memory = seen.plan.memory.pools.get(policy.pool) if seen else None
    mine = [known for known in seen.plan.memory.replicas.values() if known.pool == policy.pool] if seen else []
    counts = {state: sum(1 for known in mine if known.state is state) for state in ReplicaState}
    readings = seen.snapshot.readings.get(policy.pool, PoolReadings()) if seen else PoolReadings()
    gateway = readings.pool.get(Signal.IN_FLIGHT, UNKNOWN)
    return PoolOut(
        pool=policy.pool,
        model=policy.model,
        mode=policy.mode.value,
        floor=policy.scaling.floor,
        ceiling=policy.scaling.ceiling,
        desired=memory.desired if memory else policy.scaling.floor,
        ready=counts[ReplicaState.READY],
        starting=counts[ReplicaState.STARTING],
        draining=counts[ReplicaState.DRAINING],
        unready=counts[ReplicaState.UNREADY],
        in_flight=None if gateway.known is Known.UNKNOWN else gateway.value,
        start_failures=memory.start_failures if memory else 0,
        cold_start_s=memory.cold_start_s if memory else None,
        signals=signals_of(seen.plan.evaluations.get(policy.pool) if seen else None),
        shadow=shadow_of(memory.shadow if memory else None),
        reasons=[reason_of(step) for step in seen.plan.standing.get(policy.pool, ())] if seen else [],
    )


def replicas_of(seen: Seen | None) -> list[ReplicaOut]:
    """Every replica that exists, oldest first."""
    if seen is None:
        return []
    memories: Mapping[str, ReplicaMemory] = {str(name): known for name, known in seen.plan.memory.replicas.items()}
    found = [
        _replica(replica, memories[replica.container.replica], replica.container.replica in seen.routed)
        for replica in seen.snapshot.replicas
    ]
    return sorted(found, key=lambda item: (item.pool, item.created_at, len(item.replica), item.replica))


def _replica(replica: Replica, known: ReplicaMemory, routed: bool) -> ReplicaOut:
    container, probe = replica.container, replica.probe
    cold = (known.ready_at - known.created_at).total_seconds() if known.ready_at else None
    return ReplicaOut(
        replica=known.replica,
        pool=known.pool,
        node=container.node,
        state=known.state.value,
        phase=probe.phase.value if probe and probe.phase else None,
        since=known.since,
        created_at=known.created_at,
        ready_at=known.ready_at,
        cold_start_s=None if cold is None else round(cold, 3),
        in_flight=probe.in_flight if probe else None,
        waiting=probe.waiting if probe else None,
        routed=routed,
        address=str(container.engine) if container.engine else None,
        why=known.why,
    )


def nodes_of(seen: Seen | None, nodes: Sequence[NodeName]) -> list[NodeOut]:
    """Every node."""
    answering = seen is not None and RUNTIME not in seen.snapshot.unknown
    replicas = seen.snapshot.replicas if seen else ()
    return [
        NodeOut(
            node=name,
            answering=answering,
            replicas=sum(1 for replica in replicas if replica.container.node == name),
        )
        for name in nodes
    ]


def decision_of(item: Recorded) -> DecisionOut:
    """A line of the ledger."""
    decision = item.decision
    scale = decision if isinstance(decision, ScalePool) else None
    return DecisionOut(
        id=item.id,
        at=item.at,
        tick=item.tick,
        term=item.term,
        kind=decision.kind,
        pool=decision.pool,
        replica=None if isinstance(decision, ScalePool) else decision.replica,
        current=scale.current if scale else None,
        desired=scale.desired if scale else None,
        reasons=[reason_of(step) for step in decision.reasons],
        outcome=item.outcome,
    )


def event_of(event: Event) -> EventOut:
    """One thing that happened."""
    return EventOut(
        at=event.at,
        event=event.event,
        subject=event.subject,
        reason=event.reason,
        message=event.message,
        numbers=dict(event.numbers),
        tick=event.tick,
        term=event.term,
    )
