"""PeopleStore on the tables of a SqlStore, and under its term."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session as SqlSession
from sqlmodel import col, delete, func, or_, select, update

from controller.adapters.database.people_audit import conditions, prune
from controller.adapters.database.people_rows import (
    audit_row,
    invitation_row,
    read_audit,
    read_invitation,
    read_session,
    read_token,
    read_user,
    session_row,
    token_row,
    user_row,
)
from controller.adapters.database.people_tables import AuditRow, InvitationRow, SessionRow, TokenRow, UserRow
from controller.adapters.database.rows import iso
from controller.adapters.database.store import SqlStore
from controller.core.audit import KEPT, Kept
from controller.core.people import (
    IDLE,
    INVITED_FOR,
    LONGEST,
    STATE_DIRECTORY,
    ApiToken,
    AuditEntry,
    AuditFilter,
    Invitation,
    NotAdmin,
    Role,
    Session,
    User,
    joined,
    merged,
    require_admin,
    still_admin,
)


class SqlPeople:
    """See `PeopleStore`."""

    def __init__(self, store: SqlStore, kept: Kept = KEPT) -> None:
        self._store, self._kept = store, kept

    def users(self) -> tuple[User, ...]:
        """See `PeopleStore.users`."""
        with self._store.reading() as session:
            return tuple(read_user(row) for row in session.exec(select(UserRow).order_by(col(UserRow.name))))

    def user(self, name: str) -> User | None:
        """See `PeopleStore.user`."""
        with self._store.reading() as session:
            return _known(session, name)

    def save_user(self, user: User) -> None:
        """See `PeopleStore.save_user`."""
        with self._store.leading() as session:
            _save(session, user)

    def take_in(self, found: User) -> User:
        """See `PeopleStore.take_in`. The lead is locked meanwhile: nobody else takes the name in between."""
        with self._store.leading() as session:
            known = _known(session, found.name)
            user = merged(found, known)
            if known is not None and known.role is not user.role:
                require_admin(user.name, known.role, user.role, _admins(session, but=user.name))
                session.exec(delete(SessionRow).where(*_theirs(user.name)))
            _save(session, user)
            return user

    def put_out(self, name: str, source: str) -> None:
        """See `PeopleStore.put_out`."""
        with self._store.leading() as session:
            known = _known(session, name)
            if known is not None and known.source == source:
                session.exec(delete(SessionRow).where(*_theirs(name)))
                session.exec(delete(TokenRow).where(col(TokenRow.owner) == name))
                session.exec(delete(InvitationRow).where(col(InvitationRow.by) == name))

    def change_user(
        self,
        name: str,
        change: Callable[[User], User],
        *,
        but: str | None = None,
        ends: bool = True,
        by: str | None = None,
    ) -> User | None:
        """See `PeopleStore.change_user`. The lead is locked meanwhile: nobody else writes in between."""
        with self._store.leading() as session:
            before = _known(session, name)
            _require_still_admin(session, by)
            if before is None:
                return None
            user = change(before)
            require_admin(name, before.role, user.role, _admins(session, but=name))
            _save(session, user)
            if ends:
                session.exec(delete(SessionRow).where(*_theirs(name, but=but)))
            return user

    def remove_user(self, name: str, *, by: str | None = None) -> None:
        """See `PeopleStore.remove_user`."""
        with self._store.leading() as session:
            known = _known(session, name)
            _require_still_admin(session, by)
            if known is not None:
                require_admin(name, known.role, None, _admins(session, but=name))
            session.exec(delete(UserRow).where(col(UserRow.name) == name))
            session.exec(delete(SessionRow).where(col(SessionRow.name) == name))
            session.exec(delete(TokenRow).where(col(TokenRow.owner) == name))
            session.exec(delete(InvitationRow).where(or_(InvitationRow.name == name, InvitationRow.by == name)))

    def invite(self, invitation: Invitation) -> bool:
        """See `PeopleStore.invite`."""
        over = col(InvitationRow.expires_at) <= iso(invitation.expires_at - INVITED_FOR)
        with self._store.leading() as session:
            if not still_admin(invitation.by, _known(session, invitation.by)):
                return False
            session.exec(delete(InvitationRow).where(or_(over, col(InvitationRow.name) == invitation.name)))
            session.add(invitation_row(invitation))
            return True

    def invitation(self, digest: str) -> Invitation | None:
        """See `PeopleStore.invitation`."""
        with self._store.reading() as session:
            row = session.get(InvitationRow, digest)
            return None if row is None else read_invitation(row)

    def invitations(self) -> tuple[Invitation, ...]:
        """See `PeopleStore.invitations`."""
        with self._store.reading() as session:
            found = session.exec(select(InvitationRow).order_by(col(InvitationRow.name)))
            return tuple(read_invitation(row) for row in found)

    def withdraw(self, name: str) -> bool:
        """See `PeopleStore.withdraw`."""
        with self._store.leading() as session:
            return bool(session.exec(delete(InvitationRow).where(col(InvitationRow.name) == name)).rowcount)

    def accept(self, digest: str, password: str, at: datetime) -> User | None:
        """See `PeopleStore.accept`. The lead is locked meanwhile: nobody else takes it in between."""
        with self._store.leading() as session:
            row = session.get(InvitationRow, digest)
            if row is None:
                return None
            user = joined(read_invitation(row), _known(session, row.name), password, at)
            session.delete(row)
            if user is None:
                return None
            session.exec(delete(SessionRow).where(col(SessionRow.name) == user.name))
            session.merge(user_row(user))
            return user

    def start_session(self, session: Session, password: str) -> bool:
        """See `PeopleStore.start_session`."""
        idle = col(SessionRow.seen_at) <= iso(session.created_at - IDLE)
        old = col(SessionRow.created_at) <= iso(session.created_at - LONGEST)
        mine = col(UserRow.name) == session.user
        with self._store.leading() as transaction:
            user = transaction.get(UserRow, session.user)
            if user is None or user.password != password:
                return False
            transaction.exec(delete(SessionRow).where(or_(idle, old)))
            transaction.add(session_row(session))
            transaction.exec(update(UserRow).where(mine).values(logged_in_at=iso(session.created_at)))
            return True

    def session(self, digest: str) -> tuple[Session, User] | None:
        """See `PeopleStore.session`."""
        query = select(SessionRow, UserRow).where(SessionRow.digest == digest, SessionRow.name == UserRow.name)
        with self._store.reading() as session:
            found = session.exec(query).first()
            return None if found is None else (read_session(found[0]), read_user(found[1]))

    def sessions(self, user: str) -> tuple[Session, ...]:
        """See `PeopleStore.sessions`."""
        query = select(SessionRow).where(SessionRow.name == user).order_by(col(SessionRow.created_at).desc())
        with self._store.reading() as session:
            return tuple(read_session(row) for row in session.exec(query))

    def seen(self, digest: str, at: datetime) -> None:
        """See `PeopleStore.seen`."""
        with self._store.leading() as session:
            session.exec(update(SessionRow).where(col(SessionRow.digest) == digest).values(seen_at=iso(at)))

    def end_sessions(self, user: str, *, only: str | None = None, but: str | None = None) -> int:
        """See `PeopleStore.end_sessions`."""
        with self._store.leading() as session:
            return int(session.exec(delete(SessionRow).where(*_theirs(user, only=only, but=but))).rowcount)

    def add_token(self, token: ApiToken) -> bool:
        """See `PeopleStore.add_token`."""
        with self._store.leading() as session:
            if token.owner != STATE_DIRECTORY and session.get(UserRow, token.owner) is None:
                return False
            session.add(token_row(token))
            return True

    def token(self, digest: str) -> tuple[ApiToken, Role | None] | None:
        """See `PeopleStore.token`."""
        owner = col(UserRow.name) == col(TokenRow.owner)
        query = select(TokenRow, UserRow).join(UserRow, owner, isouter=True).where(TokenRow.digest == digest)
        with self._store.reading() as session:
            found: Any = session.exec(query).first()
            if found is None:
                return None
            row, user = found
            return read_token(row), None if user is None else Role(user.role)

    def tokens(self, owner: str | None = None) -> tuple[ApiToken, ...]:
        """See `PeopleStore.tokens`."""
        query = select(TokenRow).order_by(col(TokenRow.created_at).desc(), col(TokenRow.id).desc())
        if owner is not None:
            query = query.where(TokenRow.owner == owner)
        with self._store.reading() as session:
            return tuple(read_token(row) for row in session.exec(query))

    def token_used(self, digest: str, at: datetime) -> None:
        """See `PeopleStore.token_used`."""
        with self._store.leading() as session:
            session.exec(update(TokenRow).where(col(TokenRow.digest) == digest).values(used_at=iso(at)))

    def remove_token(self, token: str) -> None:
        """See `PeopleStore.remove_token`."""
        with self._store.leading() as session:
            session.exec(delete(TokenRow).where(col(TokenRow.id) == token))

    def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See `PeopleStore.write_audit`."""
        rows = [audit_row(entry) for entry in entries]
        with self._store.leading() as session:
            session.add_all(rows)
            session.flush()
            if any((row.id or 0) % self._kept.look_every == 0 for row in rows):
                prune(session, max(entry.at for entry in entries), self._kept)

    def audit(self, wanted: AuditFilter, *, limit: int) -> tuple[AuditEntry, ...]:
        """See `PeopleStore.audit`."""
        query = select(AuditRow).where(*conditions(wanted)).order_by(col(AuditRow.id).desc()).limit(limit)
        with self._store.reading() as session:
            return tuple(read_audit(row) for row in session.exec(query))


def _known(session: SqlSession, name: str) -> User | None:
    row = session.get(UserRow, name)
    return None if row is None else read_user(row)


def _require_still_admin(session: SqlSession, by: str | None) -> None:
    if by is not None and not still_admin(by, _known(session, by)):
        raise NotAdmin(by)


def _save(session: SqlSession, user: User) -> None:
    session.merge(user_row(user))
    if user.role is not Role.ADMIN:
        session.exec(delete(InvitationRow).where(col(InvitationRow.by) == user.name))


def _admins(session: SqlSession, *, but: str) -> int:
    """How many others there are."""
    query = select(func.count()).where(UserRow.role == Role.ADMIN.value, UserRow.name != but)
    return session.exec(query).one()


def _theirs(user: str, *, only: str | None = None, but: str | None = None) -> list[Any]:
    """Which sessions: those of that person, or some of them."""
    which: list[Any] = [col(SessionRow.name) == user]
    which += [col(SessionRow.digest) == only] if only is not None else []
    which += [col(SessionRow.digest) != but] if but is not None else []
    return which
