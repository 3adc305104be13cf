"""AlarmStore on a table of a SqlStore, and under its term."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from pydantic import TypeAdapter
from sqlmodel import col, delete, select

from controller.adapters.database.store import SqlStore
from controller.adapters.database.tables import AlarmRow
from controller.core.alarm import Alarm, Key

_ALARM = TypeAdapter(Alarm)


class SqlAlarms:
    """See `AlarmStore`."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def alarms(self) -> tuple[Alarm, ...]:
        """See `AlarmStore.alarms`."""
        with self._store.reading() as session:
            return tuple(_ALARM.validate_json(row.body) for row in session.exec(select(AlarmRow)))

    def save_alarms(self, changed: Iterable[Alarm], gone: Collection[Key]) -> None:
        """See `AlarmStore.save_alarms`."""
        rows = [AlarmRow(key=_text(alarm.key), body=_ALARM.dump_json(alarm).decode()) for alarm in changed]
        old = [row.key for row in rows] + [_text(key) for key in gone]
        if not old:
            return
        with self._store.leading() as session:
            session.exec(delete(AlarmRow).where(col(AlarmRow.key).in_(old)))
            session.add_all(rows)


def _text(key: Key) -> str:
    return json.dumps(key, ensure_ascii=True)
