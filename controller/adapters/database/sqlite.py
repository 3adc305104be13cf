"""SQLite: one file, one machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlmodel import SQLModel, create_engine

from controller.adapters.database.connections import Connections, words
from controller.adapters.database.errors import DatabaseUnavailable
from controller.adapters.database.tables import SCHEMA, LeadRow, add_tables, missing_since

_BUSY_S = 3.5  # how long a lock of another process is waited for, and
_POOL_S = 1.0  # a connection of ours: together less than the port's 5 s


def open_sqlite(path: Path) -> Connections:
    """Open the file, or begin one.

    A file that is no database, or one of another version (but where all that it lacks are new tables), is put aside
    and a new one begun: the containers are the truth about what exists.

    Raises:
        DatabaseUnavailable: locked, no space, no permission; the file is as it was.
    """
    aside: Path | None = None
    try:
        try:
            writers = _open(path)
        except OperationalError:
            raise  # not the file's contents
        except DatabaseError:
            aside = path.with_suffix(".old")
            _put_aside(path, aside)
            writers = _open(path)
    except OperationalError as error:
        raise DatabaseUnavailable(f"the database {path} cannot be opened: {words(error)}") from error
    return Connections(str(path), writers, _connect(path, "BEGIN", "PRAGMA query_only=ON"), aside)


def _open(path: Path) -> Engine:
    """The writer's connections. The term is read and the rows are written under one lock (IMMEDIATE), so that nobody
    takes the lead in between; NORMAL loses no decision when the process dies, and costs no fsync for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # SQLite says what is wrong with it
        path.touch()
        path.chmod(0o600)  # passwords of people are in it, if only argon2's texts; its log takes after it
    engine = _connect(path, "BEGIN IMMEDIATE", "PRAGMA synchronous=NORMAL")
    try:
        with engine.begin() as connection:
            _prepare(connection)
    except DatabaseError:
        engine.dispose()
        raise
    return engine


def _prepare(connection: Connection) -> None:
    """Raises `DatabaseError` for damage and for another version; else all tables are there afterwards.

    Those that an older version lacks are added, where that is all: its ledger and its keys are not lost.
    """
    found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
        raise DatabaseError("its pages are damaged", None, ValueError())
    if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        missing = missing_since(found)
        if missing is None:
            raise DatabaseError(f"version {found}, and this is {SCHEMA}", None, ValueError())
        if not missing:
            return
        add_tables(connection, missing)
    else:
        SQLModel.metadata.create_all(connection, checkfirst=False)
        connection.execute(SQLModel.metadata.tables[LeadRow.__tablename__].insert().values(**LeadRow().model_dump()))
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")


def _connect(path: Path, begin: str, setting: str) -> Engine:
    options = {"timeout": _BUSY_S, "isolation_level": None}
    engine = create_engine(f"sqlite:///{path}", connect_args=options, pool_timeout=_POOL_S)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        # WAL: a reader sees the state before a write and does not wait for it.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(setting)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _put_aside(path: Path, aside: Path) -> None:
    """With its log: the next database must not replay it."""
    for tail in ("", "-wal", "-shm"):
        source = path.with_name(path.name + tail)
        if source.exists():
            os.replace(source, aside.with_name(aside.name + tail))
