"""An application with people, for the tests of who may what."""

from __future__ import annotations

from dataclasses import dataclass, field

from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from controller.api.access_door import Door
from controller.api.access_passwords import Passwords
from controller.api.app import create_app
from controller.api.deps import Sources
from controller.core.event import Event
from controller.core.people import AuditEntry, User
from tests.fakes.clock import FakeClock
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeKeys, FakeStore
from tests.unit.api.callers import TOKEN

PASSWORD = "correct horse battery"


@dataclass
class World:
    """Its sources' parts, and a client that shows nothing until told to."""

    store: FakeStore = field(default_factory=FakeStore)
    clock: FakeClock = field(default_factory=FakeClock)
    lead: str = "leads"
    events: list[Event] = field(default_factory=list)
    door: Door = field(default_factory=Door)

    def __post_init__(self) -> None:
        self.people = FakePeople(self.store)
        self.door.passwords = Passwords(PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))  # quick
        self.app = create_app(self.sources())
        self.client = self.another()

    def sources(self) -> Sources:
        return Sources(
            policies=(),
            nodes=(),
            store=self.store,
            latest=lambda: None,
            healthy=lambda: True,
            metrics=lambda: b"stoker_up 1\n",
            now=self.clock.now,
            lead=lambda: self.lead,
            token=TOKEN,
            gateway_token="for-gateways",
            alerts_token="for-alerts",
            metrics_token="for-prometheus",
            keys=FakeKeys(self.store),
            tell=self.events.extend,
            people=self.people,
            door=self.door,
        )

    def another(self, address: str = "testclient") -> TestClient:
        """Another browser or program; with a scheme of its own where the cookie is to be that of TLS."""
        return TestClient(self.app, client=(address, 50000))

    def secure(self) -> TestClient:
        """A browser over TLS."""
        return TestClient(self.app, base_url="https://stoker.example:8443")

    def add(self, user: User, password: str = PASSWORD) -> None:
        """Somebody who may log in with a password."""
        kept = self.door.passwords.make(password, "here")
        self.people.rows.users[user.name] = User(user.name, user.role, user.created_at, kept)

    def noted(self, action: str | None = None) -> list[AuditEntry]:
        """What the audit log says, the oldest first."""
        return [entry for entry in self.people.rows.audit if action in (None, entry.action)]
