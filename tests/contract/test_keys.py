"""KeyStore: the same promises from memory, from SQLite and from PostgreSQL; and what an older database keeps."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.database import DatabaseRefused, SqlStore
from controller.adapters.database.keys import SqlKeys
from controller.adapters.database.tables import ADDED, SCHEMA
from controller.core.access import ApiKey, KeyId, KeySearch, revoke, rotate
from controller.core.errors import LostLease, TransientError
from controller.core.quota import DayUsage
from controller.ports import KeyStore
from tests.contract.databases import Database, Postgres
from tests.contract.test_store import MEMORY, PLAN
from tests.fakes.clock import START
from tests.postgres import PostgresServer


@pytest.fixture
def keys(database: Database, store: Any) -> KeyStore:
    return database.keys(store)


def key(number: int, **changes: Any) -> ApiKey:
    made = ApiKey(
        KeyId(f"key_{number:012x}"), f"of {number}", f"{number:064x}", None, (), START + timedelta(seconds=number)
    )
    return replace(made, **changes)


FULL = key(
    1,
    name="caf\xe9, \U0001f4a5",
    plan="gold",
    models=("llama-70b", "org/small:1"),
    expires_at=START + timedelta(days=30, microseconds=1),
    revoked_at=START + timedelta(hours=1),
    replaced_by=KeyId("key_ffffffffffff"),
)


def test_there_are_none_at_first(keys: KeyStore) -> None:
    assert (keys.list_keys(), keys.keys_version(), keys.usage(START.date())) == ((), 0, ())


def test_keys_come_back_whole(database: Database, keys: KeyStore) -> None:
    for one in (key(3), FULL, key(2)):
        keys.add_key(one)

    assert set(keys.list_keys()) == {FULL, key(2), key(3)}
    assert set(database.keys(database.store()).list_keys()) == {FULL, key(2), key(3)}


def test_the_newest_are_found_first(keys: KeyStore) -> None:
    for one in (key(3), FULL, key(2), key(4, name=FULL.name)):
        keys.add_key(one)

    assert keys.find_keys(limit=3) == (key(4, name=FULL.name), key(3), key(2))
    assert keys.find_keys(limit=9, of=FULL.name) == (key(4, name=FULL.name), FULL)
    assert keys.find_keys(limit=1, of=FULL.name) == (key(4, name=FULL.name),)
    assert keys.find_keys(limit=9, of=key(2).id) == (key(2),)
    assert keys.find_keys(limit=9, of="of") == ()
    assert keys.find_keys(limit=9, ids=[key(2).id, key(3).id, key(7).id]) == (key(3), key(2))
    assert keys.find_keys(limit=9, ids=[]) == ()


SOUGHT = {
    "a name": (KeySearch(text="AD_"), [5, 2]),
    "an id": (KeySearch(text="00003"), [3]),
    "no pattern": (KeySearch(text="%"), [4]),
    "a plan": (KeySearch(plan="gold"), [3, 2]),
    "usable": (KeySearch(usable_at=START + timedelta(hours=2)), [5, 4, 2]),
    "a page": (KeySearch(before=KeyId("key_000000000003")), [2, 1]),
    "all of it": (KeySearch(text="ad_", plan="gold", before=KeyId("key_000000000005")), [2]),
    "after one that is gone": (KeySearch(before=KeyId("key_00000000000f")), []),
}


@pytest.mark.parametrize(("fits", "found"), SOUGHT.values(), ids=SOUGHT)
def test_keys_are_sought(keys: KeyStore, fits: KeySearch, found: list[int]) -> None:
    later = START + timedelta(hours=3)
    keys.add_key(key(1, name="Ada", revoked_at=START))
    keys.add_key(key(2, name="ad_hoc", plan="gold", expires_at=later))
    keys.add_key(key(3, name="Bob", plan="gold", expires_at=START + timedelta(hours=2)))
    keys.add_key(key(4, name="100 %"))
    keys.add_key(key(5, name="AD_HOC", created_at=later))

    assert [int(one.id.removeprefix("key_"), 16) for one in keys.find_keys(limit=9, fits=fits)] == found


def test_only_what_changed_is_listed_where_the_rest_is_known(keys: KeyStore) -> None:
    for number in (1, 2, 3):
        keys.add_key(key(number))
    version = keys.keys_version()
    assert keys.list_keys(version) == ()

    keys.change_key(key(2).id, lambda known: (revoke(known, START),))
    keys.add_key(key(4))
    entropy = bytes(range(38))
    _, successor = keys.change_key(key(1).id, lambda known: rotate(known, entropy, START, timedelta(0)))
    listed = {known.id for known in keys.list_keys(version)}
    assert listed == {key(2).id, key(4).id, key(1).id, successor.id}
    assert keys.list_keys(keys.keys_version()) == ()


def test_each_change_has_a_version_of_its_own(database: Database, keys: KeyStore) -> None:
    seen = [keys.keys_version()]

    def note(_: object) -> None:
        seen.append(keys.keys_version())

    note(keys.add_key(key(1)))
    note(keys.add_key(key(2)))
    note(keys.change_key(key(1).id, lambda known: (revoke(known, START),)))
    assert len(set(seen)) == 4
    note(keys.change_key(key(1).id, lambda known: (revoke(known, START + timedelta(1)),)))
    assert seen[-1] == seen[-2], "it was revoked already"
    assert database.keys(database.store()).keys_version() == seen[-1]


def test_a_key_is_replaced_by_its_successor_in_one_step(keys: KeyStore) -> None:
    keys.add_key(key(1, plan="gold"))
    entropy = bytes(range(38))
    made = keys.change_key(key(1).id, lambda known: rotate(known, entropy, START, timedelta(hours=1)))

    old, new = made
    assert set(keys.list_keys()) == {old, new}
    assert (new.name, new.plan, old.replaced_by) == (old.name, "gold", new.id)


def test_what_a_change_raises_leaves_all_as_it_was(keys: KeyStore) -> None:
    keys.add_key(key(1))
    before = keys.keys_version()

    def refuse(_: ApiKey) -> Sequence[ApiKey]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keys.change_key(key(1).id, refuse)
    assert (keys.list_keys(), keys.keys_version()) == ((key(1),), before)


def test_a_key_that_is_not_there_is_not_changed(keys: KeyStore) -> None:
    assert keys.change_key(key(9).id, lambda known: (known,)) == ()
    assert keys.keys_version() == 0


@pytest.mark.parametrize("same", ["id", "digest"])
def test_no_key_takes_the_place_of_another(keys: KeyStore, same: str) -> None:
    keys.add_key(key(1))
    with pytest.raises(TransientError):
        keys.add_key(replace(key(2), **{same: getattr(key(1), same)}))
    with pytest.raises(TransientError):
        keys.change_key(key(1).id, lambda known: (known, replace(key(2), digest=known.digest)))

    assert keys.list_keys() == (key(1),)


def test_two_who_change_one_key_at_once_lose_nothing(database: Database) -> None:
    """Neither undoes what the other did."""
    first = database.keys(database.store())
    first.add_key(key(1))
    start = threading.Barrier(2)

    def change(known: ApiKey) -> Sequence[ApiKey]:
        return (replace(known, name=known.name + "!"),)

    def many(keys: KeyStore) -> None:
        start.wait(30)
        for _ in range(20):
            keys.change_key(key(1).id, change)

    threads = [threading.Thread(target=many, args=(database.keys(database.store()),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert first.list_keys()[0].name == "of 1" + "!" * 40


def usage(number: int, days: int, tokens: float) -> DayUsage:
    at = START + timedelta(days=days)
    return DayUsage(key(number).id, at.date(), tokens, tokens + 0.5, at)


def test_usage_is_kept_by_key_and_day(database: Database, keys: KeyStore) -> None:
    keys.save_usage([usage(1, 0, 10), usage(2, 0, 20)])
    keys.save_usage([usage(1, 1, 5), usage(2, 0, 21)])
    keys.save_usage([])

    everything = (usage(1, 0, 10), usage(2, 0, 21), usage(1, 1, 5))
    assert keys.usage(START.date()) == everything
    assert keys.usage(START.date() + timedelta(days=1)) == everything[2:]
    assert database.keys(database.store()).usage(START.date()) == everything


def test_days_long_ago_are_forgotten(keys: KeyStore) -> None:
    keys.save_usage([usage(1, 0, 10), usage(1, 1, 10)])
    keys.save_usage([usage(1, 93, 1)])

    assert keys.usage(START.date()) == (usage(1, 1, 10), usage(1, 93, 1))


def test_usage_of_a_thousand_keys(keys: KeyStore) -> None:
    totals = [usage(number, 0, number) for number in range(1000)]
    keys.save_usage(totals)
    keys.save_usage([replace(total, tokens=total.tokens + 1) for total in totals])

    assert [total.tokens for total in keys.usage(START.date())] == [number + 1 for number in range(1000)]


Write = Callable[[KeyStore], object]
WRITES: list[tuple[str, Write]] = [
    ("add", lambda keys: keys.add_key(key(2))),
    ("change", lambda keys: keys.change_key(key(1).id, lambda known: (revoke(known, START),))),
    ("usage", lambda keys: keys.save_usage([usage(1, 0, 99)])),
]


@pytest.mark.parametrize("write", [write for _, write in WRITES], ids=[name for name, _ in WRITES])
def test_who_has_lost_the_lead_writes_nothing(database: Database, write: Write) -> None:
    old, new = database.store(), database.store()
    old.take_term()
    keys = database.keys(old)
    keys.add_key(key(1))
    new.take_term()
    with pytest.raises(LostLease):
        write(keys)

    assert (keys.list_keys(), keys.usage(START.date()), keys.keys_version()) == ((key(1),), (), 1)
    write(database.keys(new))


@pytest.mark.usefixtures("impatient")
def test_a_database_that_does_not_answer(database: Database) -> None:
    keys = database.keys(database.store())
    with database.gone(), pytest.raises(TransientError):
        keys.add_key(key(1))
    keys.add_key(key(1))
    assert keys.list_keys() == (key(1),)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.database.sqlite._BUSY_S", 0.1)


def test_a_new_run_keeps_them(database: Database) -> None:
    store = database.store()
    store.begin("first")
    database.keys(store).add_key(key(1))
    database.keys(store).save_usage([usage(1, 0, 1)])
    store.begin("second")

    assert database.keys(store).list_keys() == (key(1),)
    assert database.keys(store).usage(START.date()) == (usage(1, 0, 1),)


def test_what_is_added_is_all_that_is_newer() -> None:
    """The tables of version 3 are those that the tests of an older database below make."""
    assert list(ADDED) == list(range(4, SCHEMA + 1))


def test_a_sqlite_ledger_of_version_3_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    store = SqlStore(path)
    store.save(PLAN, tick=1, term=store.take_term(), at=START)
    store.close()
    with closing(sqlite3.connect(path)) as older, older:
        for table in chain(*ADDED.values()):
            older.execute(f"DROP TABLE {table}")
        older.execute("UPDATE stoker_lead SET version = 3")
        older.execute("PRAGMA user_version = 3")

    for number in (1, 2):
        again = SqlStore(path)
        assert again.put_aside is None
        assert (again.load(), len(again.decisions(limit=9))) == (MEMORY, 2)
        SqlKeys(again).add_key(key(number))
        again.close()
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("SELECT version FROM stoker_lead").fetchall() == [(SCHEMA,)]
        assert found.execute("PRAGMA user_version").fetchone() == (SCHEMA,)


@pytest.mark.parametrize("version", [0, 1, 2, SCHEMA + 1])
def test_a_sqlite_ledger_of_any_other_version_is_put_aside(tmp_path: Path, version: int) -> None:
    path = tmp_path / "controller.db"
    SqlStore(path).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"PRAGMA user_version = {version}")

    store = SqlStore(path)
    assert store.put_aside is not None
    store.close()


def test_a_postgresql_ledger_of_version_3_is_kept(postgres: PostgresServer) -> None:
    database = Postgres(postgres)
    store = database.store()
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    with postgres.admin("stoker") as admin:
        for table in chain(*ADDED.values()):
            admin.execute(f"DROP TABLE {database.schema}.{table}")
        admin.execute(f"UPDATE {database.schema}.stoker_lead SET version = 3")

    again = database.store()
    assert (again.load(), len(again.decisions(limit=9))) == (MEMORY, 2)
    database.keys(again).add_key(key(1))
    store.finish({1: "done"}, MEMORY, term=term)  # whoever led goes on
    assert database.keys(database.store()).list_keys() == (key(1),)
    database.close()


def test_a_table_of_another_program_in_an_older_postgresql_database(postgres: PostgresServer) -> None:
    database = Postgres(postgres)
    database.store()
    with postgres.admin("stoker") as admin:
        admin.execute(f"DROP TABLE {database.schema}.api_key_usage, {database.schema}.api_keys_version")
        admin.execute(f"UPDATE {database.schema}.stoker_lead SET version = 3")
    with pytest.raises(DatabaseRefused, match='"api_keys" already exists'):
        database.store()
    database.close()
