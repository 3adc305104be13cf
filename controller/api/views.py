"""The last tick and the ledger -> what the API answers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from controller.api.deps import Seen
from controller.api.evaluations import reason_of, shadow_of, signals_of
from controller.api.override_schemas import OverrideOut, bounds_of, pause_of
from controller.api.schemas import (
    ColdStartOut,
    DecisionOut,
    EventOut,
    HealingOut,
    LastWordsOut,
    NodeOut,
    PoolOut,
    ReceiptOut,
    ReplicaOut,
    SpecOut,
)
from controller.core import anatomy, rollout
from controller.core.decision import ScalePool, StartReplica
from controller.core.event import Event
from controller.core.model import (
    SERVING,
    UNKNOWN,
    Known,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolReadings,
    Replica,
    ReplicaMemory,
    ReplicaState,
    Signal,
)
from controller.core.orders import NODE
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode
from controller.ports import LastWords, Recorded


def pools_of(seen: Seen | None, policies: Sequence[PoolPolicy]) -> list[PoolOut]:
    """Every configured pool, also before the first tick."""
    in_force = {policy.pool: policy for policy in seen.policies} if seen else {}
    return [_pool(seen, policy, in_force.get(policy.pool, policy)) for policy in policies]


def _pool(seen: Seen | None, configured: PoolPolicy, policy: PoolPolicy) -> PoolOut:
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
        suspect=counts[ReplicaState.SUSPECT],
        unready=counts[ReplicaState.UNREADY],
        quarantined=counts[ReplicaState.QUARANTINED],
        in_flight=None if gateway.known is Known.UNKNOWN else gateway.value,
        start_failures=memory.start_failures if memory else 0,
        cold_start_s=memory.cold_start_s if memory else None,
        cold_start_p50_s=anatomy.quantile(memory.cold_starts, 0.5) if memory else None,
        cold_start_p95_s=anatomy.quantile(memory.cold_starts, 0.95) if memory else None,
        healing=_healing(policy, memory),
        spec=_spec(policy, memory, mine),
        signals=signals_of(seen.plan.evaluations.get(policy.pool) if seen else None),
        shadow=shadow_of(memory.shadow if memory else None),
        reasons=[reason_of(step) for step in seen.plan.standing.get(policy.pool, ())] if seen else [],
        override=_override(seen, configured, policy),
    )


def _override(seen: Seen | None, configured: PoolPolicy, policy: PoolPolicy) -> OverrideOut | None:
    found = next((one for one in seen.overrides if one.pool == policy.pool), None) if seen else None
    if found is None:
        return None
    refused = any(note.code is ReasonCode.BOUNDS_REFUSED for note in policy.notes)
    bounds = bounds_of(found, (configured.scaling.floor, configured.scaling.ceiling), in_force=not refused)
    return OverrideOut(paused=found.pause is not None, pause=pause_of(found), bounds=bounds)


def _healing(policy: PoolPolicy, memory: PoolMemory | None) -> HealingOut:
    return HealingOut(
        budget=policy.health.budget_actions,
        window_s=policy.health.budget_window.total_seconds(),
        spent=len(memory.remediations) if memory else 0,
        fuse_since=memory.fuse_since if memory else None,
        quarantined_since=memory.quarantined_since if memory else None,
    )


def _spec(policy: PoolPolicy, memory: PoolMemory | None, mine: Sequence[ReplicaMemory]) -> SpecOut:
    return SpecOut(
        wanted=rollout.wanted_spec(policy, memory) if memory else policy.spec_hash,
        good=memory.good_spec if memory else "",
        refused=memory.refused_spec if memory else "",
        why_refused=memory.why_refused if memory else "",
        serving=Counter(known.spec_hash for known in mine if known.state in SERVING),
    )


def replicas_of(seen: Seen | None) -> list[ReplicaOut]:
    """Every replica that exists, oldest first."""
    if seen is None:
        return []
    memories: Mapping[str, ReplicaMemory] = {str(name): known for name, known in seen.plan.memory.replicas.items()}
    found = [_replica(replica, memories[replica.container.replica], seen) for replica in seen.snapshot.replicas]
    return sorted(found, key=lambda item: (item.pool, item.created_at, len(item.replica), item.replica))


def _replica(replica: Replica, known: ReplicaMemory, seen: Seen) -> ReplicaOut:
    container, probe = replica.container, replica.probe
    cold = (known.ready_at - known.created_at).total_seconds() if known.ready_at else None
    pool = seen.plan.memory.pools.get(known.pool) if known.state is ReplicaState.STARTING else None
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
        cold_start=_cold_start(known),
        eta_s=anatomy.eta_s(known, pool.cold_starts, seen.snapshot.at) if pool else None,
        spec=known.spec_hash,
        gpu=known.gpu or None,
        in_flight=probe.in_flight if probe else None,
        waiting=probe.waiting if probe else None,
        routed=known.replica in seen.routed,
        address=str(container.engine) if container.engine else None,
        why=known.why,
    )


def nodes_of(seen: Seen | None, nodes: Sequence[NodeName]) -> list[NodeOut]:
    """Every node."""
    known = {node.name: node for node in seen.snapshot.nodes} if seen else {}
    held = Counter(replica.container.node for replica in seen.snapshot.replicas) if seen else Counter()
    standing = seen.snapshot.orders if seen else ()
    kinds = (OrderKind.CORDON, OrderKind.DRAIN)  # a drain is a cordon, too
    wanted = {order.subject: order for kind in kinds for order in standing if order.kind is kind}
    return [_node(known.get(name), name, wanted.get(f"{NODE}{name}"), held[name]) for name in nodes]


def _node(known: Node | None, name: NodeName, wanted: Order | None, replicas: int) -> NodeOut:
    return NodeOut(
        node=name,
        answering=known is not None and known.silent_since is None,
        silent_since=known.silent_since if known else None,
        cordoned=known is not None and known.cordoned,
        order=wanted.kind.value if wanted else None,
        ordered_at=wanted.at if wanted else None,
        why=wanted.why if wanted else "",
        replicas=replicas,
    )


def _cold_start(known: ReplicaMemory) -> ColdStartOut | None:
    took = known.cold_start
    if took is None:
        return None
    return ColdStartOut(
        total=took.total_s,
        create=took.create_s,
        fetch=took.fetch_s,
        load=took.load_s,
        warm=took.warm_s,
        first_token=took.first_token_s,
    )


def receipt_of(item: Recorded) -> ReceiptOut:
    """A removal of the ledger, by the numbers of its reason."""
    decision = item.decision
    assert not isinstance(decision, ScalePool)  # the caller has looked
    reason = decision.reasons[-1]
    in_flight, cut = reason.numbers.get("in_flight"), reason.numbers.get("cut")
    return ReceiptOut(
        at=item.at,
        pool=decision.pool,
        replica=decision.replica,
        reason=reason.code.value,
        in_flight=None if in_flight is None else int(in_flight),
        took_s=reason.numbers.get("took_s"),
        cut=None if cut is None else int(cut),
    )


def last_words_of(words: LastWords) -> LastWordsOut:
    """As the API tells them."""
    return LastWordsOut(at=words.at, pool=words.pool, replica=words.replica, reason=words.reason, text=words.text)


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
        gpu=decision.gpu or None if isinstance(decision, StartReplica) else None,
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
