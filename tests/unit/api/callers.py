"""How the tests of the API log in."""

from __future__ import annotations

from datetime import datetime

from fastapi.testclient import TestClient

from controller.core.people import ApiToken, Role, Session, User, csrf_of, digest_of, token_prefix
from tests.fakes.clock import START
from tests.fakes.people import FakePeople

TOKEN = "secret"  # what `Sources.token` is in the tests
ADMIN = {"Authorization": f"Bearer {TOKEN}"}  # headers of who has the state directory


def as_admin(client: TestClient, token: str = TOKEN) -> TestClient:
    """With the token of the state directory."""
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def as_role(client: TestClient, people: FakePeople, role: Role, name: str = "") -> TestClient:
    """With an API token of that role, which was not there before."""
    text = f"st_{name or role}"
    owner = name or f"a-{role}"
    people.rows.users.setdefault(owner, User(owner, role, START))
    people.rows.tokens[digest_of(text)] = ApiToken(
        f"tok_{owner}", "tests", owner, role, token_prefix(text), digest_of(text), START
    )
    return as_admin(client, text)


def logged_in(client: TestClient, people: FakePeople, role: Role, name: str = "ada", at: datetime = START) -> str:
    """With a session, as a browser has it; what must be shown as `X-CSRF-Token` with each change."""
    people.rows.users[name] = User(name, role, at)
    secret = f"session of {name}".replace(" ", "-")
    people.rows.sessions[digest_of(secret)] = Session(digest_of(secret), name, at, at, "testclient")
    client.cookies.set("stoker_session", secret)
    return csrf_of(secret)
