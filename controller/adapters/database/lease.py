"""Leases: one controller per state directory (`FileLease`), or per database (`DatabaseLease`)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from sqlmodel import Session

from controller.adapters.database.errors import DatabaseUnavailable
from controller.adapters.database.memory import lead_row
from controller.adapters.database.store import SqlStore
from controller.core.errors import LostLease
from controller.core.model import Term

_LOCK_TIMEOUT_S = 5.0
_RETRY_S = 0.1
_CLOCKS = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}


class FileLock:
    """The kernel's lock on a file, which it takes back from a process that is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def acquire(self) -> None:
        """Hold it from now on; a second time does nothing. Blocks for at most 5 s, for one that is about to end.

        Raises:
            LostLease: another controller holds it.
        """
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        waited = threading.Event()
        for _ in range(int(_LOCK_TIMEOUT_S / _RETRY_S)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited.wait(_RETRY_S)
                continue
            self._file = file
            return
        os.close(file)
        raise LostLease(f"another controller runs on {self._path.parent}; stop it first")

    def release(self) -> None:
        """Let the next one in at once. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class FileLease:
    """See `Lease`: the lock, and a new term that fences every older one off. It never runs out."""

    def __init__(self, lock: FileLock, store: SqlStore) -> None:
        self._lock, self._store = lock, store

    def acquire(self) -> Term:
        """See `Lease.acquire`."""
        self._lock.acquire()
        return self._store.take_term()

    def renew(self, term: Term) -> None:
        """See `Lease.renew`. Writes nothing; raises `DatabaseUnavailable` like every read."""
        if not self._lock.held:
            raise LostLease(f"term {term} is over: its lock was given back")
        self._store.check(term)

    def holds(self) -> bool:
        """See `Lease.holds`."""
        return self._lock.held

    def release(self) -> None:
        """See `Lease.release`."""
        self._lock.release()


class DatabaseLease:
    """See `Lease`: a row with its holder, its term and its end, judged by the database's own clock.

    `holder` is this controller's name, and no other's: whoever has the same name takes it over at once. `now` counts
    seconds also while the machine sleeps.
    """

    def __init__(
        self,
        store: SqlStore,
        holder: str,
        ttl_s: float = 10.0,
        now: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._store, self._holder, self._ttl_s, self._now = store, holder, ttl_s, now
        self._good_at: float | None = None  # before the last answer that was a yes
        self._term: Term | None = None

    def acquire(self) -> Term:
        """See `Lease.acquire`. Does not wait. Raises `DatabaseUnavailable` where nobody can tell who leads."""
        asked_at = self._now()
        with self._store.writing(None) as session:
            row, at = lead_row(session), _clock(session)
            if row.until > at and row.holder != self._holder:
                left = f"{row.until - at:.1f} s"
                raise LostLease(
                    f"{row.holder} leads and holds the lease for another {left}; stop it, or wait for its end"
                )
            row.term += 1
            row.holder, row.until = self._holder, at + self._ttl_s
            term = Term(row.term)
        self._good_at, self._term = asked_at, term
        self._store.lead(term)
        return term

    def renew(self, term: Term) -> None:
        """See `Lease.renew`.

        Raises:
            LostLease: also where the database gave no answer since the lease must have run out.
            DatabaseUnavailable: no answer, and the lease still holds; what it was good for may be done.
        """
        asked_at = self._now()
        self._expect(asked_at)
        try:
            with self._store.writing(term) as session:
                row, at = lead_row(session), _clock(session)
                if row.holder != self._holder or row.until <= at:
                    raise LostLease(f"the lease of {self._holder} ran out before it was renewed; acquire a new term")
                row.until = at + self._ttl_s
        except DatabaseUnavailable:
            self._expect(self._now())
            raise
        self._good_at = asked_at

    def holds(self) -> bool:
        """See `Lease.holds`."""
        return self._holds_at(self._now())

    def release(self) -> None:
        """See `Lease.release`. Where the database gives no answer it runs out by itself."""
        term, self._term, self._good_at = self._term, None, None
        if term is not None:
            with contextlib.suppress(LostLease, DatabaseUnavailable), self._store.writing(term) as session:
                lead_row(session).until = 0.0

    def _holds_at(self, at: float) -> bool:
        """Our own clock counts from before the question, the database's from after it: ours is never later."""
        good_at = self._good_at
        return good_at is not None and at - good_at < self._ttl_s

    def _expect(self, at: float) -> None:
        if not self._holds_at(at):
            raise LostLease(f"the lease of {self._holder} was not renewed within {self._ttl_s:g} s; another may lead")


def _clock(session: Session) -> float:
    """The database's time, in seconds since the epoch."""
    return float(session.connection().execute(text(_CLOCKS[session.get_bind().dialect.name])).scalar_one())
