"""What `stoker users` and `stoker tokens` ask of the controller; and an invitation while nothing runs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from controller.adapters.database import FileLock, SqlStore
from controller.adapters.database.people import SqlPeople
from controller.core.errors import ControllerError, LostLease
from controller.core.people import (
    INVITED_FOR,
    SECRET_BYTES,
    STATE_DIRECTORY,
    AuditEntry,
    Invitation,
    Role,
    digest_of,
    invited_role,
    named,
    secret_of,
)
from controller.installation import Layout
from controller.settings import Settings, load
from controller.stack.api_client import Client, Row
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from controller.stack.users_first import link


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that was made."""

    row: Row

    def print(self) -> None:
        """The link, on a line of its own."""
        print(f"{self.row['name']} chooses a password there, once, within 24 hours, and is {self.row['role']}:")
        print(self.row["link"])


class PeopleClient:
    """The API, as one who may use it. Every method blocks for a few seconds at most, and raises `Trouble` with the
    controller's own sentence where it refuses."""

    def __init__(self, state_dir: Path) -> None:
        self._api = Client.of(state_dir)

    def users(self) -> list[Row]:
        """All, by name."""
        return list(self._ask("/users"))

    def invite(self, name: str, role: str | None, why: str) -> Invited:
        """Somebody new, or for a new password."""
        made = self._ask("/invitations", {"name": name, "role": role, "why": why})
        return Invited({**made, "link": link(self._api.settings, made["code"])})

    def invitations(self) -> list[Row]:
        """Those that can still be accepted, by name."""
        return list(self._ask("/invitations"))

    def withdraw(self, name: str, why: str) -> None:
        """The link is good for nothing any more."""
        self._ask(f"/invitations/{quote(name, safe='')}?{urlencode({'why': why})}", method="DELETE")

    def give_role(self, name: str, role: str, why: str) -> Row:
        """Another role."""
        return dict(self._ask(f"/users/{quote(name, safe='')}/role", {"role": role, "why": why}, "PUT"))

    def remove(self, name: str, why: str) -> None:
        """With everything of that person."""
        self._ask(f"/users/{quote(name, safe='')}?{urlencode({'why': why})}", method="DELETE")

    def tokens(self) -> list[Row]:
        """All that one may see."""
        return list(self._ask("/tokens"))

    def make_token(self, wanted: Row) -> Row:
        """With its text, this once."""
        return dict(self._ask("/tokens", wanted))

    def remove_token(self, name: str) -> Row:
        """By its id, or by its name where only one has it; what it was."""
        found = [row for row in self.tokens() if name in (row["id"], row["name"])]
        if len(found) > 1:
            told = ", ".join(f"{row['id']} of {row['owner']}" for row in found)
            raise Trouble(f"{name} is the name of several tokens; write the id of one: {told}")
        if not found:
            raise Trouble(f"there is no token {name}; `stoker tokens list` shows those that there are")
        of = urlencode({"of": found[0]["owner"]})  # which the token of an admin has to say
        self._ask(f"/tokens/{quote(found[0]['id'], safe='')}?{of}", method="DELETE")
        return found[0]

    def audit(self, asked: dict[str, str]) -> list[Row]:
        """The newest first."""
        return list(self._ask(f"/audit?{urlencode(asked)}"))

    def _ask(self, path: str, wanted: Row | None = None, method: str | None = None) -> Any:
        return self._api.ask(f"/api/v1{path}", wanted, method=method)


def invite(state_dir: Path, config: Path, name: str, role: str | None, why: str) -> Invited:
    """By the controller where it runs, else right into its database.

    Raises:
        Trouble: the controller refuses, or nothing runs and the database is none of this machine.
    """
    layout = Layout(state_dir)
    if Supervisor(layout).running():
        return PeopleClient(state_dir).invite(name, role, why)
    settings = load(layout.config if layout.config.exists() else config)
    if settings.controller.database != "sqlite":
        raise Trouble("nothing runs, and the users are in a database of another machine; `stoker up` first")
    return _written(layout, settings, name, None if role is None else Role(role), why)


def _written(layout: Layout, settings: Settings, name: str, role: Role | None, why: str) -> Invited:
    """Under the lock of the controller, so that none runs meanwhile."""
    layout.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(layout.lock)
    try:
        lock.acquire()
        store = SqlStore(layout.database)
    except LostLease as error:
        raise Trouble(f"a controller runs on {layout.root} that does not answer; stop it, and ask again") from error
    except ControllerError as error:
        lock.release()
        raise Trouble(str(error)) from error
    try:
        return _invited(SqlPeople(store), settings, named(name), role, why)
    except (ControllerError, ValueError) as error:
        raise Trouble(str(error)) from error
    finally:
        store.close()
        lock.release()


def _invited(people: SqlPeople, settings: Settings, name: str, role: Role | None, why: str) -> Invited:
    granted, now = invited_role(people.user(name), role), datetime.now(UTC)
    code, expires_at = secret_of(secrets.token_bytes(SECRET_BYTES)), now + INVITED_FOR
    told = f"As {granted}, while nothing ran. {why}".strip()
    people.write_audit(
        [AuditEntry(now, STATE_DIRECTORY, Role.ADMIN, "database", "", "user invite", f"user/{name}", told)]
    )
    people.invite(Invitation(digest_of(code), name, granted, expires_at, STATE_DIRECTORY))
    row = {"name": name, "role": granted.value, "code": code, "expires_at": expires_at.isoformat()}
    return Invited({**row, "link": link(settings, code)})
