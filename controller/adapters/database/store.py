"""SqlStore: the decision ledger and the memory.

Each write checks the term in its own transaction. The memory is kept beside the database, because this process is
its only writer as long as its term is the newest; a tick that changes nothing writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlmodel import Session, SQLModel, col, create_engine, select

from controller.adapters.database.tables import (
    DecisionRow,
    EvaluationRow,
    EventRow,
    PoolRow,
    ReplicaRow,
    TermRow,
    decision_row,
    durable,
    evaluation_row,
    event_row,
    iso,
    pool_row,
    read_decision,
    read_evaluation,
    read_event,
    read_pool,
    read_replica,
    replica_row,
)
from controller.core.decision import Memory, Plan
from controller.core.errors import LostLease
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import PoolMemory, PoolName, ReplicaId, ReplicaMemory, Term
from controller.ports import Recorded, RecordedEvaluation

_KEEP = 20_000  # rows of the ledger, and of the events
_KEEP_EVALUATIONS = 10_000  # of a few kilobytes each
_PRUNE_EVERY = 500
_SCHEMA = 2  # grows with every change of the tables


class SqlStore:
    """The decision ledger and the memory.

    A file that is no database, or one of another version, is put aside (`put_aside`) and a new one begun: the
    containers are the truth about what exists.
    """

    def __init__(self, path: Path) -> None:
        self.put_aside: Path | None = None
        try:
            self._engine = _open(path)
        except OperationalError:
            raise  # no space, no permission: not the file's contents
        except DatabaseError:
            self.put_aside = path.with_suffix(".old")
            _put_aside(path, self.put_aside)
            self._engine = _open(path)
        # Readers have connections of their own: they neither wait for a tick's write nor keep it waiting.
        self._readers = _connect(path, "BEGIN", "PRAGMA query_only=ON")
        self._memory: Memory | None = None

    def take_term(self) -> Term:
        """The next term; every older one is fenced off from now on."""
        with Session(self._engine) as session:
            row = session.get(TermRow, 1) or TermRow(term=0)
            row.term += 1
            term = row.term
            session.add(row)
            session.commit()
        self._memory = None
        return Term(term)

    def begin(self, run: str) -> None:
        """Forget what an earlier `stoker up` remembered: its replicas are gone, and its load may be, too.

        The same `run` again (a controller that was restarted) forgets nothing. Replicas are numbered on, so that a
        name means one replica in the whole ledger.
        """
        with Session(self._engine) as session:
            row = session.get(TermRow, 1) or TermRow(term=0)
            if row.run != run:
                row.run = run
                session.add(row)
                session.exec(delete(ReplicaRow))
                for pool in session.exec(select(PoolRow)):
                    pool.desired, pool.start_failures, pool.last_start_failure_at = 0, 0, None
                    pool.last_recycle_at, pool.zero_since = None, None
                    session.add(pool)
                session.commit()
        self._memory = None

    def load(self) -> Memory:
        """See `StateStore.load`."""
        if self._memory is None:
            with Session(self._engine) as session:
                pools = {PoolName(row.pool): read_pool(row) for row in session.exec(select(PoolRow))}
                replicas = {ReplicaId(row.replica): read_replica(row) for row in session.exec(select(ReplicaRow))}
            self._memory = Memory(pools, replicas)
        return self._memory

    def save(
        self, plan: Plan, *, tick: int, term: Term, at: datetime, evaluations: Sequence[Evaluation] = ()
    ) -> tuple[int, ...]:
        """See `StateStore.save`."""
        before = self.load()
        rows = [decision_row(decision, tick, term, at) for decision in plan.decisions]
        moved = {decision.pool for decision in plan.decisions}
        kept = [evaluation_row(evaluation, tick, term, evaluation.pool in moved) for evaluation in evaluations]
        with Session(self._engine) as session:
            _fence(session, term)
            if not rows and not kept and _durable(plan.memory) == _durable(before):
                self._memory = plan.memory
                return ()
            session.add_all([*rows, *kept])
            session.flush()
            ids = tuple(row.id for row in rows if row.id is not None)
            _write_memory(session, before, plan.memory)
            _prune(session, DecisionRow, ids, _KEEP)
            _prune(session, EvaluationRow, [row.id for row in kept if row.id is not None], _KEEP_EVALUATIONS)
            session.commit()
        self._memory = plan.memory
        return ids

    def finish(self, outcomes: Mapping[int, str], memory: Memory, *, term: Term) -> None:
        """See `StateStore.finish`."""
        before = self.load()
        with Session(self._engine) as session:
            _fence(session, term)
            for number, outcome in outcomes.items():
                row = session.get(DecisionRow, number)
                if row is not None:
                    row.outcome = outcome
                    session.add(row)
            _write_memory(session, before, memory)
            session.commit()
        self._memory = memory

    def append(self, events: Sequence[Event]) -> None:
        """See `StateStore.append`."""
        rows = [event_row(item) for item in events]
        with Session(self._engine) as session:
            session.add_all(rows)
            session.flush()
            _prune(session, EventRow, [row.id for row in rows if row.id is not None], _KEEP)
            session.commit()

    def decisions(self, *, limit: int, pool: PoolName | None = None) -> tuple[Recorded, ...]:
        """See `StateStore.decisions`."""
        query = select(DecisionRow).order_by(col(DecisionRow.id).desc()).limit(limit)
        if pool is not None:
            query = query.where(DecisionRow.pool == pool)
        with Session(self._readers) as session:
            return tuple(read_decision(row) for row in session.exec(query))

    def evaluations(
        self, *, pool: PoolName, limit: int, until: datetime | None = None, changed: bool = False
    ) -> tuple[RecordedEvaluation, ...]:
        """See `StateStore.evaluations`."""
        query = select(EvaluationRow).where(EvaluationRow.pool == pool)
        if until is not None:
            query = query.where(col(EvaluationRow.at) <= iso(until))
        if changed:
            query = query.where(col(EvaluationRow.changed))
        query = query.order_by(col(EvaluationRow.at).desc(), col(EvaluationRow.id).desc()).limit(limit)
        with Session(self._readers) as session:
            return tuple(read_evaluation(row) for row in session.exec(query))

    def events(self, *, limit: int) -> tuple[Event, ...]:
        """See `StateStore.events`."""
        query = select(EventRow).order_by(col(EventRow.id).desc()).limit(limit)
        with Session(self._readers) as session:
            return tuple(read_event(row) for row in session.exec(query))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()
        self._readers.dispose()


def _put_aside(path: Path, aside: Path) -> None:
    """With its log: the next database must not replay it."""
    for tail in ("", "-wal", "-shm"):
        source = path.with_name(path.name + tail)
        if source.exists():
            os.replace(source, aside.with_name(aside.name + tail))


def _connect(path: Path, begin: str, setting: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        # WAL: a reader sees the state before a write and does not wait for it.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(setting)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _open(path: Path) -> Engine:
    """The writer's connections. The term is read and the rows are written under one lock (IMMEDIATE), so that nobody
    takes the lead in between; NORMAL loses no decision when the process dies, and costs no fsync for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = _connect(path, "BEGIN IMMEDIATE", "PRAGMA synchronous=NORMAL")
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
                raise DatabaseError("its pages are damaged", None, ValueError())
            tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
            if tables and found != _SCHEMA:
                raise DatabaseError(f"version {found}, and this is {_SCHEMA}", None, ValueError())
            connection.exec_driver_sql(f"PRAGMA user_version = {_SCHEMA}")
            connection.commit()
        SQLModel.metadata.create_all(engine)
    except DatabaseError:
        engine.dispose()
        raise
    return engine


def _fence(session: Session, term: Term) -> None:
    row = session.get(TermRow, 1)
    if row is None or row.term != term:
        raise LostLease(f"term {term} is over, {row.term if row else 'none'} is the newest: a newer controller leads")


def _durable(memory: Memory) -> tuple[dict[PoolName, PoolMemory], dict[ReplicaId, ReplicaMemory]]:
    """What is worth a write: what was watched is rebuilt by watching, on purpose."""
    return {name: durable(pool) for name, pool in memory.pools.items()}, dict(memory.replicas)


def _write_memory(session: Session, before: Memory, after: Memory) -> None:
    for name in set(before.pools) - set(after.pools):
        session.exec(delete(PoolRow).where(col(PoolRow.pool) == name))
    for replica in set(before.replicas) - set(after.replicas):
        session.exec(delete(ReplicaRow).where(col(ReplicaRow.replica) == replica))
    for name, pool in after.pools.items():
        if name not in before.pools or durable(before.pools[name]) != durable(pool):
            session.merge(pool_row(pool))
    for replica, known in after.replicas.items():
        if before.replicas.get(replica) != known:
            session.merge(replica_row(known))


_Ledger = type[DecisionRow] | type[EventRow] | type[EvaluationRow]


def _prune(session: Session, table: _Ledger, ids: Sequence[int], keep: int) -> None:
    if any(number % _PRUNE_EVERY == 0 for number in ids):
        session.exec(delete(table).where(col(table.id) <= max(ids) - keep))
