"""PostgreSQL: one database for several controllers.

Nothing of it may keep a tick waiting: connecting and each transaction have a deadline on this side, because a server
that hangs, or a network that swallows, never answers at all.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, event, inspect, text
from sqlalchemy.exc import InternalError, ProgrammingError
from sqlmodel import SQLModel, create_engine

from controller.adapters.database.connections import Connections, words
from controller.adapters.database.errors import DatabaseRefused, DatabaseUnavailable
from controller.adapters.database.tables import SCHEMA, LeadRow, add_tables, missing_since

# Of the port's 5 s: for a connection of the pool, for a new one, and for a whole transaction.
_POOL_S, _CONNECT_S, _TRANSACTION_S = 0.4, 2.0, 2.5
# The server's own deadlines, a little earlier: its words say more, and it lets go of the locks of a vanished client.
# And whatever its default is, what it said yes to outlives it: a term that was given out must not come again.
_SETTINGS = " ".join(
    f"-c {setting}"
    for setting in (
        "statement_timeout=2300",
        "lock_timeout=2000",
        "idle_in_transaction_session_timeout=5000",
        "synchronous_commit=on",
    )
)
_READ_ONLY = "-c default_transaction_read_only=on"
_ONLY_READS = "25006"
_PREPARING = 7_205_341  # the advisory lock of controllers that begin at the same time
_RIGHTS = text("""
    SELECT min(relname) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(:names) AND NOT CASE relkind
        WHEN 'S' THEN has_sequence_privilege(oid, 'USAGE')
        ELSE has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE') END
""")


def open_postgres(url: str) -> Connections:
    """Connect, and make the tables that are not there. Blocks for at most 5 s.

    Raises:
        DatabaseRefused: no such URL, a read-only server, tables of another version or program, a missing right.
        DatabaseUnavailable: no answer.
    """
    name = _name(url)
    connections = Connections(name, _engine(url, _SETTINGS, name), _engine(url, f"{_SETTINGS} {_READ_ONLY}", name))
    try:
        with connections.asked(), connections.writers.begin() as connection:
            _prepare(connection, name)
    except DatabaseUnavailable as error:
        connections.close()
        fault = error.__cause__
        if isinstance(fault, ProgrammingError | InternalError):  # it answered: waiting is no use
            raise DatabaseRefused(f"the database {name} refused: {words(fault)}; {_WANTED}") from error
        raise
    except DatabaseRefused:
        connections.close()
        raise
    # Each read is one statement: it needs no transaction around it.
    readers = connections.readers.execution_options(isolation_level="AUTOCOMMIT")
    return Connections(name, connections.writers, readers)


_WANTED = "give its user the right to make and to write tables there"


def _name(url: str) -> str:
    """`user@host:port/database`, as far as the URL says. The driver's words about a bad URL may quote its password."""
    try:
        found = conninfo_to_dict(url) if url.startswith(("postgresql://", "postgres://")) else None
    except psycopg.ProgrammingError:
        found = None
    if found is None:
        raise DatabaseRefused("that is no database's URL; postgresql://USER:PASSWORD@HOST:PORT/NAME would be right")
    user, host = found.get("user"), found.get("host") or found.get("hostaddr") or "localhost"
    place = f"{host}:{found['port']}" if found.get("port") else str(host)
    return f"{user}@{place}/{found.get('dbname') or user}" if user else f"{place}/{found.get('dbname') or ''}"


def _prepare(connection: Connection, name: str) -> None:
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
        raise DatabaseRefused(f"the database {name} can only be read; name the server that takes writes")
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PREPARING})
    tables = SQLModel.metadata.tables
    lead, found = tables[str(LeadRow.__tablename__)], set(inspect(connection).get_table_names())
    if lead.name not in found:
        if strange := sorted(found & set(tables)):
            raise DatabaseRefused(
                f"the database {name} has a table {strange[0]} of another program; give Stoker a database of its own"
            )
        SQLModel.metadata.create_all(connection, checkfirst=False)  # not those of another schema of the path
        connection.execute(lead.insert().values(**LeadRow().model_dump()))
    names = [*tables, *(f"{table}_id_seq" for table in tables)]
    if denied := connection.execute(_RIGHTS, {"names": names}).scalar_one():
        raise DatabaseRefused(f"the database {name} does not let its user read and write {denied}; {_WANTED}")
    _upgrade(connection, name)


def _upgrade(connection: Connection, name: str) -> None:
    """Add what an older version lacks. A controller of that version, which may lead, has no use for it and goes on."""
    version = connection.execute(text(f"SELECT max(version) FROM {LeadRow.__tablename__}")).scalar_one()  # noqa: S608
    missing = missing_since(version)
    if missing is None:
        raise DatabaseRefused(
            f"the database {name} has tables of version {version}, and this Stoker needs {SCHEMA}; "
            "stop every controller on it and drop its tables, or name another database"
        )
    if missing:
        add_tables(connection, missing)


def _engine(url: str, settings: str, name: str) -> Engine:
    engine = create_engine(
        "postgresql+psycopg://",  # the driver reads the URL itself: it knows of several hosts, and no log shows it
        creator=lambda: connected(url, settings),
        pool_size=4,
        max_overflow=8,
        pool_timeout=_POOL_S,
        use_native_hstore=False,
    )
    event.listen(engine, "checkout", _begin_deadline)
    event.listen(engine, "checkin", _end_deadline)
    event.listen(engine, "invalidate", _end_deadline)

    @event.listens_for(engine, "handle_error")
    def _tell(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) == _ONLY_READS:
            context.is_disconnect = True  # it was the primary server: the next connection finds the one that is
        deadline = context.connection.info.get("deadline") if context.connection is not None else None
        if deadline is not None and deadline.over:
            raise DatabaseUnavailable(f"the database {name} gave no answer within {_TRANSACTION_S:g} s")

    return engine


def connected(url: str, settings: str) -> psycopg.Connection[Any]:
    """Looking a name up cannot be cut off, and each host has its own time-out: so another thread connects."""
    made: Future[psycopg.Connection[Any]] = Future()
    own = conninfo_to_dict(url).get("options") or ""
    options = {"options": f"{own} {settings}".strip(), "connect_timeout": 2, "fallback_application_name": "stoker"}

    def connect() -> None:
        try:
            made.set_result(psycopg.connect(url, prepare_threshold=None, **options))  # type: ignore[arg-type]
        except (psycopg.Error, ValueError) as error:
            made.set_exception(error)

    threading.Thread(target=connect, name="database-connect", daemon=True).start()
    try:
        return made.result(_CONNECT_S)
    except Late:
        made.add_done_callback(_close_late)
        raise psycopg.OperationalError(f"no connection within {_CONNECT_S:g} s") from None


def _close_late(made: Future[psycopg.Connection[Any]]) -> None:
    if made.exception() is None:
        made.result().close()


class _Deadline:
    """Shuts a connection's socket down when its time is over; whoever waits on it gets an error at once."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.over = False
        # A duplicate: the number itself may be another file's by then.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._lock = threading.Lock()
        self._timer = threading.Timer(_TRANSACTION_S, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Nothing is cut from now on."""
        self._timer.cancel()
        with self._lock:
            self._socket.close()

    def _cut(self) -> None:
        with self._lock:
            if self._socket.fileno() >= 0:
                self.over = True
                with contextlib.suppress(OSError):  # it was lost just now
                    self._socket.shutdown(socket.SHUT_RDWR)


def _begin_deadline(connection: psycopg.Connection[Any], record: Any, _: Any) -> None:
    record.info["deadline"] = _Deadline(connection)


def _end_deadline(_: Any, record: Any, *__: Any) -> None:
    deadline = record.info.pop("deadline", None)
    if deadline is not None:
        deadline.end()
