"""Connections to one database, and the one place where its driver's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, TimeoutError

from controller.adapters.database.errors import DatabaseUnavailable


@dataclass(frozen=True, slots=True)
class Connections:
    """`name` is for people and has no password. Readers neither wait for a writer nor keep one waiting."""

    name: str
    writers: Engine
    readers: Engine
    put_aside: Path | None = None  # what could not be used and lies there now

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Raises `DatabaseUnavailable` for whatever the driver raises within."""
        try:
            yield
        except DBAPIError as error:
            raise DatabaseUnavailable(f"the database {self.name} cannot be used now: {words(error)}") from error
        except TimeoutError as error:
            raise DatabaseUnavailable(f"the database {self.name} is asked too much at once; ask again") from error

    def close(self) -> None:
        """Give all back."""
        self.writers.dispose()
        self.readers.dispose()


def words(error: DBAPIError) -> str:
    """What the driver said, on one line, without the statement."""
    said = getattr(getattr(error.orig, "diag", None), "message_primary", None)  # PostgreSQL's own sentence
    return " ".join(str(said or error.orig).split()).rstrip(".")
