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
_ESCAPE = "/"
_SPECIAL = ("%", "_", _ESCAPE)


def find_decisions(session: Session, query: DecisionQuery) -> tuple[Recorded, ...]:
    """See `StateStore.find_decisions`."""
    row, found = DecisionRow, _between(DecisionRow, query)
    if query.pool is not None:
        found = found.where(col(row.pool) == query.pool)
    if query.kinds:
        found = found.where(col(row.kind).in_(query.kinds))
    if query.text:
        has, text = _has(session), pattern(query.text)
        names = [has(column, text) for column in (row.pool, row.replica, row.node, row.outcome)]
        found = found.where(or_(has(row.reasons, pattern(query.text, _in_json)), *names))
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
        has, text = _has(session), pattern(query.text)
        found = found.where(or_(*(has(column, text) for column in (row.subject, row.reason, row.message))))
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
    """Whether a column fits a pattern. SQLite's LIKE takes small and capital letters for the same, and is several times
    as fast without `lower`."""
    if session.get_bind().dialect.name == "sqlite":
        return lambda column, text: col(column).like(text, escape=_ESCAPE)
    return lambda column, text: col(column).ilike(text, escape=_ESCAPE)


def pattern(text: str, spelt: Callable[[str], str] = str) -> str:
    """For LIKE: what has that text somewhere, each sign as `spelt` stores it.

    A letter that only Unicode knows another case of may be any sign: in JSON it is a number, and SQLite knows the cases
    of ASCII alone. So this finds a little too much.
    """
    signs = []
    for sign in text.replace("\0", "\N{REPLACEMENT CHARACTER}"):  # as `Words` stores it; to SQLite it is the end
        stored = spelt(sign)
        if not sign.isascii() and sign.lower() != sign.upper():
            signs.append("_" * len(stored))
        else:
            signs += [f"{_ESCAPE}{one}" if one in _SPECIAL else one for one in stored]
    return f"%{''.join(signs)}%"


def _in_json(sign: str) -> str:
    """The reasons are JSON, in ASCII."""
    return json.dumps(sign)[1:-1]
