"""Connections to one database, and the one place where its driver's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, TimeoutError

from controller.adapters.database.errors import DatabaseUnavailable

_SEARCHES = 4  # of a dozen connections: the others are the tick's, whoever looks for what
_PLACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Connections:
    """`name` is for people and has no password. Readers neither wait for a writer nor keep one waiting."""

    name: str
    writers: Engine
    readers: Engine
    put_aside: Path | None = None  # what could not be used and lies there now
    places: Semaphore = field(default_factory=lambda: Semaphore(_SEARCHES))

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Raises `DatabaseUnavailable` for whatever the driver raises within."""
        try:
            yield
        except DBAPIError as error:
            raise DatabaseUnavailable(f"the database {self.name} cannot be used now: {words(error)}") from error
        except TimeoutError as error:
            raise self._too_much() from error

    @contextmanager
    def searching(self, text: str) -> Iterator[None]:
        """One of the few that look through the whole ledger at once, for a text; what asks for none has an index.
        Raises `DatabaseUnavailable` where a second brings no place."""
        if not text:
            yield
            return
        if not self.places.acquire(timeout=_PLACE_S):
            raise self._too_much()
        try:
            yield
        finally:
            self.places.release()

    def _too_much(self) -> DatabaseUnavailable:
        return DatabaseUnavailable(f"the database {self.name} is asked too much at once; ask again")

    def close(self) -> None:
        """Give all back."""
        self.writers.dispose()
        self.readers.dispose()


def words(error: DBAPIError) -> str:
    """What the driver said, on one line, without the statement."""
    said = getattr(getattr(error.orig, "diag", None), "message_primary", None)  # PostgreSQL's own sentence
    return " ".join(str(said or error.orig).split()).rstrip(".")
