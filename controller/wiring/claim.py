"""The lead: taken before anything else is touched."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from controller.adapters.database import DatabaseLease, FileLease, FileLock, SqlStore
from controller.core.errors import LostLease
from controller.core.model import Term
from controller.ports import Lease
from controller.settings import Settings
from controller.wiring.place import Place


@dataclass(frozen=True, slots=True)
class Claim:
    """The lead, taken before anything else is touched. For the ticker it is the lease."""

    store: SqlStore
    lease: Lease
    term: Term
    resources: contextlib.ExitStack

    def acquire(self) -> Term:
        """See `Lease.acquire`. It was."""
        return self.term

    def renew(self, term: Term) -> None:
        """See `Lease.renew`."""
        self.lease.renew(term)

    def holds(self) -> bool:
        """See `Lease.holds`."""
        return self.lease.holds()

    def release(self) -> None:
        """See `Lease.release`."""
        self.lease.release()


def claim(place: Place) -> Claim:
    """Take the lead. Blocks for at most 10 s, and touches nothing but the lease where another has it.

    Raises:
        LostLease: another controller leads; the text says who.
        TransientError: nobody can tell who leads.
        PermanentError, ConfigError: the database can never be used as it is configured.
    """
    settings, _ = place.read()
    with contextlib.ExitStack() as stack:
        if settings.controller.database == "sqlite":
            store, lease = _on_file(place, stack)
        else:
            store, lease = _on_server(place, settings, stack)
        stack.callback(lease.release)
        return Claim(store, lease, lease.acquire(), stack.pop_all())


def _on_server(place: Place, settings: Settings, stack: contextlib.ExitStack) -> tuple[SqlStore, Lease]:
    store = SqlStore(settings.controller.database_url())
    stack.callback(store.close)
    return store, DatabaseLease(store, place.name, settings.controller.lease_ttl.total_seconds())


def _on_file(place: Place, stack: contextlib.ExitStack) -> tuple[SqlStore, Lease]:
    """The kernel's lock first: who has it may be of another version, with another ledger."""
    lock = FileLock(place.layout.lock)
    try:
        lock.acquire()
    except LostLease as error:
        leader = place.layout.lock.read_text(encoding="utf-8") or "another controller"
        raise LostLease(f"{leader} leads") from error
    stack.callback(lock.release)
    place.layout.lock.write_text(place.name, encoding="utf-8")
    store = SqlStore(place.layout.database)
    stack.callback(store.close)
    return store, FileLease(lock, store)
