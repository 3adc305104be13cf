"""CounterStore on the tables of a SqlStore, and under its term."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import col, delete, insert, select

from controller.adapters.database.rows import iso
from controller.adapters.database.store import SqlStore
from controller.adapters.database.tables import ApiKeyCounterRow
from controller.core.access import KeyId
from controller.core.streams import Stream

_KEPT = timedelta(days=2)  # a gateway that is away for longer is a new one when it is back


class SqlCounters:
    """See `CounterStore`. `place` is the controller's: another one may know other gateways by the same addresses."""

    def __init__(self, store: SqlStore, place: str) -> None:
        self._store, self._place = store, place

    def counters(self) -> dict[Stream, float]:
        """See `CounterStore.counters`."""
        query = select(ApiKeyCounterRow).where(col(ApiKeyCounterRow.place) == self._place)
        with self._store.reading() as session:
            return {Stream(row.gateway, KeyId(row.key)): row.counter for row in session.exec(query)}

    def save_counters(self, counters: Mapping[Stream, float], at: datetime) -> None:
        """See `CounterStore.save_counters`."""
        if not counters:
            return
        table = ApiKeyCounterRow
        same = (
            (col(table.place) == bindparam("of_place"))
            & (col(table.gateway) == bindparam("of_gateway"))
            & (col(table.key) == bindparam("of_key"))
        )
        rows = [
            {"place": self._place, "gateway": stream.gateway, "key": stream.key, "counter": value, "at": iso(at)}
            for stream, value in counters.items()
        ]
        gone = [{f"of_{name}": row[name] for name in ("place", "gateway", "key")} for row in rows]
        with self._store.leading() as session:
            # On the connection: these are many rows for one statement each.
            connection = session.connection()
            connection.execute(delete(table).where(same), gone)
            connection.execute(insert(table), rows)
            session.exec(delete(table).where(col(table.at) < iso(at - _KEPT)))
