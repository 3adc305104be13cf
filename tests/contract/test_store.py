"""StateStore and Lease: the same promises from memory and from SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, select

from controller.adapters.database import FileLease, FileLock, SqlStore
from controller.adapters.database.tables import DecisionRow
from controller.core.decision import Memory, Plan, Reason, ReasonCode, ScalePool, StartReplica
from controller.core.errors import LostLease
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import (
    GatewayPlan,
    PoolMemory,
    PoolName,
    PoolReadings,
    ReplicaId,
    ReplicaState,
    Signal,
    Term,
)
from controller.core.policy import ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.sensitivity import with_flip
from controller.core.votes import PoolView
from tests.fakes.clock import START
from tests.fakes.store import FakeStore
from tests.unit.core.build import POOL, memory, reading

Store = FakeStore | SqlStore


@pytest.fixture(params=["fake", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    real = SqlStore(tmp_path / "controller.db")
    yield real
    real.close()


REASONS = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight, target 4", {"in_flight": 20.0, "target": 4.0}),)
MEMORY = Memory(
    {POOL: PoolMemory(POOL, 5, 9, 2, START, 4.5, START, START)},
    {ReplicaId("llama-1"): memory("llama-1", ReplicaState.READY, why="a probe passed", retiring_since=START)},
)
PLAN = Plan(
    (ScalePool(POOL, 3, 5, REASONS), StartReplica(POOL, ReplicaId("llama-4"), REASONS)), GatewayPlan(), MEMORY, ()
)


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


def test_sqlite_remembers_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    first = SqlStore(path)
    first.save(PLAN, tick=7, term=first.take_term(), at=START)
    first.close()

    second = SqlStore(path)
    assert second.load() == MEMORY
    assert second.take_term() == Term(2)
    assert len(second.decisions(limit=10)) == 2
    second.close()


def test_a_new_run_begins_at_nothing_but_numbers_on(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "controller.db")
    store.begin("first")
    store.save(PLAN, tick=7, term=store.take_term(), at=START)
    store.begin("first")
    assert store.load() == MEMORY, "a restarted controller forgets nothing"

    store.begin("second")
    assert store.load() == Memory({POOL: PoolMemory(POOL, 0, 9, cold_start_s=4.5)})
    assert len(store.decisions(limit=10)) == 2, "the ledger stays"
    assert store.take_term() == Term(2)
    store.close()


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "controller.db"
    path.write_text("this is no database, and it is long enough to be sure of that" * 100)
    store = SqlStore(path)

    assert store.load() == Memory()
    assert store.put_aside is not None
    assert store.put_aside.read_text().startswith("this is no database")
    store.close()


def test_readers_do_not_keep_a_tick_waiting(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "controller.db")
    term = store.take_term()
    store.save(PLAN, tick=1, term=term, at=START)
    with Session(store._readers) as reading:
        assert len(reading.exec(select(DecisionRow)).all()) == 2
        store.save(PLAN, tick=2, term=term, at=START)
        assert len(reading.exec(select(DecisionRow)).all()) == 2, "it still sees what it began with"
    assert len(store.decisions(limit=10)) == 4
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


def test_the_ledger_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.database.store._KEEP", 50)
    monkeypatch.setattr("controller.adapters.database.store._KEEP_EVALUATIONS", 20)
    store = SqlStore(tmp_path / "controller.db")
    term = store.take_term()
    for number in range(300):
        store.save(PLAN, tick=number, term=term, at=START, evaluations=[evaluation(POOL, number)] * 2)

    assert len(store.decisions(limit=1000)) <= 50 + 500
    assert len(store.evaluations(pool=POOL, limit=1000)) <= 20 + 500
    store.close()


def test_one_controller_per_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.database.lease._LOCK_TIMEOUT_S", 0.2)
    store = SqlStore(tmp_path / "controller.db")
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.acquire()
    assert FileLease(first, store).acquire() == Term(1)

    with pytest.raises(LostLease, match="another controller runs"):
        FileLease(second, store).acquire()
    first.release()
    assert FileLease(second, store).acquire() == Term(2)
    second.release()
    store.close()
