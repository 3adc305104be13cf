"""The replicas of a pool as its page shows them. Pure: equal facts give equal rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.api.deps import Seen
from controller.api.web.overview import level_of
from controller.core import anatomy
from controller.core.model import (
    ColdStart,
    Known,
    NodeName,
    PoolMemory,
    PoolName,
    PoolReadings,
    Reading,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Signal,
)

_STAGES = ("create", "fetch", "load", "warm", "first_token")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of a start, in seconds; `left` and `width` are its place in a bar of 100."""

    name: str
    took_s: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Start:
    """What a start took, or has taken so far. `eta_s`: seconds until it is usually ready; 0: it is late."""

    total_s: float | None
    stages: tuple[Stage, ...]
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One replica, but for its numbers: it is rendered and sent anew only where something happens to it. `full`: its
    memory is above the threshold; `orders` are what people want of it."""

    name: str
    state: str
    level: str
    phase: str
    node: str
    silent_since: datetime | None
    gpu: str
    full: bool
    created_at: datetime
    since: datetime
    why: str
    routed: bool
    retiring: bool
    start: Start | None
    orders: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What changes with nearly every look. None is what is not known; `memory` is a share of 1."""

    name: str
    in_flight: int | None
    waiting: int | None
    tokens: float | None
    memory: float | None


def rows_of(seen: Seen, pool: PoolName, threshold: float | None) -> list[ReplicaRow]:
    """Those of that pool, oldest first; `threshold` is of the memory."""
    memories = seen.plan.memory.replicas
    mine = [replica for replica in seen.snapshot.replicas if replica.container.pool == pool]
    mine.sort(key=lambda item: (item.container.created_at, len(item.container.replica), item.container.replica))
    return [_row(seen, replica, memories[replica.container.replica], threshold) for replica in mine]


def numbers_of(seen: Seen, pool: PoolName) -> list[Numbers]:
    """Those of its replicas."""
    readings = seen.snapshot.readings.get(pool, PoolReadings())
    memory = readings.replicas.get(Signal.MEMORY, {})
    return [
        Numbers(
            name=replica.container.replica,
            in_flight=replica.probe.in_flight if replica.probe else None,
            waiting=replica.probe.waiting if replica.probe else None,
            tokens=_known(readings.tokens, replica.container.replica),
            memory=_known(memory, replica.container.replica),
        )
        for replica in seen.snapshot.replicas
        if replica.container.pool == pool
    ]


def _row(seen: Seen, replica: Replica, known: ReplicaMemory, threshold: float | None) -> ReplicaRow:
    name = known.replica
    readings = seen.snapshot.readings.get(known.pool, PoolReadings())
    memory = _known(readings.replicas.get(Signal.MEMORY, {}), name)
    silent = next((node.silent_since for node in seen.snapshot.nodes if node.name == replica.container.node), None)
    return ReplicaRow(
        name=name,
        state=known.state.value,
        level=level_of(known.state),
        phase=_phase(replica, known),
        node=replica.container.node,
        silent_since=silent,
        gpu=known.gpu,
        full=memory is not None and threshold is not None and memory > threshold,
        created_at=known.created_at,
        since=known.since,
        why=known.why,
        routed=name in seen.routed,
        retiring=known.retiring_since is not None,
        start=_start(replica, known, seen.plan.memory.pools.get(known.pool), seen.snapshot.at),
        orders=_orders(seen, name, replica.container.node),
    )


def _phase(replica: Replica, known: ReplicaMemory) -> str:
    """The launcher's own word, where it is another than the state's."""
    phase = replica.probe.phase if replica.probe else None
    return "" if phase is None or phase.value == known.state.value else phase.value


def _known(readings: Mapping[ReplicaId, Reading], name: ReplicaId) -> float | None:
    found = readings.get(name)
    return None if found is None or found.known is Known.UNKNOWN else found.value


def _orders(seen: Seen, name: ReplicaId, node: NodeName) -> tuple[tuple[str, str], ...]:
    subjects = (f"replica/{name}", f"node/{node}")
    return tuple((order.kind.value, order.why) for order in seen.snapshot.orders if order.subject in subjects)


def _start(replica: Replica, known: ReplicaMemory, pool: PoolMemory | None, now: datetime) -> Start | None:
    if known.cold_start is not None:
        return start_of(known.cold_start)
    if known.state is not ReplicaState.STARTING:
        return None
    so_far = anatomy.of_start(replica, now)
    eta = anatomy.eta_s(known, pool.cold_starts, now) if pool is not None else None
    return Start(None, _stages(_spans(so_far), eta or 0.0), None if eta is None else round(eta))


def start_of(took: ColdStart) -> Start:
    """One that is over."""
    return Start(took.total_s, _stages(_spans(took), took.total_s - sum(span for _, span in _spans(took))))


def _spans(took: ColdStart) -> list[tuple[str, float]]:
    values = (took.create_s, took.fetch_s, took.load_s, took.warm_s, took.first_token_s)
    return list(zip(_STAGES, values, strict=True))


def _stages(spans: Iterable[tuple[str, float]], rest_s: float) -> tuple[Stage, ...]:
    """Side by side; `rest_s` of the bar stays empty."""
    known: Sequence[tuple[str, float]] = [(name, took) for name, took in spans if took > 0]
    whole = sum(took for _, took in known) + max(rest_s, 0.0)
    made, left = [], 0.0
    for name, took in known:
        width = 100 * took / whole
        made.append(Stage(name, took, round(left, 1), round(width, 1)))
        left += width
    return tuple(made)
