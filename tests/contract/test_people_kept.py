"""How much of the audit log is kept, on the real tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.database import SqlStore
from controller.adapters.database import people as adapter
from controller.adapters.database.people import SqlPeople
from controller.core.people import AuditFilter
from tests.contract.databases import Database, database_of
from tests.contract.test_people import ADA, entry


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    yield from database_of(request, tmp_path)


def test_a_flood_of_refusals_pushes_out_nothing_that_was_done(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_KEEP", {False: 5, True: 3})
    monkeypatch.setattr(adapter, "_PRUNE_EVERY", 10)
    people = database.people(database.store())

    people.write_audit([entry(number) for number in range(6)])
    people.write_audit([entry(number, refused=True) for number in range(34)])

    done = people.audit(AuditFilter(refused=False), limit=99)
    assert [found.subject for found in done] == [f"node/gpu-{number}" for number in (5, 4, 3, 2, 1)]
    assert len(people.audit(AuditFilter(refused=True), limit=99)) == 3


def test_nobody_else_reads_the_passwords(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    path.touch(0o644)
    store = SqlStore(path)
    SqlPeople(store).save_user(ADA)

    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 3
    store.close()


def test_what_is_older_than_a_year_is_forgotten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_PRUNE_EVERY", 1)
    people = database.people(database.store())
    old = entry(1)

    people.write_audit([old])
    people.write_audit([replace(entry(2), at=old.at + timedelta(days=367))])

    assert [found.subject for found in people.audit(AuditFilter(), limit=9)] == ["node/gpu-2"]
