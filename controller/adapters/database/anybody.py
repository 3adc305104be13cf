"""Whether anybody at all may log in, asked before a controller opens the database, and without touching it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from controller.adapters.database.errors import DatabaseUnavailable, DatabaseUnusable
from controller.adapters.database.postgres import connected
from controller.adapters.database.rows import iso
from controller.adapters.database.tables import missing_since

_QUESTIONS = {
    "people": "SELECT 1 FROM people LIMIT 1",
    "people_invitations": "SELECT 1 FROM people_invitations WHERE expires_at > {} LIMIT 1",
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BUSY_S = 2.0
_SETTINGS = "-c statement_timeout=2000 -c default_transaction_read_only=on"


def anybody(where: Path | str, now: datetime) -> bool:
    """Whether there is a user, or an invitation of one that can still be accepted.

    `where` is as for `SqlStore`. A database that is not there, or knows of no users yet, has none. Blocks for a few
    seconds at most.

    Raises:
        DatabaseUnavailable: it gives no answer; nothing of the URL is told. `DatabaseUnusable`: a file that can give
            none, also later.
    """
    moment = iso(now)
    try:
        return _in_file(where, moment) if isinstance(where, Path) else _on_server(where, moment)
    except (sqlite3.Error, psycopg.Error) as error:
        later = isinstance(error, psycopg.Error) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
        kind = DatabaseUnavailable if later else DatabaseUnusable
        raise kind(f"the database does not say who its users are: {type(error).__name__}") from error


def _in_file(path: Path, moment: str) -> bool:
    if not path.exists():
        return False
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S)) as database:
        _require_usable(database)
        known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        asked = [question.format(":moment") for table, question in _QUESTIONS.items() if table in known]
        return any(database.execute(question, {"moment": moment}).fetchone() for question in asked)


def _require_usable(database: sqlite3.Connection) -> None:
    """As whoever opens it for writing looks: users in a file that is put aside then are none."""
    ((version,),) = database.execute("PRAGMA user_version")
    ((tables,),) = database.execute("SELECT count(*) FROM sqlite_master")
    ((checked,),) = database.execute("PRAGMA quick_check(1)")
    if checked != "ok" or (tables and missing_since(version) is None):
        raise sqlite3.DatabaseError("damaged, or of another version")


def _on_server(url: str, moment: str) -> bool:
    with closing(connected(url, _SETTINGS)) as database:
        for table, question in _QUESTIONS.items():
            known = database.execute("SELECT to_regclass(%s)", (table,)).fetchone()
            if known is None or known[0] is None:
                continue
            if database.execute(sql.SQL(question).format(sql.Literal(moment))).fetchone() is not None:
                return True
    return False
