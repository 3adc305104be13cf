"""The tables. `rows.py` turns them into values and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Index, Text, TypeDecorator, UniqueConstraint, inspect, text
from sqlmodel import Field, SQLModel

SCHEMA = 6  # grows with every change of the tables
# What a version has more than the one before it, where that is all that changed: it is added in place.
ADDED = {
    4: ("api_keys", "api_keys_version", "api_key_usage", "api_key_counters"),
    5: ("alarms", "gpus"),
    6: ("overrides", "drills", "people", "people_sessions", "people_tokens", "people_invitations", "audit"),
}
# Columns that came with those, each of which may be empty.
_NEW_COLUMNS = (("decisions", "gpu"),)
NEW_INDICES = ("decisions_by_time", "decisions_by_pool_and_time", "events_by_time")


def missing_since(version: int) -> tuple[str, ...] | None:
    """The tables that a database of an older version lacks; None where it differs in more than that."""
    newer = range(version + 1, SCHEMA + 1)
    if version < 1 or version > SCHEMA or not all(number in ADDED for number in newer):
        return None
    return tuple(name for number in newer for name in ADDED[number])


def add_tables(connection: Connection, names: Sequence[str]) -> None:
    """Make these beside the others, and give those the columns that they lack: then all are of this version."""
    tables = SQLModel.metadata.tables
    SQLModel.metadata.create_all(connection, [tables[name] for name in names], checkfirst=False)
    for table, column in _NEW_COLUMNS:
        if column not in [known["name"] for known in inspect(connection).get_columns(table)]:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR"))
    for index in (index for table in tables.values() for index in table.indexes if index.name in NEW_INDICES):
        index.create(connection, checkfirst=True)
    connection.execute(tables[str(LeadRow.__tablename__)].update().values(version=SCHEMA))


class Words(TypeDecorator[str]):
    """A text from outside: what no database can store in it is shown as `?` or U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """PostgreSQL stores no NUL, and neither database half a surrogate pair."""
        if value is None:
            return None
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


class LeadRow(SQLModel, table=True):
    """The newest term and who has the lead, in the table's only row. Locking it is what fences a write."""

    __tablename__ = "stoker_lead"
    id: int = Field(default=1, primary_key=True)
    version: int = SCHEMA  # of all tables; SQLite also says it in its header
    term: int = 0
    run: str = ""  # the `stoker up` that the memory belongs to
    holder: str = ""  # of the lease; empty: nobody, or the lease is no row
    until: float = 0.0  # the lease ends then, in seconds since the epoch by the database's own clock


class PoolRow(SQLModel, table=True):
    """What is remembered of a pool, as JSON without what has its default: a new field needs no other table."""

    __tablename__ = "pools"
    pool: str = Field(primary_key=True)
    body: str


class ReplicaRow(SQLModel, table=True):
    """What is remembered of a replica, likewise."""

    __tablename__ = "replicas"
    replica: str = Field(primary_key=True)
    body: str


class GpuRow(SQLModel, table=True):
    """What is remembered of a GPU, likewise."""

    __tablename__ = "gpus"
    uuid: str = Field(primary_key=True)
    body: str = Field(sa_type=Words)


class OrderRow(SQLModel, table=True):
    """A standing order."""

    __tablename__ = "orders"
    __table_args__ = (UniqueConstraint("kind", "subject"),)
    id: int | None = Field(default=None, primary_key=True)
    kind: str
    subject: str = Field(sa_type=Words)
    at: str
    why: str = Field(sa_type=Words)


class SpecRow(SQLModel, table=True):
    """What a spec's hash stands for."""

    __tablename__ = "specs"
    __table_args__ = (UniqueConstraint("pool", "spec_hash"),)
    id: int | None = Field(default=None, primary_key=True)
    pool: str
    spec_hash: str
    body: str


class LastWordsRow(SQLModel, table=True):
    """What a replica that failed wrote last."""

    __tablename__ = "last_words"
    id: int | None = Field(default=None, primary_key=True)
    at: str
    pool: str = Field(index=True)
    replica: str
    reason: str = Field(sa_type=Words)
    text: str = Field(sa_type=Words)


class DecisionRow(SQLModel, table=True):
    """One line of the ledger."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index("decisions_by_time", "at", "id"),
        Index("decisions_by_pool_and_time", "pool", "at", "id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    at: str
    tick: int
    term: int
    kind: str
    pool: str = Field(index=True)
    replica: str | None
    node: str | None
    gpu: str | None = None
    spec_hash: str | None
    current: int | None
    desired: int | None
    reasons: str
    outcome: str | None = Field(default=None, sa_type=Words)


class EvaluationRow(SQLModel, table=True):
    """One evaluation of a pool, as JSON; the other columns are there to find it."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("evaluations_by_pool_and_time", "pool", "at"),)
    id: int | None = Field(default=None, primary_key=True)
    at: str
    tick: int
    term: int
    pool: str
    changed: bool
    body: str


class EventRow(SQLModel, table=True):
    """One thing that happened."""

    __tablename__ = "events"
    __table_args__ = (Index("events_by_time", "at", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    at: str
    tick: int
    term: int
    event: str
    subject: str = Field(sa_type=Words)
    reason: str
    message: str = Field(sa_type=Words)
    numbers: str


class ApiKeyRow(SQLModel, table=True):
    """A key, without its secret. `models` are joined by commas, and `changed` is the version with its last change."""

    __tablename__ = "api_keys"
    id: str = Field(primary_key=True)
    changed: int = Field(index=True)
    name: str = Field(sa_type=Words)
    digest: str = Field(unique=True)
    plan: str | None = None
    models: str = ""
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    replaced_by: str | None = None


class ApiKeysVersionRow(SQLModel, table=True):
    """Grows with each change of the keys, in the table's only row."""

    __tablename__ = "api_keys_version"
    id: int = Field(default=1, primary_key=True)
    version: int = 0


class ApiKeyUsageRow(SQLModel, table=True):
    """What a key used on a day. The day comes first: old ones are found by it."""

    __tablename__ = "api_key_usage"
    day: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    tokens: float
    counter: float
    at: str


class ApiKeyCounterRow(SQLModel, table=True):
    """Up to where a gateway's counter of a key was counted. `place`: whose Prometheus knows it by that address."""

    __tablename__ = "api_key_counters"
    place: str = Field(primary_key=True)
    gateway: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    counter: float
    at: str


class AlarmRow(SQLModel, table=True):
    """An alarm that somebody is to be told of, or was, as JSON. `key`: its name and its labels."""

    __tablename__ = "alarms"
    key: str = Field(primary_key=True)
    body: str = Field(sa_type=Words)


class OverrideRow(SQLModel, table=True):
    """What people want of a pool while it runs, as JSON."""

    __tablename__ = "overrides"
    pool: str = Field(primary_key=True)
    body: str = Field(sa_type=Words)


class DrillRow(SQLModel, table=True):
    """A drill as JSON, and apart from it its whole result, which is long."""

    __tablename__ = "drills"
    id: str = Field(primary_key=True)
    at: str = Field(index=True)
    body: str = Field(sa_type=Words)
    result: str = Field(default="", sa_type=Words)
