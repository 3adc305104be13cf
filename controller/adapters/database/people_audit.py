"""The audit log as it is asked, and how it is kept bounded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Session as SqlSession
from sqlmodel import and_, col, delete, func, literal, not_, or_, select

from controller.adapters.database.people_tables import AuditRow
from controller.adapters.database.rows import iso
from controller.core.audit import OWN_ACTIONS, OWN_TOKEN, Kept
from controller.core.people import AuditFilter


def conditions(wanted: AuditFilter) -> list[Any]:
    """Of the entries that are wanted."""
    said = [col(AuditRow.subject), col(AuditRow.why), col(AuditRow.outcome)]
    found: list[Any] = []
    if wanted.name is not None:
        found.append(col(AuditRow.name) == wanted.name)
    if wanted.action is not None:
        found.append(col(AuditRow.action) == wanted.action)
    if wanted.text is not None:
        text = wanted.text.lower().replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
        found.append(or_(*(func.lower(column).contains(text, autoescape=True) for column in said)))
    if wanted.since is not None:
        found.append(col(AuditRow.at) >= iso(wanted.since))
    if wanted.until is not None:
        found.append(col(AuditRow.at) <= iso(wanted.until))
    if wanted.before is not None:
        found.append(col(AuditRow.id) < wanted.before)
    if wanted.refused is not None:
        found.append(col(AuditRow.refused) == wanted.refused)
    return found


def prune(session: SqlSession, now: datetime, kept: Kept) -> None:
    """Now and then."""
    session.exec(delete(AuditRow).where(col(AuditRow.at) < iso(now - kept.longest)))
    refused, own = col(AuditRow.refused).is_(True), _own()
    _keep_of_each(session, own, kept.own_of_one)
    kinds = ((refused, kept.refused), (own, kept.own), (and_(not_(refused), not_(own)), kept.done))
    for kind, most in kinds:
        oldest = select(AuditRow.id).where(kind).order_by(col(AuditRow.id).desc()).offset(most - 1).limit(1)
        last = session.exec(oldest).first()
        if last is not None:
            session.exec(delete(AuditRow).where(kind, col(AuditRow.id) < last))


def _own() -> Any:
    """See `is_own`."""
    subject, name = col(AuditRow.subject), col(AuditRow.name)
    about = or_(subject == literal("user/").concat(name), subject.startswith(OWN_TOKEN))
    return and_(col(AuditRow.refused).is_(False), col(AuditRow.action).in_(OWN_ACTIONS), about)


def _keep_of_each(session: SqlSession, kind: Any, most: int) -> None:
    """So many of each person."""
    nth = func.row_number().over(partition_by=col(AuditRow.name), order_by=col(AuditRow.id).desc())
    counted = select(AuditRow.id, nth.label("nth")).where(kind).subquery()
    session.exec(delete(AuditRow).where(col(AuditRow.id).in_(select(counted.c.id).where(counted.c.nth > most))))
