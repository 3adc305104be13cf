"""OverrideStore and DrillStore on tables of a SqlStore, and under its term."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import TypeAdapter
from sqlmodel import col, delete, select

from controller.adapters.database.rows import iso
from controller.adapters.database.store import SqlStore
from controller.adapters.database.tables import DrillRow, OverrideRow
from controller.core.drilled import Drilled
from controller.core.model import PoolName
from controller.core.overrides import Override

_OVERRIDE, _DRILL = TypeAdapter(Override), TypeAdapter(Drilled)
_KEEP_DRILLS = 100


class SqlOverrides:
    """See `OverrideStore`."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def overrides(self) -> tuple[Override, ...]:
        """See `OverrideStore.overrides`."""
        query = select(OverrideRow.body).order_by(col(OverrideRow.pool))
        with self._store.reading() as session:
            return tuple(_OVERRIDE.validate_json(body) for body in session.exec(query))

    def change_override(self, pool: PoolName, change: Callable[[Override], Override]) -> Override:
        """See `OverrideStore.change_override`. The lead is locked meanwhile: nobody changes it in between."""
        with self._store.leading() as session:
            row = session.get(OverrideRow, pool)
            before = _OVERRIDE.validate_json(row.body) if row is not None else Override(pool)
            after = change(before)
            if not after.empty:
                session.merge(OverrideRow(pool=pool, body=_OVERRIDE.dump_json(after).decode()))
            elif row is not None:
                session.delete(row)
        return after


class SqlDrills:
    """See `DrillStore`."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def drills(self, *, limit: int) -> tuple[Drilled, ...]:
        """See `DrillStore.drills`."""
        query = select(DrillRow.body).order_by(col(DrillRow.at).desc(), col(DrillRow.id).desc()).limit(limit)
        with self._store.reading() as session:
            return tuple(_DRILL.validate_json(body) for body in session.exec(query))

    def drill(self, name: str) -> tuple[Drilled, str] | None:
        """See `DrillStore.drill`."""
        query = select(DrillRow).where(DrillRow.id == name)
        with self._store.reading() as session:
            row = session.exec(query).first()
            return None if row is None else (_DRILL.validate_json(row.body), row.result)

    def change_drill(self, name: str, change: Callable[[Drilled | None], Drilled], result: str = "") -> Drilled:
        """See `DrillStore.change_drill`."""
        newest = select(DrillRow.id).order_by(col(DrillRow.at).desc(), col(DrillRow.id).desc()).limit(_KEEP_DRILLS)
        with self._store.leading() as session:
            row = session.get(DrillRow, name)
            after = change(_DRILL.validate_json(row.body) if row is not None else None)
            kept = result or (row.result if row is not None else "")
            session.merge(DrillRow(id=name, at=iso(after.at), body=_DRILL.dump_json(after).decode(), result=kept))
            if row is None:
                session.flush()
                session.exec(delete(DrillRow).where(col(DrillRow.id).not_in(newest)))
        return after
