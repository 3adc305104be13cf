"""Rows to values and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter

from controller import evidence
from controller.adapters.database.tables import (
    DecisionRow,
    EvaluationRow,
    EventRow,
    GpuRow,
    LastWordsRow,
    OrderRow,
    PoolRow,
    ReplicaRow,
)
from controller.core.decision import (
    Decision,
    DrainReplica,
    Reason,
    ReasonCode,
    RecycleReplica,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import (
    GpuMemory,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolName,
    ReplicaId,
    ReplicaMemory,
    Term,
)
from controller.ports import LastWords, Recorded, RecordedEvaluation

_POOL, _REPLICA, _GPU = TypeAdapter(PoolMemory), TypeAdapter(ReplicaMemory), TypeAdapter(GpuMemory)
# `PoolMemory`, `ReplicaMemory` and `GpuMemory` say where what is only watched begins: it becomes no row.
_POOL_NAMES, _REPLICA_NAMES, _GPU_NAMES = (
    [field.name for field in fields(kind)] for kind in (PoolMemory, ReplicaMemory, GpuMemory)
)
_POOL_LASTS = _POOL_NAMES[: _POOL_NAMES.index("history_since")]
_REPLICA_LASTS = _REPLICA_NAMES[: _REPLICA_NAMES.index("holds")]
_GPU_LASTS = _GPU_NAMES[: _GPU_NAMES.index("hot_since")]
# What of a pool and of a replica is worth a write. A new controller watches the rest anew, on purpose.
lasting_of_pool: Callable[[PoolMemory], tuple[object, ...]] = attrgetter(*_POOL_LASTS)
lasting_of_replica: Callable[[ReplicaMemory], tuple[object, ...]] = attrgetter(*_REPLICA_LASTS)
lasting_of_gpu: Callable[[GpuMemory], tuple[object, ...]] = attrgetter(*_GPU_LASTS)


def iso(at: datetime) -> str:
    """A time as it stands in the rows: texts compare as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def pool_row(pool: PoolMemory) -> PoolRow:
    """A pool as a row."""
    body = _POOL.dump_json(pool, include=set(_POOL_LASTS), exclude_defaults=True).decode()
    return PoolRow(pool=pool.pool, body=body)


def read_pool(row: PoolRow) -> PoolMemory:
    """A row as a pool; what was watched is begun anew."""
    return _POOL.validate_json(row.body)


def replica_row(known: ReplicaMemory) -> ReplicaRow:
    """A replica as a row."""
    body = _REPLICA.dump_json(known, include=set(_REPLICA_LASTS), exclude_defaults=True).decode()
    return ReplicaRow(replica=known.replica, body=body)


def read_replica(row: ReplicaRow) -> ReplicaMemory:
    """A row as a replica."""
    return _REPLICA.validate_json(row.body)


def gpu_row(known: GpuMemory) -> GpuRow:
    """A GPU as a row."""
    body = _GPU.dump_json(known, include=set(_GPU_LASTS), exclude_defaults=True).decode()
    return GpuRow(uuid=known.uuid, body=body)


def read_gpu(row: GpuRow) -> GpuMemory:
    """A row as a GPU."""
    return _GPU.validate_json(row.body)


def decision_row(decision: Decision, tick: int, term: Term, at: datetime) -> DecisionRow:
    """A decision as a row, its outcome still open."""
    reasons = [
        {"code": reason.code.value, "text": reason.text, "numbers": dict(reason.numbers)} for reason in decision.reasons
    ]
    scale = decision if isinstance(decision, ScalePool) else None
    placed = decision if isinstance(decision, StartReplica | TerminateReplica | RemoveReplica) else None
    return DecisionRow(
        at=iso(at),
        tick=tick,
        term=term,
        kind=decision.kind,
        pool=decision.pool,
        replica=None if isinstance(decision, ScalePool) else decision.replica,
        node=placed.node if placed else None,
        gpu=decision.gpu or None if isinstance(decision, StartReplica) else None,
        spec_hash=decision.spec_hash if isinstance(decision, StartReplica) else None,
        current=scale.current if scale else None,
        desired=scale.desired if scale else None,
        reasons=json.dumps(reasons),
    )


def read_decision(row: DecisionRow) -> Recorded:
    """A row as a decision with its outcome."""
    return Recorded(
        row.id or 0, datetime.fromisoformat(row.at), row.tick, Term(row.term), _read_decision(row), row.outcome
    )


def _read_decision(row: DecisionRow) -> Decision:
    reasons = tuple(Reason(ReasonCode(step["code"]), step["text"], step["numbers"]) for step in json.loads(row.reasons))
    pool, replica, node = PoolName(row.pool), ReplicaId(row.replica or ""), NodeName(row.node or "")
    match row.kind:
        case ScalePool.kind:
            return ScalePool(pool, row.current or 0, row.desired or 0, reasons)
        case StartReplica.kind:
            return StartReplica(pool, replica, reasons, node, row.spec_hash or "", row.gpu or "")
        case TerminateReplica.kind:
            return TerminateReplica(pool, replica, reasons, node)
        case RemoveReplica.kind:
            return RemoveReplica(pool, replica, reasons, node)
        case RecycleReplica.kind:
            return RecycleReplica(pool, replica, reasons)
        case _:
            return DrainReplica(pool, replica, reasons)


def evaluation_row(evaluation: Evaluation, tick: int, term: Term, changed: bool) -> EvaluationRow:
    """An evaluation as a row."""
    body = evidence.dump(evaluation)
    return EvaluationRow(at=iso(evaluation.at), tick=tick, term=term, pool=evaluation.pool, changed=changed, body=body)


def read_evaluation(row: EvaluationRow) -> RecordedEvaluation:
    """A row as an evaluation."""
    return RecordedEvaluation(row.id or 0, row.tick, Term(row.term), row.changed, evidence.load(row.body))


def event_values(item: Event) -> dict[str, Any]:
    """An event as the columns of a row: there may be thousands, and objects of rows are slow."""
    return {
        "at": iso(item.at),
        "tick": item.tick,
        "term": item.term,
        "event": item.event,
        "subject": item.subject,
        "reason": item.reason,
        "message": item.message,
        "numbers": json.dumps(dict(item.numbers)),
    }


def read_event(row: EventRow) -> Event:
    """A row as an event."""
    at, numbers = datetime.fromisoformat(row.at), json.loads(row.numbers)
    return Event(at, row.event, row.subject, row.reason, row.message, numbers, row.tick, row.term)


def order_row(order: Order) -> OrderRow:
    """An order as a row."""
    return OrderRow(kind=order.kind.value, subject=order.subject, at=iso(order.at), why=order.why)


def read_order(row: OrderRow) -> Order:
    """A row as an order."""
    return Order(OrderKind(row.kind), row.subject, datetime.fromisoformat(row.at), row.why)


def words_row(words: LastWords) -> LastWordsRow:
    """Last words as a row."""
    at = iso(words.at)
    return LastWordsRow(at=at, pool=words.pool, replica=words.replica, reason=words.reason, text=words.text)


def read_words(row: LastWordsRow) -> LastWords:
    """A row as last words."""
    at = datetime.fromisoformat(row.at)
    return LastWords(at, PoolName(row.pool), ReplicaId(row.replica), row.reason, row.text)
