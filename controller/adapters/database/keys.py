"""KeyStore on the tables of a SqlStore, and under its term."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, literal, tuple_
from sqlmodel import Session, col, delete, insert, select

from controller.adapters.database.rows import iso
from controller.adapters.database.store import SqlStore
from controller.adapters.database.tables import ApiKeyRow, ApiKeysVersionRow, ApiKeyUsageRow
from controller.core.access import EVERY_KEY, ApiKey, KeyId, KeySearch
from controller.core.quota import DayUsage

_TABLE = ApiKeyRow.__table__  # type: ignore[attr-defined]
_KEPT = timedelta(days=92)  # of the usage, before its newest day


class SqlKeys:
    """See `KeyStore`."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def list_keys(self, since: int = 0) -> tuple[ApiKey, ...]:
        """See `KeyStore.list_keys`. Columns and not objects: there may be a hundred thousand."""
        with self._store.reading() as session:
            return tuple(_read(row) for row in session.execute(select(_TABLE).where(_TABLE.c.changed > since)))

    def find_keys(
        self, *, limit: int, of: str | None = None, ids: Collection[KeyId] | None = None, fits: KeySearch = EVERY_KEY
    ) -> tuple[ApiKey, ...]:
        """See `KeyStore.find_keys`."""
        query = select(_TABLE).order_by(_TABLE.c.created_at.desc(), _TABLE.c.id.desc()).limit(limit)
        query = query.where(*_fitting(fits))
        if of is not None:
            query = query.where((_TABLE.c.id == of) | (_TABLE.c.name == of))
        if ids is not None:
            query = query.where(_TABLE.c.id.in_(ids))
        with self._store.reading() as session:
            return tuple(_read(row) for row in session.execute(query))

    def keys_version(self) -> int:
        """See `KeyStore.keys_version`."""
        with self._store.reading() as session:
            return session.exec(select(ApiKeysVersionRow.version)).first() or 0

    def add_key(self, key: ApiKey) -> None:
        """See `KeyStore.add_key`."""
        with self._store.leading() as session:
            session.add(_row(key, _next_version(session)))

    def change_key(self, key: KeyId, change: Callable[[ApiKey], Sequence[ApiKey]]) -> tuple[ApiKey, ...]:
        """See `KeyStore.change_key`. The lead is locked meanwhile: nobody changes the key in between."""
        with self._store.leading() as session:
            row = session.get(ApiKeyRow, key)
            if row is None:
                return ()
            before = _read(row)
            after = tuple(change(before))
            changed = [item for item in after if item != before]
            version = _next_version(session) if changed else 0
            for item in changed:
                if item.id == key:
                    session.merge(_row(item, version))
                else:
                    session.add(_row(item, version))
        return after

    def usage(self, since: date) -> tuple[DayUsage, ...]:
        """See `KeyStore.usage`."""
        query = select(ApiKeyUsageRow).where(col(ApiKeyUsageRow.day) >= since.isoformat())
        with self._store.reading() as session:
            rows = session.exec(query.order_by(col(ApiKeyUsageRow.day), col(ApiKeyUsageRow.key)))
            return tuple(_read_usage(row) for row in rows)

    def save_usage(self, totals: Sequence[DayUsage]) -> None:
        """See `KeyStore.save_usage`."""
        if not totals:
            return
        same = (col(ApiKeyUsageRow.day) == bindparam("of_day")) & (col(ApiKeyUsageRow.key) == bindparam("of_key"))
        oldest = max(total.day for total in totals) - _KEPT
        with self._store.leading() as session:
            # On the connection: these are many rows for one statement each.
            connection = session.connection()
            gone = [{"of_day": total.day.isoformat(), "of_key": total.key} for total in totals]
            connection.execute(delete(ApiKeyUsageRow).where(same), gone)
            connection.execute(insert(ApiKeyUsageRow), [_usage_values(total) for total in totals])
            session.exec(delete(ApiKeyUsageRow).where(col(ApiKeyUsageRow.day) < oldest.isoformat()))


def _fitting(fits: KeySearch) -> Iterator[ColumnElement[bool]]:
    row = _TABLE.c
    if fits.text:
        yield row.name.icontains(fits.text, autoescape=True) | row.id.icontains(fits.text, autoescape=True)
    if fits.plan is not None:
        yield row.plan == fits.plan
    if fits.usable_at is not None:
        yield row.revoked_at.is_(None) & (row.expires_at.is_(None) | (row.expires_at > iso(fits.usable_at)))
    if fits.before is not None:
        its = select(row.created_at).where(row.id == fits.before).scalar_subquery()
        yield tuple_(row.created_at, row.id) < tuple_(its, literal(fits.before))


def _next_version(session: Session) -> int:
    """The keys are others now."""
    row = session.get(ApiKeysVersionRow, 1) or ApiKeysVersionRow()
    row.version += 1
    session.add(row)
    return row.version


def _row(key: ApiKey, version: int) -> ApiKeyRow:
    return ApiKeyRow(
        id=key.id,
        changed=version,
        name=key.name,
        digest=key.digest,
        plan=key.plan,
        models=",".join(key.models),
        created_at=iso(key.created_at),
        expires_at=_iso_or_none(key.expires_at),
        revoked_at=_iso_or_none(key.revoked_at),
        replaced_by=key.replaced_by,
    )


def _read(row: ApiKeyRow | Row[Any]) -> ApiKey:
    return ApiKey(
        id=KeyId(row.id),
        name=row.name,
        digest=row.digest,
        plan=row.plan,
        models=tuple(row.models.split(",")) if row.models else (),
        created_at=datetime.fromisoformat(row.created_at),
        expires_at=_time_or_none(row.expires_at),
        revoked_at=_time_or_none(row.revoked_at),
        replaced_by=KeyId(row.replaced_by) if row.replaced_by else None,
    )


def _iso_or_none(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _usage_values(total: DayUsage) -> dict[str, Any]:
    return {
        "day": total.day.isoformat(),
        "key": total.key,
        "tokens": total.tokens,
        "counter": total.counter,
        "at": iso(total.at),
    }


def _read_usage(row: ApiKeyUsageRow) -> DayUsage:
    day, at = date.fromisoformat(row.day), datetime.fromisoformat(row.at)
    return DayUsage(KeyId(row.key), day, row.tokens, row.counter, at)
