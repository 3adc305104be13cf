"""The three databases that the contract suites of the stores and of Lease run on, and what a test does to each."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from controller.adapters.database import DatabaseLease, SqlStore
from controller.adapters.database.keys import SqlKeys
from controller.adapters.database.people import SqlPeople
from controller.core.audit import KEPT, Kept
from controller.ports import KeyStore, Lease
from controller.ports.people import PeopleStore
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeDatabase, FakeKeys, FakeLease, FakeStore
from tests.postgres import PostgresServer

Store = FakeStore | SqlStore


class Database(Protocol):
    """One database; `store` opens it once more, as another controller does."""

    def store(self) -> Any: ...

    def lease(
        self, store: Any, holder: str, ttl_s: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> Lease: ...

    def keys(self, store: Any) -> KeyStore: ...

    def people(self, store: Any, kept: Kept = KEPT) -> PeopleStore: ...

    def pass_time(self, seconds: float) -> None:
        """Its clock goes on."""
        ...

    def gone(self) -> AbstractContextManager[None]:
        """No write is answered within."""
        ...

    def close(self) -> None: ...


class InMemory:
    """The fake."""

    def __init__(self) -> None:
        self._database = FakeDatabase()

    def store(self) -> FakeStore:
        return FakeStore(self._database)

    def lease(
        self, store: FakeStore, holder: str, ttl_s: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> FakeLease:
        return FakeLease(store, holder, ttl_s, now)

    def keys(self, store: FakeStore) -> FakeKeys:
        return FakeKeys(store)

    def people(self, store: FakeStore, kept: Kept = KEPT) -> FakePeople:
        return FakePeople(store, kept)

    def pass_time(self, seconds: float) -> None:
        self._database.at += seconds

    @contextmanager
    def gone(self) -> Iterator[None]:
        self._database.gone = True
        try:
            yield
        finally:
            self._database.gone = False

    def close(self) -> None:
        """Nothing lasts."""


class _Sql:
    """What both real ones share."""

    def __init__(self, where: Path | str) -> None:
        self.where = where
        self._stores: list[SqlStore] = []

    def store(self) -> SqlStore:
        self._stores.append(SqlStore(self.where))
        return self._stores[-1]

    def lease(
        self, store: SqlStore, holder: str, ttl_s: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> DatabaseLease:
        return DatabaseLease(store, holder, ttl_s, now)

    def keys(self, store: SqlStore) -> SqlKeys:
        return SqlKeys(store)

    def people(self, store: SqlStore, kept: Kept = KEPT) -> SqlPeople:
        return SqlPeople(store, kept)

    def close(self) -> None:
        for store in self._stores:
            store.close()


class Sqlite(_Sql):
    """A file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def pass_time(self, seconds: float) -> None:
        with closing(sqlite3.connect(self.path)) as other, other:
            other.execute("UPDATE stoker_lead SET until = until - ?", (seconds,))

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Another program has it locked."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield  # closing it gives the lock back


class Postgres(_Sql):
    """A schema of the tests' server."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__(server.new_schema())
        self.server = server
        self.schema = str(self.where).rpartition("%3D")[2]

    def pass_time(self, seconds: float) -> None:
        with self.server.admin("stoker") as admin:
            admin.execute(f"UPDATE {self.schema}.stoker_lead SET until = until - {seconds}")

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Connections are cut, and new ones are refused."""
        self._let_in(False)
        self.cut()
        try:
            yield
        finally:
            self._let_in(True)

    def cut(self) -> None:
        """Every connection breaks."""
        with self.server.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'stoker'")

    def _let_in(self, anybody: bool) -> None:
        with self.server.admin() as admin:
            admin.execute(f"ALTER DATABASE stoker ALLOW_CONNECTIONS {anybody}")


def database_of(request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    """The one that the fixture's parameter names (fake, sqlite or postgresql), for the time of a test."""
    made: Database
    if request.param == "postgresql":
        made = Postgres(request.getfixturevalue("postgres"))
    else:
        made = InMemory() if request.param == "fake" else Sqlite(folder / "controller.db")
    yield made
    made.close()
