"""CounterStore: what each gateway counted of each key, in SQLite and in PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.database.counters import SqlCounters
from controller.adapters.database.tables import ADDED
from controller.core.access import KeyId
from controller.core.errors import LostLease, TransientError
from controller.core.streams import Stream
from tests.contract.databases import Database, Sqlite, database_of
from tests.fakes.clock import START

ONE, TWO = Stream("10.0.0.1:9401", KeyId("key_1")), Stream("10.0.0.2:9401", KeyId("key_1"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    yield from database_of(request, tmp_path)


def test_they_come_back_and_are_replaced(database: Database, store: Any) -> None:
    counters = SqlCounters(store, "here")
    assert counters.counters() == {}
    counters.save_counters({ONE: 1.5, TWO: 2}, START)
    counters.save_counters({TWO: 3}, START + timedelta(seconds=10))
    counters.save_counters({}, START)

    assert counters.counters() == {ONE: 1.5, TWO: 3}
    assert SqlCounters(database.store(), "here").counters() == {ONE: 1.5, TWO: 3}


def test_each_controller_has_its_own(store: Any) -> None:
    """Two may know two gateways by one address, each its own."""
    here, there = SqlCounters(store, "here"), SqlCounters(store, "there")
    here.save_counters({ONE: 1}, START)
    there.save_counters({ONE: 9}, START)

    assert (here.counters(), there.counters()) == ({ONE: 1}, {ONE: 9})


def test_those_of_a_gateway_that_is_gone_for_days_are_forgotten(store: Any) -> None:
    counters = SqlCounters(store, "here")
    counters.save_counters({ONE: 1}, START)
    counters.save_counters({TWO: 1}, START + timedelta(days=2))
    assert set(counters.counters()) == {ONE, TWO}
    counters.save_counters({TWO: 1}, START + timedelta(days=2, seconds=1))

    assert set(counters.counters()) == {TWO}


def test_who_has_lost_the_lead_writes_nothing(database: Database, store: Any) -> None:
    store.take_term()
    counters = SqlCounters(store, "here")
    counters.save_counters({ONE: 1}, START)
    database.store().take_term()

    with pytest.raises(LostLease):
        counters.save_counters({ONE: 2}, START)
    assert counters.counters() == {ONE: 1}


def test_a_database_that_does_not_answer_is_a_passing_thing(database: Database, store: Any) -> None:
    with database.gone(), pytest.raises(TransientError):
        SqlCounters(store, "here").save_counters({ONE: 1}, START)


def test_a_ledger_of_the_version_before_them_gets_their_table(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    first = Sqlite(path)
    first.store()
    first.close()
    with closing(sqlite3.connect(path)) as raw, raw:
        for name in chain(*ADDED.values()):
            raw.execute(f"DROP TABLE {name}")
        raw.execute("PRAGMA user_version = 3")
    second = Sqlite(path)
    counters = SqlCounters(second.store(), "here")
    counters.save_counters({ONE: 1}, START)

    assert counters.counters() == {ONE: 1}
    second.close()
