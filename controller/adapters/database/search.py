"""The ledger, searched: by time, and so that the newest that fit are found first."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, literal, or_, tuple_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from controller.adapters.database.rows import iso, read_decision, read_event
from controller.adapters.database.tables import DecisionRow, EventRow
from controller.ports import DecisionQuery, EventQuery, Recorded, RecordedEvent

_Row = TypeVar("_Row", DecisionRow, EventRow)


def find_decisions(session: Session, query: DecisionQuery) -> tuple[Recorded, ...]:
    """See `StateStore.find_decisions`."""
    row, found = DecisionRow, _between(DecisionRow, query)
    if query.pool is not None:
        found = found.where(col(row.pool) == query.pool)
    if query.kinds:
        found = found.where(col(row.kind).in_(query.kinds))
    if query.text:
        as_stored = json.dumps(query.text)[1:-1]  # the reasons are JSON
        has = _has(session)
        names = [has(column, query.text) for column in (row.pool, row.replica, row.node, row.outcome)]
        found = found.where(or_(has(row.reasons, as_stored), *names))
    return tuple(read_decision(item) for item in session.exec(found))


def find_events(session: Session, query: EventQuery) -> tuple[RecordedEvent, ...]:
    """See `StateStore.find_events`."""
    row, found = EventRow, _between(EventRow, query)
    if query.pool is not None:
        found = found.where(_of_pool(query.pool))
    if query.subject:
        found = found.where(col(row.subject).startswith(query.subject, autoescape=True))
    if query.kinds:
        found = found.where(col(row.event).in_(query.kinds))
    if query.text:
        has = _has(session)
        found = found.where(or_(*(has(column, query.text) for column in (row.subject, row.reason, row.message))))
    return tuple(RecordedEvent(item.id or 0, read_event(item)) for item in session.exec(found))


def _between(row: type[_Row], query: DecisionQuery | EventQuery) -> SelectOfScalar[_Row]:
    at, number = col(row.at), col(row.id)
    found = select(row).order_by(at.desc(), number.desc()).limit(query.limit)
    if query.since is not None:
        found = found.where(at >= iso(query.since))
    if query.until is not None:
        found = found.where(at <= iso(query.until))
    if query.id is not None:
        found = found.where(number == query.id)
    if query.before_id is not None:
        its = select(row.at).where(number == query.before_id).scalar_subquery()
        found = found.where(tuple_(at, number) < tuple_(its, literal(query.before_id)))
    return found


def _of_pool(pool: str) -> ColumnElement[bool]:
    """Its replicas are called `POOL-NUMBER`, and another pool may be called `POOL-something`."""
    subject, mine = col(EventRow.subject), f"replica/{pool}-"
    others = subject.like(f"{mine}%-%")  # the name of a pool has no sign that means something here
    return or_(subject == f"pool/{pool}", subject.startswith(mine, autoescape=True) & ~others)


def _has(session: Session) -> Callable[[Any, str], ColumnElement[bool]]:
    """Whether a column has a text somewhere. SQLite's LIKE takes small and capital letters for the same, and is several
    times as fast without `lower`."""
    if session.get_bind().dialect.name == "sqlite":
        return lambda column, text: col(column).contains(text, autoescape=True)
    return lambda column, text: col(column).icontains(text, autoescape=True)
