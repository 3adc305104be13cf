"""Lease: one controller leads, in memory, on SQLite and on PostgreSQL; and the lock on a state directory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.database import FileLease, FileLock, SqlStore
from controller.core.decision import Memory
from controller.core.errors import LostLease, TransientError
from controller.core.event import Event
from controller.core.model import Term
from controller.ports import LastWords
from tests.contract.databases import Database
from tests.contract.test_store import FIRST, MEMORY, ONE, PLAN, POOL, QUIET, SECOND, START, impatient, real
from tests.waiting import wait_for

__all__ = ["impatient", "real"]  # fixtures


class Seconds:
    """A controller's own clock."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_it_is_another_s_until_it_runs_out(database: Database) -> None:
    first = database.lease(database.store(), "east")
    second = database.lease(database.store(), "west")
    assert first.acquire() == Term(1)
    with pytest.raises(LostLease, match=r"^east leads .* another (9\.\d|10\.0) s"):
        second.acquire()

    database.pass_time(9.0)
    first.renew(Term(1))
    database.pass_time(9.0)
    with pytest.raises(LostLease):
        second.acquire()

    database.pass_time(1.1)
    assert second.acquire() == Term(2)
    with pytest.raises(LostLease):
        first.renew(Term(1))
    with pytest.raises(LostLease, match="west leads"):
        first.acquire()


def test_who_has_it_may_take_it_again_with_a_new_term(database: Database) -> None:
    lease = database.lease(database.store(), "east")
    assert lease.acquire() == Term(1)
    assert lease.acquire() == Term(2)
    with pytest.raises(LostLease):
        lease.renew(Term(1))
    lease.renew(Term(2))

    restarted = database.lease(database.store(), "east")
    assert restarted.acquire() == Term(3)


def test_one_that_ran_out_needs_a_new_term_even_where_nobody_took_it(database: Database) -> None:
    lease = database.lease(database.store(), "east")
    term = lease.acquire()
    database.pass_time(10.1)
    for _ in range(2):
        with pytest.raises(LostLease, match="ran out"):
            lease.renew(term)
    assert lease.acquire() == Term(2)
    lease.renew(Term(2))


def test_a_released_one_is_free_at_once_and_its_term_never_comes_again(database: Database) -> None:
    first = database.lease(database.store(), "east")
    second = database.lease(database.store(), "west")
    term = first.acquire()
    first.release()
    first.release()
    with pytest.raises(LostLease):
        first.renew(term)

    assert second.acquire() == Term(2)
    first.release()
    second.renew(Term(2))
    second.release()
    assert first.acquire() == Term(3)


def test_an_old_leader_s_release_takes_nothing_from_the_new_one(database: Database) -> None:
    first, second = (database.lease(database.store(), name) for name in ("east", "west"))
    first.acquire()
    database.pass_time(11)
    term = second.acquire()
    first.release()
    second.renew(term)


def test_many_run_for_it_and_one_wins(database: Database) -> None:
    names = [f"controller-{number}" for number in range(4)]
    leases = [database.lease(database.store(), name) for name in names]

    def run(lease: Any, start: threading.Barrier) -> Term | None:
        start.wait(30)
        try:
            return Term(lease.acquire())
        except LostLease:
            return None

    terms: list[Term] = []
    with ThreadPoolExecutor(len(leases)) as threads:
        for turn in range(8):
            start = threading.Barrier(len(leases))
            got = [future.result() for future in [threads.submit(run, lease, start) for lease in leases]]
            won = [(lease, term) for lease, term in zip(leases, got, strict=True) if term is not None]
            assert len(won) == 1, got
            winner, term = won[0]
            winner.renew(term)
            terms.append(term)
            database.pass_time(11) if turn % 2 else winner.release()
    assert terms == [Term(number) for number in range(1, 9)]


OLD_WRITES: list[tuple[str, Callable[[Any, Term], object]]] = [
    ("save nothing", lambda store, term: store.save(QUIET, tick=9, term=term, at=START)),
    ("save", lambda store, term: store.save(replace(PLAN, memory=Memory()), tick=9, term=term, at=START)),
    ("finish", lambda store, term: store.finish({1: "done"}, Memory(), term=term)),
    ("append", lambda store, _: store.append([Event(START, "x", "x", "x", "x", {}, 1, 1)])),
    ("give_order", lambda store, _: store.give_order(SECOND)),
    ("drop_orders", lambda store, _: store.drop_orders([FIRST])),
    ("keep_spec", lambda store, _: store.keep_spec(POOL, "old", "body")),
    ("keep_last_words", lambda store, _: store.keep_last_words(LastWords(START, POOL, ONE, "x", "x"))),
    ("begin", lambda store, _: store.begin("another run")),
]


def test_an_old_leader_writes_nothing_after_a_takeover(database: Database) -> None:
    old, new = database.store(), database.store()
    term = database.lease(old, "east").acquire()
    old.save(PLAN, tick=1, term=term, at=START)
    old.give_order(FIRST)
    database.pass_time(11)
    taken = database.lease(new, "west").acquire()

    newer = Memory({POOL: replace(MEMORY.pools[POOL], desired=6)})
    new.save(replace(QUIET, memory=newer), tick=1, term=taken, at=START)

    assert [name for name, write in OLD_WRITES if not _refused(write, old, term)] == []
    assert old.load() == new.load() == database.store().load() == newer
    assert [row.outcome for row in new.decisions(limit=9)] == [None, None]
    assert (new.events(limit=9), new.orders(), new.last_words(limit=9)) == ((), (FIRST,), ())
    assert new.spec(POOL, "old") is None


def _refused(write: Callable[[Any, Term], object], store: Any, term: Term) -> bool:
    try:
        write(store, term)
    except LostLease:
        return True
    return False


def test_a_takeover_waits_for_a_write_in_flight_and_sees_it(real: Any) -> None:
    old, new = real.store(), real.store()
    term = real.lease(old, "east").acquire()
    real.pass_time(11)
    lease = real.lease(new, "west")
    with ThreadPoolExecutor(1) as threads:
        with old._changing(MEMORY, term):
            taken = threads.submit(lambda: (lease.acquire(), new.load()))
            with pytest.raises(FutureTimeout):  # it cannot be done, however long one waits
                taken.result(0.2)
        assert taken.result() == (Term(2), MEMORY)


@pytest.mark.usefixtures("impatient")
def test_a_leader_whose_database_is_gone_notices_by_itself(database: Database) -> None:
    seconds = Seconds()
    store = database.store()
    lease = database.lease(store, "east", ttl_s=10.0, now=seconds)
    term = lease.acquire()
    seconds.at = 4.0
    lease.renew(term)
    with database.gone():
        for seconds.at in (5.0, 13.9):
            with pytest.raises(TransientError):
                lease.renew(term)
        for seconds.at in (14.0, 100.0):
            with pytest.raises(LostLease, match="not renewed"):
                lease.renew(term)
    with pytest.raises(LostLease):
        lease.renew(term)
    assert lease.acquire() == Term(2), "nobody had taken it"
    lease.renew(Term(2))


@pytest.mark.usefixtures("impatient")
def test_whether_it_holds_is_told_without_the_database(database: Database) -> None:
    seconds = Seconds()
    lease = database.lease(database.store(), "east", ttl_s=10.0, now=seconds)
    assert not lease.holds()
    term = lease.acquire()
    seconds.at = 9.0
    assert lease.holds()
    lease.renew(term)
    with database.gone():
        told = []
        for seconds.at in (10.0, 18.9, 19.0):
            told.append(lease.holds())
        assert told == [True, True, False]
    seconds.at = 18.0
    assert lease.holds()
    lease.release()
    assert not lease.holds()


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_takes_longer_than_the_lease_lasts_is_none(database: Database) -> None:
    at = iter((0.0, 9.0, 10.0))  # acquired, asked again, told that there is no answer
    lease = database.lease(database.store(), "east", ttl_s=10.0, now=lambda: next(at))
    term = lease.acquire()
    with database.gone(), pytest.raises(LostLease, match="not renewed"):
        lease.renew(term)


@pytest.mark.usefixtures("impatient")
def test_a_short_absence_of_the_database_costs_no_lease(database: Database) -> None:
    lease = database.lease(database.store(), "east")
    term = lease.acquire()
    with database.gone(), pytest.raises(TransientError):
        lease.renew(term)
    lease.renew(term)


@pytest.mark.usefixtures("impatient")
def test_letting_go_of_a_database_that_is_gone_is_no_error(database: Database) -> None:
    lease = database.lease(database.store(), "east")
    lease.acquire()
    with database.gone():
        lease.release()
    with pytest.raises(LostLease):
        database.lease(database.store(), "west").acquire()


def test_it_runs_out_by_the_database_s_own_clock(real: Any) -> None:
    first = real.lease(real.store(), "east", ttl_s=0.3)
    second = real.lease(real.store(), "west")
    first.acquire()

    def taken() -> bool:
        try:
            return second.acquire() == Term(2)
        except LostLease:
            return False

    wait_for(taken, 30, "the lease of one that says nothing runs out")
    with pytest.raises(LostLease):
        first.renew(Term(1))


@pytest.fixture
def impatient_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.database.lease._LOCK_TIMEOUT_S", 0.2)


@pytest.mark.usefixtures("impatient_lock")
def test_one_controller_per_state_directory(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "controller.db")
    first, second = (FileLease(FileLock(tmp_path / "lock"), store) for _ in range(2))
    term = first.acquire()
    assert term == Term(1)
    first.renew(term)
    assert (first.holds(), second.holds()) == (True, False)

    with pytest.raises(LostLease, match="another controller runs"):
        second.acquire()
    first.release()
    first.release()
    assert not first.holds()
    with pytest.raises(LostLease, match="given back"):
        first.renew(term)
    assert second.acquire() == Term(2)
    second.renew(Term(2))
    with pytest.raises(LostLease, match="term 1 is over"):
        second.renew(term)
    second.release()
    store.close()
