"""PeopleStore in memory, with the fencing of its store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.core.audit import KEPT, Kept, is_own
from controller.core.people import (
    INVITED_FOR,
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
from tests.fakes.store import FakeStore


@dataclass
class PeopleRows:
    """What lasts, on the database of the store."""

    users: dict[str, User] = field(default_factory=dict)
    invitations: dict[str, Invitation] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    tokens: dict[str, ApiToken] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)


class FakePeople:
    """See `PeopleStore`. `rows` may be looked at and filled by tests."""

    def __init__(self, store: FakeStore | None = None, kept: Kept = KEPT) -> None:
        self._store, self._kept = store or FakeStore(), kept
        self.database = self._store.database
        self.rows: PeopleRows = self.database.people.setdefault("rows", PeopleRows())

    def users(self) -> tuple[User, ...]:
        with self.database.asked():
            return tuple(self.rows.users[name] for name in sorted(self.rows.users))

    def user(self, name: str) -> User | None:
        with self.database.asked():
            return self.rows.users.get(name)

    def save_user(self, user: User) -> None:
        with self._store.leading():
            self._save(user)

    def take_in(self, found: User) -> User:
        with self._store.leading():
            known = self.rows.users.get(found.name)
            user = merged(found, known)
            if known is not None and known.role is not user.role:
                require_admin(user.name, known.role, user.role, self._admins(user.name))
                self._without(lambda session: session.user == user.name)
            self._save(user)
            return user

    def put_out(self, name: str, source: str) -> None:
        with self._store.leading():
            known = self.rows.users.get(name)
            if known is not None and known.source == source:
                self._without(lambda session: session.user == name)
                self.rows.tokens = {key: token for key, token in self.rows.tokens.items() if token.owner != name}
                self._withdraw(lambda invitation: invitation.by == name)

    def change_user(
        self,
        name: str,
        change: Callable[[User], User],
        *,
        but: str | None = None,
        ends: bool = True,
        by: str | None = None,
    ) -> User | None:
        with self._store.leading():
            self._require_still_admin(by)
            before = self.rows.users.get(name)
            if before is None:
                return None
            user = change(before)
            require_admin(name, before.role, user.role, self._admins(name))
            self._save(user)
            if ends:
                self._without(lambda session: session.user == name and but != session.digest)
            return user

    def remove_user(self, name: str, *, by: str | None = None) -> None:
        with self._store.leading():
            self._require_still_admin(by)
            known = self.rows.users.get(name)
            if known is not None:
                require_admin(name, known.role, None, self._admins(name))
            self.rows.users.pop(name, None)
            self._without(lambda session: session.user == name)
            self.rows.tokens = {key: token for key, token in self.rows.tokens.items() if token.owner != name}
            self._withdraw(lambda invitation: name in (invitation.name, invitation.by))

    def _require_still_admin(self, by: str | None) -> None:
        if by is not None and not still_admin(by, self.rows.users.get(by)):
            raise NotAdmin(by)

    def _save(self, user: User) -> None:
        self.rows.users[user.name] = user
        if user.role is not Role.ADMIN:
            self._withdraw(lambda invitation: invitation.by == user.name)

    def _admins(self, but: str) -> int:
        return sum(user.role is Role.ADMIN and user.name != but for user in self.rows.users.values())

    def _withdraw(self, gone: Callable[[Invitation], bool]) -> bool:
        before = len(self.rows.invitations)
        self.rows.invitations = {key: one for key, one in self.rows.invitations.items() if not gone(one)}
        return len(self.rows.invitations) < before

    def invite(self, invitation: Invitation) -> bool:
        with self._store.leading():
            if not still_admin(invitation.by, self.rows.users.get(invitation.by)):
                return False
            over = invitation.expires_at - INVITED_FOR
            self.rows.invitations = {
                digest: one
                for digest, one in self.rows.invitations.items()
                if one.name != invitation.name and one.expires_at > over
            } | {invitation.digest: invitation}
            return True

    def invitation(self, digest: str) -> Invitation | None:
        with self.database.asked():
            return self.rows.invitations.get(digest)

    def invitations(self) -> tuple[Invitation, ...]:
        with self.database.asked():
            return tuple(sorted(self.rows.invitations.values(), key=lambda one: one.name))

    def withdraw(self, name: str) -> bool:
        with self._store.leading():
            return self._withdraw(lambda invitation: invitation.name == name)

    def accept(self, digest: str, password: str, at: datetime) -> User | None:
        with self._store.leading():
            invitation = self.rows.invitations.pop(digest, None)
            if invitation is None:
                return None
            user = joined(invitation, self.rows.users.get(invitation.name), password, at)
            if user is None:
                return None
            self._without(lambda session: session.user == user.name)
            self.rows.users[user.name] = user
            return user

    def start_session(self, session: Session, password: str) -> bool:
        with self._store.leading():
            known = self.rows.users.get(session.user)
            if known is None or known.password != password:
                return False
            self._without(lambda known: known.until <= session.created_at)
            self.rows.sessions[session.digest] = session
            user = self.rows.users[session.user]
            self.rows.users[user.name] = replace(user, logged_in_at=session.created_at)
            return True

    def session(self, digest: str) -> tuple[Session, User] | None:
        with self.database.asked():
            found = self.rows.sessions.get(digest)
            return (found, self.rows.users[found.user]) if found is not None else None

    def sessions(self, user: str) -> tuple[Session, ...]:
        with self.database.asked():
            found = [session for session in self.rows.sessions.values() if session.user == user]
            return tuple(sorted(found, key=lambda session: session.created_at, reverse=True))

    def seen(self, digest: str, at: datetime) -> None:
        with self._store.leading():
            if digest in self.rows.sessions:
                self.rows.sessions[digest] = replace(self.rows.sessions[digest], seen_at=at)

    def end_sessions(self, user: str, *, only: str | None = None, but: str | None = None) -> int:
        with self._store.leading():
            return self._without(
                lambda session: session.user == user and only in (None, session.digest) and but != session.digest
            )

    def _without(self, gone: Callable[[Session], bool]) -> int:
        ended = [digest for digest, session in self.rows.sessions.items() if gone(session)]
        for digest in ended:
            del self.rows.sessions[digest]
        return len(ended)

    def add_token(self, token: ApiToken) -> bool:
        with self._store.leading():
            if token.owner != STATE_DIRECTORY and token.owner not in self.rows.users:
                return False
            self.rows.tokens[token.digest] = token
            return True

    def token(self, digest: str) -> tuple[ApiToken, Role | None] | None:
        with self.database.asked():
            found = self.rows.tokens.get(digest)
            if found is None:
                return None
            owner = self.rows.users.get(found.owner)
            return found, owner.role if owner is not None else None

    def tokens(self, owner: str | None = None) -> tuple[ApiToken, ...]:
        with self.database.asked():
            found = [token for token in self.rows.tokens.values() if owner in (None, token.owner)]
            return tuple(sorted(found, key=lambda token: (token.created_at, token.id), reverse=True))

    def token_used(self, digest: str, at: datetime) -> None:
        with self._store.leading():
            if digest in self.rows.tokens:
                self.rows.tokens[digest] = replace(self.rows.tokens[digest], used_at=at)

    def remove_token(self, token: str) -> None:
        with self._store.leading():
            self.rows.tokens = {key: known for key, known in self.rows.tokens.items() if known.id != token}

    def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        with self._store.leading():
            for entry in entries:
                newest = self.rows.audit[-1].id if self.rows.audit else 0
                self.rows.audit.append(replace(entry, id=newest + 1))
            if any(entry.id % self._kept.look_every == 0 for entry in self.rows.audit[-len(entries) :]):
                self._prune(max(entry.at for entry in entries))

    def _prune(self, now: datetime) -> None:
        most = {"done": self._kept.done, "own": self._kept.own, "refused": self._kept.refused}
        of_kind, of_one = Counter[str](), Counter[str]()
        left = []
        for entry in reversed(self.rows.audit):
            if entry.at < now - self._kept.longest:
                continue
            kind = "refused" if entry.refused else "own" if is_own(entry) else "done"
            of_one[entry.name] += kind == "own"
            if kind == "own" and of_one[entry.name] > self._kept.own_of_one:
                continue
            of_kind[kind] += 1
            if of_kind[kind] <= most[kind]:
                left.append(entry)
        self.rows.audit = left[::-1]

    def audit(self, wanted: AuditFilter, *, limit: int) -> tuple[AuditEntry, ...]:
        with self.database.asked():
            return tuple([entry for entry in reversed(self.rows.audit) if _matches(entry, wanted)][:limit])


def _matches(entry: AuditEntry, wanted: AuditFilter) -> bool:
    said = f"{entry.subject}\n{entry.why}\n{entry.outcome}".lower()
    return (
        wanted.name in (None, entry.name)
        and wanted.action in (None, entry.action)
        and (wanted.text is None or wanted.text.lower() in said)
        and (wanted.since is None or entry.at >= wanted.since)
        and (wanted.until is None or entry.at <= wanted.until)
        and (wanted.before is None or entry.id < wanted.before)
        and wanted.refused in (None, entry.refused)
    )
