"""How much of the audit log is kept: the same from memory, from SQLite and from PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.database import SqlStore
from controller.adapters.database.people import SqlPeople
from controller.core.audit import Kept
from controller.core.people import AuditFilter
from tests.contract.databases import Database, database_of
from tests.contract.test_people import ADA, entry


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    yield from database_of(request, tmp_path)


def test_a_flood_of_refusals_pushes_out_nothing_that_was_done(database: Database) -> None:
    people = database.people(database.store(), Kept(done=5, refused=3, look_every=10))

    people.write_audit([entry(number) for number in range(6)])
    people.write_audit([entry(number, refused=True) for number in range(34)])

    done = people.audit(AuditFilter(refused=False), limit=99)
    assert [found.subject for found in done] == [f"node/gpu-{number}" for number in (5, 4, 3, 2, 1)]
    assert len(people.audit(AuditFilter(refused=True), limit=99)) == 3


OWN = [
    {"action": "session end", "subject": "user/eve"},
    {"action": "token create", "subject": "token/tok_1"},
    {"action": "login", "subject": "user/eve"},
]


def test_what_one_does_about_nobody_else_pushes_out_only_what_one_did_so(database: Database) -> None:
    people = database.people(database.store(), Kept(done=3, own=7, own_of_one=4, look_every=10))
    others = [
        entry(1),
        entry(2, action="session end", subject="user/eve"),  # by ada
        entry(3, action="token remove", subject="user/eve/token/tok_1"),
        entry(4, action="login", subject="user/ada"),
    ]

    people.write_audit(others)
    for number in range(36):
        people.write_audit([entry(number, name="eve", **OWN[number % 3])])

    found = people.audit(AuditFilter(), limit=99)
    assert [replace(one, id=0) for one in found[::-1] if one.name == "ada"] == others
    assert [one.at for one in found if one.name == "eve"] == [entry(number).at for number in (35, 34, 33, 32)]


def test_what_all_do_about_themselves_is_bounded(database: Database) -> None:
    people = database.people(database.store(), Kept(done=9, own=3, own_of_one=2, look_every=1))

    people.write_audit([entry(0)])
    for number in range(9):
        people.write_audit([entry(number, name=f"p{number % 3}", action="login", subject=f"user/p{number % 3}")])

    assert [one.name for one in people.audit(AuditFilter(), limit=99)] == ["p2", "p1", "p0", "ada"]


def test_nobody_else_reads_the_passwords(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    path.touch(0o644)
    store = SqlStore(path)
    SqlPeople(store).save_user(ADA)

    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 3
    store.close()


def test_what_is_older_than_a_year_is_forgotten(database: Database) -> None:
    people = database.people(database.store(), Kept(look_every=1))
    old = entry(1)

    people.write_audit([old])
    people.write_audit([replace(entry(2), at=old.at + timedelta(days=367))])

    assert [found.subject for found in people.audit(AuditFilter(), limit=9)] == ["node/gpu-2"]
