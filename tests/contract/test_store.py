"""StateStore: the same promises from memory, from SQLite and from PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select

from controller.adapters.database import DatabaseUnavailable, SqlStore
from controller.adapters.database.tables import ADDED, NEW_INDICES, DecisionRow, EventRow
from controller.core.decision import (
    Memory,
    Plan,
    Reason,
    ReasonCode,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.errors import LostLease, TransientError
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import (
    Busy,
    ColdStart,
    Cordon,
    GatewayPlan,
    GpuMemory,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolName,
    PoolReadings,
    Recommendation,
    ReplicaId,
    ReplicaState,
    Signal,
    Term,
)
from controller.core.policy import ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.sensitivity import with_flip
from controller.core.votes import PoolView
from controller.ports import LastWords
from tests.contract.databases import Database, Sqlite, Store, database_of
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, reading
from tests.waiting import wait_for


@pytest.fixture(params=["sqlite", "postgresql"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """One whose rows can be looked at."""
    yield from database_of(request, tmp_path)


@pytest.fixture
def store(database: Database) -> Store:
    opened: Store = database.store()
    return opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of another program is not waited for long. Stands before what opens a store."""
    monkeypatch.setattr("controller.adapters.database.sqlite._BUSY_S", 0.1)


REASONS = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight, target 4", {"in_flight": 20.0, "target": 4.0}),)
ONE = ReplicaId("llama-1")
COLD = ColdStart(4.5, 0.5, 1.0, 2.0, 0.75, 0.25)
POOL_MEMORY = PoolMemory(
    POOL,
    desired=5,
    next_ordinal=9,
    start_failures=2,
    last_start_failure_at=START,
    cold_start_s=4.5,
    last_recycle_at=START,
    zero_since=START,
    cold_starts=(COLD, replace(COLD, total_s=5.25)),
    remediations=(START, START + timedelta(seconds=1.000001)),
    fuse_since=START,
    quarantined_since=START,
    good_spec="abc",
    refused_spec="def",
    why_refused="2 of its starts in a row failed",
    tried_spec="def",
)
REPLICA_MEMORY = memory(
    ONE,
    ReplicaState.SUSPECT,
    why="a probe failed",
    code="ProbeFailed",
    terminated_at=START,
    retiring_since=START,
    node=NodeName("east"),
    spec_hash="abc",
    cold_start=COLD,
    held=3,
    gpu="GPU-1",
)
GPU_MEMORY = GpuMemory(
    "GPU-1",
    NodeName("east"),
    Cordon(START, "GpuFault", "it is", "reset it"),
    ((48, 1), (31, 7)),
    2,
    ("lost", "remap_failed"),
)
MEMORY = Memory({POOL: POOL_MEMORY}, {ONE: REPLICA_MEMORY})
PLAN = Plan(
    (ScalePool(POOL, 3, 5, REASONS), StartReplica(POOL, ReplicaId("llama-4"), REASONS)), GatewayPlan(), MEMORY, ()
)
QUIET = replace(PLAN, decisions=())


def test_an_empty_store_remembers_nothing(store: Store) -> None:
    assert store.load() == Memory()
    assert store.decisions(limit=10) == ()
    assert store.events(limit=10) == ()


def test_what_is_saved_comes_back_with_reasons_and_numbers(store: Store) -> None:
    term = store.take_term()
    ids = store.save(PLAN, tick=7, term=term, at=START)

    newest, oldest = store.decisions(limit=10)
    assert (oldest.id, newest.id) == ids
    assert (oldest.decision, newest.decision) == PLAN.decisions
    assert (newest.at, newest.tick, newest.term, newest.outcome) == (START, 7, term, None)
    assert store.load() == MEMORY


def test_outcomes_and_the_memory_after_them(store: Store) -> None:
    term = store.take_term()
    first, second = store.save(PLAN, tick=7, term=term, at=START)
    after = replace(MEMORY, pools={POOL: replace(MEMORY.pools[POOL], start_failures=3)})
    store.finish({first: "done", second: "RuntimeRejected: no such image"}, after, term=term)

    assert [row.outcome for row in store.decisions(limit=10)] == ["RuntimeRejected: no such image", "done"]
    assert store.load() == after


def test_an_older_term_writes_nothing(store: Store) -> None:
    old = store.take_term()
    new = store.take_term()
    assert new > old

    with pytest.raises(LostLease):
        store.save(PLAN, tick=1, term=old, at=START)
    with pytest.raises(LostLease):
        store.save(Plan((), GatewayPlan(), Memory(), ()), tick=1, term=old, at=START)
    with pytest.raises(LostLease):
        store.finish({1: "done"}, MEMORY, term=old)
    assert store.decisions(limit=10) == ()
    assert store.load() == Memory()


def test_what_is_gone_from_the_memory_is_gone(store: Store) -> None:
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    store.save(replace(PLAN, decisions=(), memory=Memory()), tick=2, term=term, at=START)

    assert store.load() == Memory()


def test_decisions_of_one_pool_newest_first(store: Store) -> None:
    term = store.take_term()
    for number in range(5):
        other = ScalePool(PoolName("other"), number, number + 1, REASONS)
        mine = ScalePool(POOL, number, number + 1, REASONS)
        store.save(replace(PLAN, decisions=(mine, other)), tick=number, term=term, at=START)

    found = store.decisions(limit=3, pool=POOL)
    assert [(row.tick, row.decision.pool) for row in found] == [(4, POOL), (3, POOL), (2, POOL)]


def test_events_come_back_newest_first(store: Store) -> None:
    events = [
        Event(
            START + timedelta(seconds=number), "pool_scaled", "pool/llama", "AboveTarget", "Went.", {"to": number}, 3, 1
        )
        for number in range(4)
    ]
    store.append(events)

    assert store.events(limit=2) == (events[3], events[2])


def evaluation(pool: PoolName, minutes: int) -> Evaluation:
    now = START + timedelta(minutes=minutes)
    view = PoolView(
        PoolMemory(pool, 3, cold_start_s=2.5), readings=PoolReadings({Signal.IN_FLIGHT: reading(20, now=now)})
    )
    return with_flip(decide_scale(view, ScalingPolicy(), now)[0])


def test_evaluations_come_back_whole_by_pool_time_and_change(store: Store) -> None:
    term, other = store.take_term(), PoolName("other")
    for minutes in range(6):
        plan = replace(PLAN, decisions=PLAN.decisions if minutes in (1, 4) else ())
        both = [evaluation(POOL, minutes), evaluation(other, minutes)]
        store.save(plan, tick=minutes, term=term, at=START, evaluations=both)

    rows = store.evaluations(pool=POOL, limit=3)
    assert [(row.tick, row.changed) for row in rows] == [(5, False), (4, True), (3, False)]
    assert rows[0].evaluation == evaluation(POOL, 5)
    assert [row.tick for row in store.evaluations(pool=POOL, limit=9, changed=True)] == [4, 1]
    assert [row.tick for row in store.evaluations(pool=other, limit=9, changed=True)] == []
    until = START + timedelta(minutes=3, seconds=59)
    assert [row.tick for row in store.evaluations(pool=POOL, limit=2, until=until)] == [3, 2]
    assert store.evaluations(pool=POOL, limit=2, until=START - timedelta(seconds=1)) == ()


def test_nodes_specs_and_gpus_of_decisions_come_back(store: Store) -> None:
    east = NodeName("east")
    decisions = (
        StartReplica(POOL, ReplicaId("llama-4"), REASONS, east, "abc"),
        StartReplica(POOL, ReplicaId("llama-5"), REASONS, east, "abc", "GPU-1"),
        TerminateReplica(POOL, ONE, REASONS, east),
        RemoveReplica(POOL, ONE, REASONS, east),
    )
    store.save(replace(PLAN, decisions=decisions), tick=1, term=store.take_term(), at=START)

    assert tuple(row.decision for row in reversed(store.decisions(limit=9))) == decisions


def test_all_that_lasts_is_read_by_another_controller(database: Database) -> None:
    last = [field.name for field in fields(PoolMemory)].index("history_since")
    unset = [field.name for field in fields(PoolMemory)[:last] if getattr(POOL_MEMORY, field.name) == field.default]
    assert unset == [], "each field is to be seen"

    first = database.store()
    first.save(PLAN, tick=7, term=first.take_term(), at=START)

    second = database.store()
    assert second.load() == MEMORY
    assert second.take_term() == Term(2)
    assert len(second.decisions(limit=10)) == 2


def test_what_was_watched_is_remembered_here_and_watched_anew_elsewhere(database: Database) -> None:
    watched = replace(
        POOL_MEMORY, history_since=START, recommended=(Recommendation(START, 4),), over_since={"x": START}
    )
    seen = replace(REPLICA_MEMORY, holds=2, busy=Busy(START, None))
    with_it = Memory({POOL: watched}, {ONE: seen})
    first = database.store()
    term = first.take_term()
    first.save(replace(QUIET, memory=with_it), tick=1, term=term, at=START)

    assert first.load() == with_it
    assert database.store().load() == MEMORY
    second = database.store()
    second.take_term()
    assert second.load() == MEMORY


def test_gpus_are_remembered_without_what_was_only_watched(database: Database) -> None:
    last = [field.name for field in fields(GpuMemory)].index("hot_since")
    assert [field.name for field in fields(GpuMemory)[2:last] if getattr(GPU_MEMORY, field.name) == field.default] == []
    store = database.store()
    term = store.take_term()
    watched = replace(GPU_MEMORY, hot_since=START, cool_since=START)
    other = GpuMemory("GPU-2", NodeName("east"))
    both = replace(QUIET, memory=Memory(gpus={"GPU-1": watched, "GPU-2": other}))
    store.save(both, tick=1, term=term, at=START)

    assert store.load() == both.memory
    assert database.store().load() == Memory(gpus={"GPU-1": GPU_MEMORY, "GPU-2": other})
    released = replace(GPU_MEMORY, cordon=None)
    store.save(replace(QUIET, memory=Memory(gpus={"GPU-1": released})), tick=2, term=term, at=START)
    assert database.store().load() == Memory(gpus={"GPU-1": released})


def test_a_new_run_does_not_forget_which_gpus_are_broken(database: Database) -> None:
    store = database.store()
    store.begin("first")
    store.save(
        replace(PLAN, memory=replace(MEMORY, gpus={"GPU-1": GPU_MEMORY})), tick=1, term=store.take_term(), at=START
    )
    ordered = Order(OrderKind.CORDON, "gpu/GPU-2", START)
    store.give_order(ordered)

    store.begin("second")
    assert store.load().gpus == {"GPU-1": GPU_MEMORY}
    assert store.load().replicas == {}
    assert store.orders() == (ordered,)


def test_a_new_run_forgets_all_but_numbers_and_cold_starts(database: Database) -> None:
    store = database.store()
    store.begin("first")
    store.save(PLAN, tick=7, term=store.take_term(), at=START)
    kept = Order(OrderKind.CORDON, "node/east", START)
    for order in (kept, Order(OrderKind.DRAIN, "replica/llama-1", START)):
        store.give_order(order)
    store.begin("first")
    assert store.load() == MEMORY, "a restarted controller forgets nothing"
    assert len(store.orders()) == 2

    store.begin("second")
    assert store.load() == Memory({POOL: PoolMemory(POOL, 0, 9, cold_start_s=4.5, cold_starts=POOL_MEMORY.cold_starts)})
    assert store.orders() == (kept,)
    assert len(store.decisions(limit=10)) == 2, "the ledger stays"
    assert store.take_term() == Term(2)


FIRST = Order(OrderKind.CORDON, "node/east", START, "it smells")
SECOND = Order(OrderKind.DRAIN, "node/east", START + timedelta(seconds=1))
THIRD = Order(OrderKind.RESTART, "replica/llama-1", START + timedelta(seconds=2))


def test_orders_stand_oldest_first_until_they_are_dropped(store: Store) -> None:
    assert store.orders() == ()
    for order in (SECOND, FIRST, THIRD):
        store.give_order(order)
    assert store.orders() == (FIRST, SECOND, THIRD)

    again = replace(FIRST, at=START + timedelta(minutes=1), why="still")
    store.give_order(again)
    assert store.orders() == (SECOND, THIRD, again)

    store.drop_orders((replace(again, at=START), SECOND))
    store.drop_orders((SECOND,))
    store.drop_orders(())
    assert store.orders() == (THIRD,)


def test_an_order_of_one_controller_is_seen_by_another(database: Database) -> None:
    leader, standby = database.store(), database.store()
    leader.take_term()
    standby.give_order(FIRST)
    assert leader.orders() == (FIRST,)
    leader.drop_orders((FIRST,))
    assert standby.orders() == ()


def test_fulfilled_orders_are_dropped_with_the_plan(store: Store) -> None:
    old, term = store.take_term(), store.take_term()
    for order in (FIRST, SECOND, THIRD):
        store.give_order(order)
    newer = replace(SECOND, at=START + timedelta(minutes=1))
    store.give_order(newer)
    with pytest.raises(LostLease):
        store.save(replace(QUIET, fulfilled=(FIRST,)), tick=1, term=old, at=START)
    assert len(store.orders()) == 3

    store.save(replace(QUIET, fulfilled=(FIRST, SECOND)), tick=1, term=term, at=START)
    assert store.orders() == (THIRD, newer), "one that was given since the plan's snapshot stands"


def test_the_newest_specs_of_a_pool_are_kept_and_those_in_use(store: Store) -> None:
    store.save(QUIET, tick=1, term=store.take_term(), at=START)
    assert store.spec(POOL, "abc") is None
    store.keep_spec(POOL, "abc", "in use")
    store.keep_spec(PoolName("other"), "abc", "another's")
    for number in range(25):
        store.keep_spec(POOL, f"{number}", f"body {number}")
        store.keep_spec(POOL, "0", "body 0")  # kept again, it is the newest again

    gone = [f"{number}" for number in range(25) if store.spec(POOL, f"{number}") is None]
    assert gone == ["1", "2", "3", "4", "5"]
    assert store.spec(POOL, "24") == "body 24"
    assert store.spec(POOL, "abc") == "in use"
    assert store.spec(PoolName("other"), "abc") == "another's"


def words(number: int, pool: PoolName = POOL) -> LastWords:
    return LastWords(
        START + timedelta(seconds=number), pool, ReplicaId(f"llama-{number}"), "OutOfMemory", "Killed\nend"
    )


def test_last_words_newest_first(store: Store) -> None:
    assert store.last_words(limit=5) == ()
    for number in range(205):
        store.keep_last_words(words(number))
    store.keep_last_words(words(205, PoolName("other")))

    assert store.last_words(limit=2) == (words(205, PoolName("other")), words(204))
    assert store.last_words(limit=1, pool=POOL) == (words(204),)
    assert len(store.last_words(limit=1000)) == 200


def test_texts_that_no_database_takes_are_kept_as_far_as_they_can_be(store: Store) -> None:
    strange = "before\0after \udcff caf\xe9 \U0001f4a5"
    store.keep_last_words(replace(words(1), text=strange))
    store.append([Event(START, "replica_failed", "replica/llama-1", "x", strange, {}, 1, 1)])
    store.give_order(replace(FIRST, why=strange))

    texts = [store.last_words(limit=1)[0].text, store.events(limit=1)[0].message, store.orders()[0].why]
    for text in texts:
        assert text.startswith("before")
        assert text.endswith("caf\xe9 \U0001f4a5")


def test_ten_thousand_events_keep_no_reader_waiting(database: Database) -> None:
    writer, reader = database.store(), database.store()
    writer.take_term()
    said = Event(START, "pool_scaled", "pool/llama", "AboveTarget", "Went.", {"to": 4.0}, 3, 1)

    def write() -> None:
        for _ in range(100):
            writer.append([said] * 100)

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while thread.is_alive():
        seen = max(seen, len(reader.events(limit=20)))
        thread.join(0.02)

    assert seen <= 20
    assert len(reader.events(limit=20_000)) == 10_000


def test_a_write_that_has_not_ended_keeps_no_reader_waiting(real: Any) -> None:
    store, other = real.store(), real.store()
    term = store.take_term()
    with store.writing(term) as session:
        session.add(EventRow(at="", tick=1, term=1, event="", subject="", reason="", message="", numbers="{}"))
        session.flush()
        assert (store.events(limit=9), other.events(limit=9), other.orders()) == ((), (), ())
        other.check(term)


@contextlib.contextmanager
def changes(store: SqlStore) -> Iterator[list[str]]:
    """Statements that change something, or lock it."""
    told: list[str] = []
    engines = (store._connections.writers, store._connections.readers)

    def keep(*arguments: Any) -> None:
        if not arguments[2].startswith(("SELECT", "BEGIN", "PRAGMA")) or "FOR UPDATE" in arguments[2]:
            told.append(arguments[2])

    for engine in engines:
        event.listen(engine, "before_cursor_execute", keep)
    yield told
    for engine in engines:
        event.remove(engine, "before_cursor_execute", keep)


def test_a_tick_that_changes_nothing_lasting_writes_nothing(real: Any) -> None:
    store = real.store()
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    watched = replace(POOL_MEMORY, history_since=START, demand=((START, 1.0),))
    seen = Memory({POOL: watched}, {ONE: replace(REPLICA_MEMORY, holds=1, busy=Busy(START, START))})
    with changes(store) as told:
        store.save(replace(QUIET, memory=seen), tick=2, term=term, at=START)
        store.load(), store.orders(), store.check(term)
    assert told == []
    assert store.load() == seen

    with changes(store) as told:
        store.save(replace(QUIET, fulfilled=(FIRST,)), tick=2, term=term, at=START)
    assert told != [], "this is how a change would be seen"


def test_four_hundred_replicas_are_a_handful_of_statements(real: Any) -> None:
    store = real.store()
    term = store.take_term()
    many = {ReplicaId(f"llama-{number}"): memory(f"llama-{number}", ReplicaState.READY) for number in range(400)}
    with changes(store) as told:
        store.save(replace(QUIET, memory=Memory(replicas=many)), tick=1, term=term, at=START)
    assert len(told) < 10
    assert real.store().load() == Memory(replicas=many)


@pytest.mark.usefixtures("impatient")
def test_a_database_that_is_gone_is_an_error_and_then_works_again(database: Database) -> None:
    store = database.store()
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    after = replace(QUIET, memory=Memory({POOL: replace(POOL_MEMORY, desired=6)}))
    with database.gone():
        with pytest.raises(TransientError):
            store.save(after, tick=2, term=term, at=START)
        with pytest.raises(TransientError):
            store.give_order(FIRST)
        assert store.load() == MEMORY, "what it knows it knows"

    assert database.store().load() == MEMORY
    store.save(after, tick=3, term=term, at=START)
    assert database.store().load() == after.memory


def test_waiting_is_shorter_than_the_ports_five_seconds() -> None:
    from controller.adapters.database import postgres, sqlite

    assert sqlite._BUSY_S + sqlite._POOL_S < 5
    assert postgres._POOL_S + postgres._CONNECT_S + postgres._TRANSACTION_S < 5


@pytest.mark.parametrize("told", [True, False], ids=["committed", "not committed"])
def test_a_commit_whose_answer_is_lost(real: Any, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(Session):
        def commit(self) -> None:
            if told:
                super().commit()
            raise OperationalError("COMMIT", None, Exception("the connection was lost"))

    store = real.store()
    term = store.take_term()
    store.save(QUIET, tick=1, term=term, at=START)
    lost = Memory(
        {POOL: replace(POOL_MEMORY, desired=7)}, {ReplicaId("llama-2"): memory("llama-2", ReplicaState.READY)}
    )
    with monkeypatch.context() as patch:
        patch.setattr("controller.adapters.database.store.Session", Losing)
        with pytest.raises(DatabaseUnavailable, match="the connection was lost"):
            store.save(replace(QUIET, memory=lost), tick=2, term=term, at=START)

    assert real.store().load() == (lost if told else MEMORY)
    assert store.load() == MEMORY
    store.save(QUIET, tick=3, term=term, at=START)
    assert real.store().load() == MEMORY, "whatever the rows said before"


def test_the_ledger_does_not_grow_for_ever(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.database.store._KEEP", 50)
    monkeypatch.setattr("controller.adapters.database.store._KEEP_EVALUATIONS", 20)
    store = real.store()
    term = store.take_term()
    much, one = replace(PLAN, decisions=PLAN.decisions * 60), evaluation(POOL, 1)
    for number in range(6):
        store.save(much, tick=number, term=term, at=START, evaluations=[one] * 120)

    assert 50 <= len(store.decisions(limit=1000)) <= 50 + 500
    assert 20 <= len(store.evaluations(pool=POOL, limit=1000)) <= 20 + 500


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    path.write_text("this is no database, and it is long enough to be sure of that" * 100)
    store = SqlStore(path)

    assert store.load() == Memory()
    assert store.put_aside is not None
    assert store.put_aside.read_text().startswith("this is no database")
    store.close()


def test_a_database_of_another_version_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    with contextlib.closing(sqlite3.connect(path)) as older:
        older.execute("CREATE TABLE term (id INTEGER PRIMARY KEY, term INTEGER)")
        older.commit()
    store = SqlStore(path)

    assert store.put_aside is not None
    assert store.take_term() == Term(1)
    store.close()
    again = SqlStore(path)
    assert again.put_aside is None
    assert again.take_term() == Term(2)
    again.close()


def test_sqlite_readers_do_not_keep_a_tick_waiting(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "controller.db")
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    with Session(store._connections.readers) as reading:
        assert len(reading.exec(select(DecisionRow)).all()) == 2
        store.save(PLAN, tick=2, term=term, at=START)
        assert len(reading.exec(select(DecisionRow)).all()) == 2, "it still sees what it began with"
    assert len(store.decisions(limit=10)) == 4
    store.close()


def test_a_locked_sqlite_is_a_sentence_within_five_seconds(tmp_path: Path) -> None:
    database = Sqlite(tmp_path / "controller.db")
    store = database.store()
    told: list[BaseException] = []

    def take() -> None:
        try:
            store.take_term()
        except DatabaseUnavailable as error:
            told.append(error)

    with database.gone():
        threading.Thread(target=take, daemon=True).start()
        wait_for(lambda: told, 5, "the lock is given up")
    assert str(told[0]) == f"the database {database.path} cannot be used now: database is locked"
    assert store.take_term() == Term(1)
    database.close()


_FULL = """
import resource, sys
from pathlib import Path
from controller.adapters.database import DatabaseUnavailable, SqlStore
from tests.contract.test_store import PLAN, QUIET, START, FIRST, Event, replace

store = SqlStore(Path(sys.argv[1]))
term = store.take_term()
store.save(PLAN, tick=1, term=term, at=START)
said = Event(START, "pool_scaled", "pool/llama", "AboveTarget", "x" * 1000, {}, 1, 1)
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
kept = 0
try:
    while kept < 10_000:
        store.append([said] * 10)
        kept += 10
except DatabaseUnavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))  # no room either in what a checkpoint has freed meanwhile
for write in (lambda: store.save(PLAN, tick=2, term=term, at=START), lambda: store.append([said] * 100)):
    try:
        write()
    except DatabaseUnavailable:
        print("full")
assert store.load() == PLAN.memory
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
store.give_order(FIRST)
store.save(replace(QUIET, fulfilled=(FIRST,)), tick=3, term=term, at=START)
store.append([said])
print(kept, len(store.events(limit=20_000)), len(store.decisions(limit=99)), len(store.orders()))
store.close()
again = SqlStore(Path(sys.argv[1]))
assert again.put_aside is None and again.load() == PLAN.memory
again.close()
"""


def test_a_full_disk_is_an_error_and_then_it_works_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FULL, str(tmp_path / "controller.db")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    *failures, last = done.stdout.splitlines()
    assert failures[0].startswith(f"the database {tmp_path}/controller.db cannot be used now: ")
    assert "full" in failures[1:], "a plan is refused as well"
    kept, events, decisions, orders = map(int, last.split())
    assert 0 < kept < 10_000
    assert (events, orders) == (kept + 1, 0), "nothing that was taken is lost, and nothing that was refused is there"
    assert decisions == 2


def test_a_ledger_without_the_column_of_the_gpus_and_the_indices_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    store = SqlStore(path)
    store.save(PLAN, tick=1, term=store.take_term(), at=START)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as older, older:
        older.execute("ALTER TABLE decisions DROP COLUMN gpu")
        for table in (*ADDED[5], *ADDED[6]):
            older.execute(f"DROP TABLE {table}")
        for index in NEW_INDICES:
            older.execute(f"DROP INDEX {index}")
        older.execute("PRAGMA user_version = 4")

    again = SqlStore(path)
    assert again.put_aside is None
    with contextlib.closing(sqlite3.connect(path)) as now:
        known = {name for (name,) in now.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert known >= set(NEW_INDICES)
    assert tuple(row.decision for row in reversed(again.decisions(limit=9))) == PLAN.decisions
    started = (StartReplica(POOL, ReplicaId("llama-5"), REASONS, gpu="GPU-1"),)
    again.save(replace(PLAN, decisions=started), tick=2, term=again.take_term(), at=START)
    assert again.decisions(limit=1)[0].decision == started[0]
    again.close()
