"""SqlStore: the decision ledger and the memory, on SQLite or on PostgreSQL.

Each write checks the term in its own transaction. The memory is kept beside the database, because this process is
its only writer as long as its term is the newest; a tick that changes nothing writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlmodel import Session, col, delete, func, insert, select, update

from controller.adapters.database import search
from controller.adapters.database.connections import Connections
from controller.adapters.database.memory import (
    differs,
    drop,
    fence,
    forget,
    lead_row,
    read_memory,
    specs_in_use,
    write_memory,
)
from controller.adapters.database.postgres import open_postgres
from controller.adapters.database.rows import (
    decision_row,
    evaluation_row,
    event_values,
    iso,
    order_row,
    read_decision,
    read_evaluation,
    read_event,
    read_order,
    read_words,
    words_row,
)
from controller.adapters.database.sqlite import open_sqlite
from controller.adapters.database.tables import (
    DecisionRow,
    EvaluationRow,
    EventRow,
    LastWordsRow,
    OrderRow,
    SpecRow,
)
from controller.core.decision import Memory, Plan
from controller.core.errors import LostLease
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import Order, PoolName, Term
from controller.ports import DecisionQuery, EventQuery, LastWords, Recorded, RecordedEvaluation, RecordedEvent

_KEEP = 100_000  # rows of the ledger, and of the events: a busy month, and still searched within milliseconds
_KEEP_EVALUATIONS = 10_000  # of a few kilobytes each
_PRUNE_EVERY = 500
_KEEP_SPECS = 20  # of a pool
_KEEP_WORDS = 200


class SqlStore:
    """See `StateStore`. `where` is a file, or `postgresql://USER:PASSWORD@HOST:PORT/NAME`.

    A file that cannot be used is put aside (`put_aside`) and a new one begun; see `open_sqlite` and `open_postgres` for
    what is raised. Every method raises `DatabaseUnavailable` where the database gives no answer in time. A store
    through which a term was taken writes under that term only: `LostLease` where it is not the newest.
    """

    def __init__(self, where: Path | str) -> None:
        self._connections: Connections = open_sqlite(where) if isinstance(where, Path) else open_postgres(where)
        self.put_aside = self._connections.put_aside
        self._term: Term | None = None
        self._memory: Memory | None = None
        self._sure = True  # that the rows say so; a commit whose answer was lost may have happened

    def take_term(self) -> Term:
        """The next term; every older one is fenced off from now on."""
        with self.writing(None) as session:
            lead = lead_row(session)
            lead.term += 1
            term = Term(lead.term)
        self.lead(term)
        return term

    def lead(self, term: Term) -> None:
        """Write under this term from now on, and read again what is remembered: others wrote it."""
        self._term, self._memory, self._sure = term, None, True

    def begin(self, run: str) -> None:
        """Forget what an earlier `stoker up` remembered: its replicas are gone, and its load may be, too.

        The same `run` again (a controller that was restarted) forgets nothing. Replicas are numbered on, so that a
        name means one replica in the whole ledger.
        """
        with self.writing(self._term) as session:
            lead = lead_row(session)
            if lead.run != run:
                lead.run = run
                session.flush()
                forget(session)
        self._memory, self._sure = None, True

    def check(self, term: Term) -> None:
        """Raises `LostLease` where this term is not the newest. Writes nothing."""
        with self.reading() as session:
            fence(session, term, lock=False)

    @contextmanager
    def writing(self, term: Term | None) -> Iterator[Session]:
        """One transaction under `term` (None: whatever the term), committed at the end. For the leases."""
        with self._connections.asked(), Session(self._connections.writers) as session:
            fence(session, term)
            yield session
            session.commit()

    @contextmanager
    def leading(self) -> Iterator[Session]:
        """One transaction under the term that was taken through this store. For what else is kept here."""
        with self.writing(self._term) as session:
            yield session

    def load(self) -> Memory:
        """See `StateStore.load`. Asks the database only where this process has not read or written it as the leader."""
        if self._memory is None or self._term is None:
            with self.writing(None) as session:  # behind whoever writes now
                self._memory = read_memory(session)
        return self._memory

    def save(
        self, plan: Plan, *, tick: int, term: Term, at: datetime, evaluations: Sequence[Evaluation] = ()
    ) -> tuple[int, ...]:
        """See `StateStore.save`."""
        rows = [decision_row(decision, tick, term, at) for decision in plan.decisions]
        moved = {decision.pool for decision in plan.decisions}
        kept = [evaluation_row(evaluation, tick, term, evaluation.pool in moved) for evaluation in evaluations]
        if self._sure and not (rows or kept or plan.fulfilled or differs(self.load(), plan.memory)):
            self.check(term)
            self._memory = plan.memory
            return ()
        with self._changing(plan.memory, term) as session:
            session.add_all([*rows, *kept])
            session.flush()
            ids = tuple(row.id for row in rows if row.id is not None)
            drop(session, plan.fulfilled, whenever=False)
            _prune(session, DecisionRow, max(ids, default=0), len(rows), _KEEP)
            newest = max((row.id or 0 for row in kept), default=0)
            _prune(session, EvaluationRow, newest, len(kept), _KEEP_EVALUATIONS)
        return ids

    def finish(self, outcomes: Mapping[int, str], memory: Memory, *, term: Term) -> None:
        """See `StateStore.finish`."""
        alike: dict[str, list[int]] = defaultdict(list)
        for number, outcome in outcomes.items():
            alike[outcome].append(number)
        with self._changing(memory, term) as session:
            for outcome, numbers in alike.items():
                session.exec(update(DecisionRow).where(col(DecisionRow.id).in_(numbers)).values(outcome=outcome))

    @contextmanager
    def _changing(self, after: Memory, term: Term) -> Iterator[Session]:
        """A transaction that also writes the memory. Until it has ended well it is open which one the rows hold."""
        before, sure = self.load(), self._sure
        self._sure = False
        try:
            with self.writing(term) as session:
                write_memory(session, before if sure else read_memory(session), after)
                yield session
        except LostLease:
            self._memory, self._sure = None, True  # nothing was written, and the other one's counts
            raise
        self._memory, self._sure = after, True

    def append(self, events: Sequence[Event]) -> None:
        """See `StateStore.append`."""
        if not events:
            return
        with self.writing(self._term) as session:
            session.execute(insert(EventRow), [event_values(item) for item in events])
            newest = session.exec(select(func.max(EventRow.id))).one()
            _prune(session, EventRow, newest, len(events), _KEEP)

    def orders(self) -> tuple[Order, ...]:
        """See `StateStore.orders`."""
        query = select(OrderRow).order_by(col(OrderRow.at), col(OrderRow.id))
        with self.reading() as session:
            return tuple(read_order(row) for row in session.exec(query))

    def give_order(self, order: Order) -> None:
        """See `StateStore.give_order`."""
        with self.writing(self._term) as session:
            drop(session, (order,), whenever=True)
            session.add(order_row(order))

    def drop_orders(self, orders: Sequence[Order]) -> None:
        """See `StateStore.drop_orders`."""
        with self.writing(self._term) as session:
            drop(session, orders, whenever=True)

    def keep_spec(self, pool: PoolName, spec_hash: str, body: str) -> None:
        """See `StateStore.keep_spec`. Older ones that replicas have, or had when all went well, are kept as well."""
        mine = col(SpecRow.pool) == pool
        newest = select(SpecRow).where(mine).order_by(col(SpecRow.id).desc())
        with self.reading() as session:
            row = session.exec(newest.limit(1)).first()
            if row is not None and (row.spec_hash, row.body) == (spec_hash, body):
                return
        with self.writing(self._term) as session:
            session.exec(delete(SpecRow).where(mine, col(SpecRow.spec_hash) == spec_hash))
            session.add(SpecRow(pool=pool, spec_hash=spec_hash, body=body))
            session.flush()
            needed = specs_in_use(read_memory(session), pool)
            for old in session.exec(newest.offset(_KEEP_SPECS)).all():
                if old.spec_hash not in needed:
                    session.delete(old)

    def spec(self, pool: PoolName, spec_hash: str) -> str | None:
        """See `StateStore.spec`."""
        query = select(SpecRow.body).where(col(SpecRow.pool) == pool, col(SpecRow.spec_hash) == spec_hash)
        with self.reading() as session:
            return session.exec(query).first()

    def keep_last_words(self, words: LastWords) -> None:
        """See `StateStore.keep_last_words`."""
        newest = select(LastWordsRow.id).order_by(col(LastWordsRow.id).desc()).limit(_KEEP_WORDS)
        with self.writing(self._term) as session:
            session.add(words_row(words))
            session.flush()
            session.exec(delete(LastWordsRow).where(col(LastWordsRow.id).not_in(newest)))

    def last_words(self, *, limit: int, pool: PoolName | None = None) -> tuple[LastWords, ...]:
        """See `StateStore.last_words`."""
        query = select(LastWordsRow).order_by(col(LastWordsRow.id).desc()).limit(limit)
        if pool is not None:
            query = query.where(LastWordsRow.pool == pool)
        with self.reading() as session:
            return tuple(read_words(row) for row in session.exec(query))

    def decisions(self, *, limit: int, pool: PoolName | None = None) -> tuple[Recorded, ...]:
        """See `StateStore.decisions`."""
        query = select(DecisionRow).order_by(col(DecisionRow.id).desc()).limit(limit)
        if pool is not None:
            query = query.where(DecisionRow.pool == pool)
        with self.reading() as session:
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
        with self.reading() as session:
            return tuple(read_evaluation(row) for row in session.exec(query))

    def events(self, *, limit: int) -> tuple[Event, ...]:
        """See `StateStore.events`."""
        query = select(EventRow).order_by(col(EventRow.id).desc()).limit(limit)
        with self.reading() as session:
            return tuple(read_event(row) for row in session.exec(query))

    def find_decisions(self, query: DecisionQuery) -> tuple[Recorded, ...]:
        """See `StateStore.find_decisions`."""
        with self._connections.searching(query.text), self.reading() as session:
            return search.find_decisions(session, query)

    def find_events(self, query: EventQuery) -> tuple[RecordedEvent, ...]:
        """See `StateStore.find_events`."""
        with self._connections.searching(query.text), self.reading() as session:
            return search.find_events(session, query)

    def close(self) -> None:
        """Give the connections back."""
        self._connections.close()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Questions, of one statement each. For what else is kept here."""
        with self._connections.asked(), Session(self._connections.readers) as session:
            yield session


_Ledger = type[DecisionRow] | type[EventRow] | type[EvaluationRow]


def _prune(session: Session, table: _Ledger, newest: int | None, added: int, keep: int) -> None:
    """Now and then: when the ids of what was added went over a multiple of `_PRUNE_EVERY`."""
    if newest is not None and newest % _PRUNE_EVERY < added:
        session.exec(delete(table).where(col(table.id) <= newest - keep))
