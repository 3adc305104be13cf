"""AlarmStore: what was told of alarms, from memory, from SQLite and from PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.database.alarms import SqlAlarms
from controller.adapters.database.tables import missing_since
from controller.core.alarm import Alarm, Finding, Severity, Standing, Told
from controller.core.errors import LostLease, TransientError
from controller.reconcile.parts import AlarmStore
from tests.contract.databases import Database, InMemory, Sqlite
from tests.fakes.alarms import FakeAlarms
from tests.fakes.clock import START

SLOW = Finding(
    "StokerLatencyHigh",
    Severity.WARNING,
    (("measure", "first_byte"), ("pool", "llama")),
    "Users of llama wait.",
    'p95 is 2 s, "above" 0.5 s – för länge.',
    timedelta(seconds=15),
    timedelta(seconds=60),
)
FIRES = Alarm(SLOW, Standing.FIRING, START, START + timedelta(seconds=15.25), START + timedelta(seconds=20))
OTHER = replace(FIRES, finding=replace(SLOW, labels=(("measure", "first_byte"), ("pool", "qwen"))))


@pytest.fixture
def alarms(database: Database, store: Any) -> AlarmStore:
    return FakeAlarms(store) if isinstance(database, InMemory) else SqlAlarms(store)


def by_key(alarms: AlarmStore) -> list[Alarm]:
    return sorted(alarms.alarms(), key=lambda alarm: alarm.key)


def test_they_come_back_as_they_were(alarms: AlarmStore) -> None:
    assert alarms.alarms() == ()
    told = replace(OTHER, standing=Standing.RESOLVED, told=Told(Standing.FIRING, START + timedelta(seconds=16)))
    alarms.save_alarms([FIRES, told], [])

    assert by_key(alarms) == [FIRES, told]


def test_one_of_the_same_key_is_replaced_and_what_is_gone_is_forgotten(alarms: AlarmStore) -> None:
    alarms.save_alarms([FIRES, OTHER], [])
    now = replace(FIRES, standing=Standing.RESOLVED, changed_at=START + timedelta(hours=1))
    alarms.save_alarms([now], [OTHER.key])
    assert by_key(alarms) == [now]

    worse = replace(now, finding=replace(SLOW, severity=Severity.CRITICAL))
    alarms.save_alarms([worse], [("StokerPoolDown", "critical", (("pool", "nobody"),))])
    assert len(alarms.alarms()) == 2
    alarms.save_alarms([], [])
    alarms.save_alarms([], [now.key, worse.key])
    assert alarms.alarms() == ()


def test_another_controller_finds_them(database: Database, store: Any, alarms: AlarmStore) -> None:
    alarms.save_alarms([FIRES], [])
    store.begin("another stoker up")
    again = alarms if isinstance(database, InMemory) else SqlAlarms(database.store())

    assert again.alarms() == (FIRES,)


def test_who_has_lost_the_lead_writes_nothing(database: Database, store: Any, alarms: AlarmStore) -> None:
    store.take_term()
    alarms.save_alarms([FIRES], [])
    database.store().take_term()

    with pytest.raises(LostLease):
        alarms.save_alarms([OTHER], [FIRES.key])
    assert alarms.alarms() == (FIRES,)


def test_a_database_that_does_not_answer_is_a_passing_thing(database: Database, alarms: AlarmStore) -> None:
    with database.gone(), pytest.raises(TransientError):
        alarms.save_alarms([FIRES], [])


def test_a_ledger_of_the_version_before_them_gets_their_table(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    first = Sqlite(path)
    first.store()
    first.close()
    with closing(sqlite3.connect(path)) as raw, raw:
        for table in missing_since(4) or ():
            raw.execute(f"DROP TABLE {table}")
        raw.execute("PRAGMA user_version = 4")
    second = Sqlite(path)
    alarms = SqlAlarms(second.store())
    alarms.save_alarms([FIRES], [])

    assert alarms.alarms() == (FIRES,)
    second.close()
