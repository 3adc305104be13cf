"""People as the API of a controller that stands by has them: the leader knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from controller.core.errors import LostLease
from controller.core.people import ApiToken, AuditEntry, AuditFilter, Invitation, Role, Session, User

_REFUSAL = "this controller stands by; ask the one that leads"


class UnopenedPeople:
    """See `PeopleStore`: everything raises `LostLease`, but for the audit log: what is refused is not noted as done."""

    def users(self) -> tuple[User, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def user(self, name: str) -> User | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def save_user(self, user: User) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def take_in(self, found: User) -> User:
        """Refused."""
        raise LostLease(_REFUSAL)

    def put_out(self, name: str, source: str) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def change_user(
        self,
        name: str,
        change: Callable[[User], User],
        *,
        but: str | None = None,
        ends: bool = True,
        by: str | None = None,
    ) -> User | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def remove_user(self, name: str, *, by: str | None = None) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def invite(self, invitation: Invitation) -> bool:
        """Refused."""
        raise LostLease(_REFUSAL)

    def invitation(self, digest: str) -> Invitation | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def invitations(self) -> tuple[Invitation, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def withdraw(self, name: str) -> bool:
        """Refused."""
        raise LostLease(_REFUSAL)

    def accept(self, digest: str, password: str, at: datetime) -> User | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def start_session(self, session: Session, password: str) -> bool:
        """Refused."""
        raise LostLease(_REFUSAL)

    def session(self, digest: str) -> tuple[Session, User] | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def sessions(self, user: str) -> tuple[Session, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def seen(self, digest: str, at: datetime) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def end_sessions(self, user: str, *, only: str | None = None, but: str | None = None) -> int:
        """Refused."""
        raise LostLease(_REFUSAL)

    def add_token(self, token: ApiToken) -> bool:
        """Refused."""
        raise LostLease(_REFUSAL)

    def token(self, digest: str) -> tuple[ApiToken, Role | None] | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def tokens(self, owner: str | None = None) -> tuple[ApiToken, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def token_used(self, digest: str, at: datetime) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def remove_token(self, token: str) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Nothing: the change itself is refused by whatever it would be written to."""

    def audit(self, wanted: AuditFilter, *, limit: int) -> tuple[AuditEntry, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)
