"""What is PostgreSQL's own: who is let in, what a dead or hanging server does, and that no password is ever told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from controller.adapters.database import DatabaseRefused, DatabaseUnavailable, SqlStore
from controller.adapters.database import postgres as adapter
from controller.adapters.database.tables import SCHEMA
from controller.core.errors import LostLease
from controller.core.model import Term
from tests.contract.databases import Postgres
from tests.contract.test_store import FIRST, MEMORY, PLAN, START
from tests.postgres import PASSWORD, PostgresServer


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Postgres]:
    made = Postgres(postgres)
    yield made
    made.close()


def test_a_whole_database_as_a_user_names_it(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    store = SqlStore(url)
    store.save(PLAN, tick=1, term=store.take_term(), at=START)
    store.close()

    again = SqlStore(url.replace("postgresql://", "postgres://"))
    assert again.load() == MEMORY
    assert again.put_aside is None
    again.close()


def test_controllers_that_begin_at_the_same_time(database: Postgres) -> None:
    start = threading.Barrier(4)

    def begin() -> Term:
        start.wait(30)
        return database.store().take_term()

    with ThreadPoolExecutor(4) as threads:
        terms = [future.result() for future in [threads.submit(begin) for _ in range(4)]]
    assert sorted(terms) == [1, 2, 3, 4]


def test_a_lost_connection_is_an_error_once(database: Postgres) -> None:
    store = database.store()
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    assert store.orders() == ()
    database.cut()
    for ask in (lambda: store.give_order(FIRST), store.orders):
        with pytest.raises(DatabaseUnavailable, match="terminating connection"):
            ask()

    assert store.orders() == ()
    store.give_order(FIRST)
    assert store.orders() == (FIRST,)
    store.finish({1: "done"}, MEMORY, term=term)
    assert store.decisions(limit=9)[1].outcome == "done"


def test_a_connection_to_a_server_that_only_reads_by_now_is_given_up(database: Postgres) -> None:
    store = database.store()
    with store.writing(None) as session:
        session.connection().exec_driver_sql("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
        store.give_order(FIRST)
    store.give_order(FIRST)
    assert store.orders() == (FIRST,)


def test_a_server_that_dies_and_comes_back(database: Postgres) -> None:
    store = database.store()
    lease = database.lease(store, "east", ttl_s=60.0)
    term = lease.acquire()
    store.save(PLAN, tick=1, term=term, at=START)
    database.server.kill()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            lease.renew(term)
        with pytest.raises(DatabaseUnavailable):
            database.store()
    database.server.revive()

    lease.renew(term)
    assert database.store().load() == MEMORY


def test_a_server_that_hangs_is_given_up(
    database: Postgres, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = database.store()
    term = store.take_term()
    assert store.orders() == ()
    with monkeypatch.context() as patch, postgres.frozen():
        patch.setattr(adapter, "_CONNECT_S", 0.3)
        patch.setattr(adapter, "_TRANSACTION_S", 0.3)
        for ask in (store.orders, lambda: store.give_order(FIRST)):
            with pytest.raises(DatabaseUnavailable, match=r"gave no answer within 0\.3 s"):
                ask()
            with pytest.raises(DatabaseUnavailable, match=r"no connection within 0\.3 s"):
                ask()

    store.save(replace(PLAN, fulfilled=(FIRST,)), tick=1, term=term, at=START)
    assert store.orders() == ()
    assert threads("database-connect") == [], "what came too late was closed"


def threads(name: str) -> list[str]:
    found = [thread for thread in threading.enumerate() if thread.name == name]
    for thread in found:
        thread.join(10)
    return [thread.name for thread in found if thread.is_alive()]


def test_a_lock_that_is_not_given_back_is_given_up(database: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_SETTINGS", "-c lock_timeout=100")
    store, other = database.store(), database.store()
    with other.writing(None), pytest.raises(DatabaseUnavailable, match="lock timeout"):
        store.give_order(FIRST)
    store.give_order(FIRST)


def test_a_leader_that_stops_within_a_transaction_keeps_nobody_out(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_SETTINGS", "-c idle_in_transaction_session_timeout=200")
    old, new = database.store(), database.store()
    term = database.lease(old, "east").acquire()
    database.pass_time(11)
    with pytest.raises(DatabaseUnavailable), old._changing(MEMORY, term):
        assert database.lease(new, "west").acquire() == Term(2)
    with pytest.raises(LostLease):
        old.save(PLAN, tick=1, term=term, at=START)
    assert new.load().pools == {}


def refusal(url: str) -> str:
    with pytest.raises((DatabaseRefused, DatabaseUnavailable)) as caught:
        SqlStore(url)
    chain, told = caught.value, []
    while chain is not None:
        told.append(f"{chain!r} {chain}")
        chain = chain.__cause__ or chain.__context__
    assert not [text for text in told if PASSWORD in text or "hidden" in text]
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:hidden%zz@127.0.0.1/x", "DatabaseRefused: that is no database's URL; postgresql://USER:"),
        ("postgresql://u:hidden@127.0.0.1/x?hidden=1", "DatabaseRefused: that is no database's URL"),
        ("mysql://u:hidden@127.0.0.1/x", "DatabaseRefused: that is no database's URL"),
        (
            "postgresql://u:hidden@127.0.0.1:1/x",
            "DatabaseUnavailable: the database u@127.0.0.1:1/x cannot be used now: ",
        ),
        (
            "postgresql://u:hidden@/x?host=/nowhere",
            "DatabaseUnavailable: the database u@/nowhere/x cannot be used now: ",
        ),
        ("postgresql://u:hidden@no-such-host.invalid/x", "DatabaseUnavailable: the database u@no-such-host.invalid/x"),
    ],
)
def test_a_bad_url_is_one_sentence_without_its_password(url: str, why: str) -> None:
    assert refusal(url).startswith(why)


def test_who_is_not_let_in_is_told_so_without_the_password(postgres: PostgresServer) -> None:
    assert "password authentication failed" in refusal(postgres.url("stoker", password="hidden"))
    assert 'database "nope" does not exist' in refusal(postgres.url("nope"))


def test_tables_of_another_version_are_refused(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    SqlStore(url).close()
    with postgres.admin(url.rpartition("/")[2]) as admin:
        admin.execute("UPDATE stoker_lead SET version = 99")

    why = refusal(url)
    assert f"has tables of version 99, and this Stoker needs {SCHEMA}; stop every controller" in why


def test_tables_of_another_program_are_left_alone(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with postgres.admin(url.rpartition("/")[2]) as admin:
        admin.execute("CREATE TABLE events (what text)")

        assert "has a table events of another program" in refusal(url)
        assert admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)


def test_without_the_right_to_make_tables(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with postgres.admin(url.rpartition("/")[2]) as admin:
        admin.execute("ALTER SCHEMA public OWNER TO postgres")
        admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC, stoker")
        admin.execute("GRANT USAGE ON SCHEMA public TO stoker")
        assert "permission denied for schema public; give its user the right" in refusal(url)
        admin.execute("REVOKE ALL ON SCHEMA public FROM stoker")
        assert "DatabaseRefused" in refusal(url)


@pytest.mark.parametrize(
    ("revoked", "table"), [("UPDATE ON orders", "orders"), ("USAGE ON SEQUENCE events_id_seq", "events_id_seq")]
)
def test_without_the_right_to_write_a_table(postgres: PostgresServer, revoked: str, table: str) -> None:
    url = postgres.new_database()
    SqlStore(url).close()
    with postgres.admin(url.rpartition("/")[2]) as admin:
        owned = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in owned:
            admin.execute(f"ALTER TABLE {name} OWNER TO postgres")
        admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO stoker")
        admin.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO stoker")
        store = SqlStore(url)  # these are enough
        store.save(PLAN, tick=1, term=store.take_term(), at=START)
        store.close()
        admin.execute(f"REVOKE {revoked} FROM stoker")

    assert f"does not let its user read and write {table}; give" in refusal(url)


def test_a_server_that_only_reads_is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    name = url.rpartition("/")[2]
    with postgres.admin() as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    assert "can only be read; name the server that takes writes" in refusal(url)


def test_options_of_the_url_stand_beside_ours(postgres: PostgresServer) -> None:
    store = SqlStore(f"{postgres.new_database()}?options=-cwork_mem%3D1234kB&application_name=mine")
    with store.writing(None) as session:
        said = [session.connection().exec_driver_sql(f"SHOW {name}").scalar_one() for name in SHOWN]
    store.close()
    assert said == ["1234kB", "mine", "2300ms", "2s", "5s"]


SHOWN = ("work_mem", "application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
