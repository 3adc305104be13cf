"""The tables, and rows to values and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from controller import evidence
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
from controller.core.model import PoolMemory, PoolName, ReplicaId, ReplicaMemory, ReplicaState, Term
from controller.ports import Recorded, RecordedEvaluation

_KINDS = {kind.kind: kind for kind in (StartReplica, RecycleReplica, DrainReplica, TerminateReplica, RemoveReplica)}


class TermRow(SQLModel, table=True):
    """The newest term, in its only row."""

    __tablename__ = "term"
    id: int = Field(default=1, primary_key=True)
    term: int
    run: str = ""  # the `stoker up` that the memory belongs to


class PoolRow(SQLModel, table=True):
    """What is remembered of a pool."""

    __tablename__ = "pools"
    pool: str = Field(primary_key=True)
    desired: int
    next_ordinal: int
    start_failures: int
    last_start_failure_at: str | None
    cold_start_s: float | None = None
    last_recycle_at: str | None = None
    zero_since: str | None = None


class ReplicaRow(SQLModel, table=True):
    """What is remembered of a replica."""

    __tablename__ = "replicas"
    replica: str = Field(primary_key=True)
    pool: str
    state: str
    since: str
    created_at: str
    ready_at: str | None
    terminated_at: str | None
    why: str
    code: str
    retiring_since: str | None = None


class DecisionRow(SQLModel, table=True):
    """One line of the ledger."""

    __tablename__ = "decisions"
    id: int | None = Field(default=None, primary_key=True)
    at: str
    tick: int
    term: int
    kind: str
    pool: str = Field(index=True)
    replica: str | None
    current: int | None
    desired: int | None
    reasons: str
    outcome: str | None = None


class EvaluationRow(SQLModel, table=True):
    """One evaluation of a pool, as JSON; the other columns are there to find it."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("evaluations_by_pool_and_time", "pool", "at"),)
    id: int | None = Field(default=None, primary_key=True)
    at: str
    tick: int
    term: int
    pool: str
    changed: bool
    body: str


class EventRow(SQLModel, table=True):
    """One thing that happened."""

    __tablename__ = "events"
    id: int | None = Field(default=None, primary_key=True)
    at: str
    tick: int
    term: int
    event: str
    subject: str
    reason: str
    message: str
    numbers: str


def _iso(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def iso(at: datetime) -> str:
    """A time as it stands in the rows: texts compare as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def durable(pool: PoolMemory) -> PoolMemory:
    """What of a pool's memory becomes a row: what a new controller could not find out by watching."""
    return PoolMemory(
        pool.pool,
        pool.desired,
        pool.next_ordinal,
        pool.start_failures,
        pool.last_start_failure_at,
        pool.cold_start_s,
        pool.last_recycle_at,
        pool.zero_since,
    )


def pool_row(pool: PoolMemory) -> PoolRow:
    """A pool as a row."""
    failed_at = _iso(pool.last_start_failure_at)
    return PoolRow(
        pool=pool.pool,
        desired=pool.desired,
        next_ordinal=pool.next_ordinal,
        start_failures=pool.start_failures,
        last_start_failure_at=failed_at,
        cold_start_s=pool.cold_start_s,
        last_recycle_at=_iso(pool.last_recycle_at),
        zero_since=_iso(pool.zero_since),
    )


def read_pool(row: PoolRow) -> PoolMemory:
    """A row as a pool; what was watched is begun anew."""
    return PoolMemory(
        PoolName(row.pool),
        row.desired,
        row.next_ordinal,
        row.start_failures,
        _when(row.last_start_failure_at),
        row.cold_start_s,
        _when(row.last_recycle_at),
        _when(row.zero_since),
    )


def replica_row(known: ReplicaMemory) -> ReplicaRow:
    """A replica as a row."""
    return ReplicaRow(
        replica=known.replica,
        pool=known.pool,
        state=known.state.value,
        since=iso(known.since),
        created_at=iso(known.created_at),
        ready_at=_iso(known.ready_at),
        terminated_at=_iso(known.terminated_at),
        why=known.why,
        code=known.code,
        retiring_since=_iso(known.retiring_since),
    )


def read_replica(row: ReplicaRow) -> ReplicaMemory:
    """A row as a replica."""
    return ReplicaMemory(
        ReplicaId(row.replica),
        PoolName(row.pool),
        ReplicaState(row.state),
        datetime.fromisoformat(row.since),
        datetime.fromisoformat(row.created_at),
        _when(row.ready_at),
        _when(row.terminated_at),
        row.why,
        row.code,
        _when(row.retiring_since),
    )


def decision_row(decision: Decision, tick: int, term: Term, at: datetime) -> DecisionRow:
    """A decision as a row, its outcome still open."""
    reasons = [
        {"code": reason.code.value, "text": reason.text, "numbers": dict(reason.numbers)} for reason in decision.reasons
    ]
    scale = decision if isinstance(decision, ScalePool) else None
    return DecisionRow(
        at=iso(at),
        tick=tick,
        term=term,
        kind=decision.kind,
        pool=decision.pool,
        replica=None if isinstance(decision, ScalePool) else decision.replica,
        current=scale.current if scale else None,
        desired=scale.desired if scale else None,
        reasons=json.dumps(reasons),
    )


def read_decision(row: DecisionRow) -> Recorded:
    """A row as a decision with its outcome."""
    reasons = tuple(Reason(ReasonCode(step["code"]), step["text"], step["numbers"]) for step in json.loads(row.reasons))
    pool = PoolName(row.pool)
    decision: Decision
    if row.kind == ScalePool.kind:
        decision = ScalePool(pool, row.current or 0, row.desired or 0, reasons)
    else:
        decision = _KINDS[row.kind](pool, ReplicaId(row.replica or ""), reasons)
    at = datetime.fromisoformat(row.at)
    return Recorded(row.id or 0, at, row.tick, Term(row.term), decision, row.outcome)


def evaluation_row(evaluation: Evaluation, tick: int, term: Term, changed: bool) -> EvaluationRow:
    """An evaluation as a row."""
    body = evidence.dump(evaluation)
    return EvaluationRow(at=iso(evaluation.at), tick=tick, term=term, pool=evaluation.pool, changed=changed, body=body)


def read_evaluation(row: EvaluationRow) -> RecordedEvaluation:
    """A row as an evaluation."""
    return RecordedEvaluation(row.id or 0, row.tick, Term(row.term), row.changed, evidence.load(row.body))


def event_row(item: Event) -> EventRow:
    """An event as a row."""
    return EventRow(
        at=iso(item.at),
        tick=item.tick,
        term=item.term,
        event=item.event,
        subject=item.subject,
        reason=item.reason,
        message=item.message,
        numbers=json.dumps(dict(item.numbers)),
    )


def read_event(row: EventRow) -> Event:
    """A row as an event."""
    at, numbers = datetime.fromisoformat(row.at), json.loads(row.numbers)
    return Event(at, row.event, row.subject, row.reason, row.message, numbers, row.tick, row.term)
