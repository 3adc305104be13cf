"""People as rows, and rows as people."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from controller.adapters.database.people_tables import AuditRow, InvitationRow, SessionRow, TokenRow, UserRow
from controller.adapters.database.rows import iso
from controller.core.people import ApiToken, AuditEntry, Invitation, Role, Session, User


def user_row(user: User) -> UserRow:
    """As it is kept."""
    return UserRow(**_texts(asdict(user)))


def read_user(row: UserRow) -> User:
    """As it was."""
    return User(
        row.name, Role(row.role), _time(row.created_at), row.password, row.source, _time_or_none(row.logged_in_at)
    )


def session_row(session: Session) -> SessionRow:
    """As it is kept."""
    values = _texts(asdict(session))
    return SessionRow(name=values.pop("user"), **values)


def read_session(row: SessionRow) -> Session:
    """As it was."""
    return Session(row.digest, row.name, _time(row.created_at), _time(row.seen_at), row.address, row.agent)


def token_row(token: ApiToken) -> TokenRow:
    """As it is kept."""
    return TokenRow(**_texts(asdict(token)))


def read_token(row: TokenRow) -> ApiToken:
    """As it was."""
    return ApiToken(
        id=row.id,
        name=row.name,
        owner=row.owner,
        role=Role(row.role),
        prefix=row.prefix,
        digest=row.digest,
        created_at=_time(row.created_at),
        expires_at=_time_or_none(row.expires_at),
        used_at=_time_or_none(row.used_at),
    )


def invitation_row(invitation: Invitation) -> InvitationRow:
    """As it is kept."""
    return InvitationRow(**_texts(asdict(invitation)))


def read_invitation(row: InvitationRow) -> Invitation:
    """As it was."""
    return Invitation(row.digest, row.name, Role(row.role), _time(row.expires_at), row.by)


def audit_row(entry: AuditEntry) -> AuditRow:
    """As it is kept; the database numbers it."""
    return AuditRow(**(_texts(asdict(entry)) | {"id": None}))


def read_audit(row: AuditRow) -> AuditEntry:
    """As it was."""
    return AuditEntry(
        at=_time(row.at),
        name=row.name,
        role=row.role,
        how=row.how,
        address=row.address,
        action=row.action,
        subject=row.subject,
        why=row.why,
        outcome=row.outcome,
        refused=row.refused,
        id=row.id or 0,
    )


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    """Times as they are kept; the rest as it is."""
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else _time(text)
