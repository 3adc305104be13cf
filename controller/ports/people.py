"""What the controller needs to keep of people. Synchronous; every method blocks for at most 5 s.

Every write raises `LostLease` where another controller leads, and `TransientError` where nothing was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from controller.core.people import ApiToken, AuditEntry, AuditFilter, Invitation, Role, Session, User


class PeopleStore(Protocol):
    """People, what they log in with, and the audit log. Names are kept as `named` makes them."""

    def users(self) -> tuple[User, ...]:
        """All, by name."""
        ...

    def user(self, name: str) -> User | None:
        """That one."""
        ...

    def save_user(self, user: User) -> None:
        """A new one, or what has changed of one, whatever was there. Invitations by who is no admin (any more) are
        withdrawn."""
        ...

    def take_in(self, found: User) -> User:
        """Somebody who logs in by another place: new, or with the role of now (`merged`), in one transaction. Where the
        role is another one sessions and invitations end as with `change_user`. Raises `LoginRefused` where the name is
        somebody else's by now, and `LastAdmin` likewise; nothing is changed then."""
        ...

    def put_out(self, name: str, source: str) -> None:
        """End that one's sessions, remove the tokens, and withdraw invitations by that one. Nothing where there is
        nobody of that name and source (any more)."""
        ...

    def change_user(
        self,
        name: str,
        change: Callable[[User], User],
        *,
        but: str | None = None,
        ends: bool = True,
        by: str | None = None,
    ) -> User | None:
        """Change what is kept of somebody, and end that one's sessions, all `but` the one of that digest, or none where
        it `ends` none, in one transaction, so that nothing that happens meanwhile is undone. Invitations as with
        `save_user`. None, and nothing is changed, where there is nobody of that name (any more). Raises `LastAdmin`
        where nobody would be left with that role, and `NotAdmin` where it is done `by` somebody who has not got it (any
        more)."""
        ...

    def remove_user(self, name: str, *, by: str | None = None) -> None:
        """With sessions, tokens, and invitations for and by that one. One that is gone is success. Raises `LastAdmin`
        and `NotAdmin` likewise."""
        ...

    def invite(self, invitation: Invitation) -> bool:
        """An earlier one for the same name is good for nothing any more; so are those that expired before `expires_at`
        less the time that one holds. False, and nothing is changed, where who made it is no admin (any more)."""
        ...

    def invitation(self, digest: str) -> Invitation | None:
        """That one, expired or not."""
        ...

    def invitations(self) -> tuple[Invitation, ...]:
        """All that nobody has used, by name, expired ones, too."""
        ...

    def withdraw(self, name: str) -> bool:
        """The invitation for that name is good for nothing any more. Whether there was one."""
        ...

    def accept(self, digest: str, password: str, at: datetime) -> User | None:
        """Use up the invitation: that person has this password from now on, what is known of that one stays, and all
        sessions end, in one transaction. None where the invitation is gone, or of no use (`joined`): nothing else is
        changed then."""
        ...

    def start_session(self, session: Session, password: str) -> bool:
        """A new one, and when its user logged in; those that are over at that time are forgotten. False, and nothing is
        begun, where that one's kept password is not this one (any more), or there is nobody of that name."""
        ...

    def session(self, digest: str) -> tuple[Session, User] | None:
        """That one and whose it is."""
        ...

    def sessions(self, user: str) -> tuple[Session, ...]:
        """Of that person, the newest first."""
        ...

    def seen(self, digest: str, at: datetime) -> None:
        """It was used. One that is gone is success."""
        ...

    def end_sessions(self, user: str, *, only: str | None = None, but: str | None = None) -> int:
        """Of that person; `only` the one of that digest, or all `but` that one. How many they were."""
        ...

    def add_token(self, token: ApiToken) -> bool:
        """A new one. False, and it is not kept, where its owner is nobody (any more)."""
        ...

    def token(self, digest: str) -> tuple[ApiToken, Role | None] | None:
        """That one and its owner's role; None for the role where the owner is no user."""
        ...

    def tokens(self, owner: str | None = None) -> tuple[ApiToken, ...]:
        """All, or those of that person; the newest first."""
        ...

    def token_used(self, digest: str, at: datetime) -> None:
        """It was used. One that is gone is success."""
        ...

    def remove_token(self, token: str) -> None:
        """The one of that id. One that is gone is success."""
        ...

    def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Add to the audit log, of which as much is kept as `Kept` says: a flood of one kind pushes out no other."""
        ...

    def audit(self, wanted: AuditFilter, *, limit: int) -> tuple[AuditEntry, ...]:
        """The newest, newest first."""
        ...
