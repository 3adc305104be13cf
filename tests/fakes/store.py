"""StateStore, KeyStore and Lease in memory, with the same fencing; and a sink that keeps what it was told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from controller.core.access import EVERY_KEY, ApiKey, KeyId, KeySearch
from controller.core.decision import Memory, Plan
from controller.core.errors import LostLease, TransientError
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import Container, Order, PoolMemory, PoolName, Term
from controller.core.quota import DayUsage
from controller.ports import (
    DecisionQuery,
    EventQuery,
    LastWords,
    Recorded,
    RecordedEvaluation,
    RecordedEvent,
    TickReport,
)

_NAMES = [item.name for item in fields(PoolMemory)]
_NEW = PoolMemory(PoolName(""), 0)
_WATCHED: dict[str, Any] = {name: getattr(_NEW, name) for name in _NAMES[_NAMES.index("history_since") :]}


@dataclass
class FakeDatabase:
    """What lasts, for as many stores as are opened on it. `at` is its clock; nobody answers while it is `gone`."""

    term: Term = Term(0)
    run: str = ""
    holder: str = ""
    until: float = 0.0
    at: float = 1000.0
    gone: bool = False
    memory: Memory = field(default_factory=Memory)
    decisions: list[Recorded] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    evaluations: list[RecordedEvaluation] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    specs: dict[tuple[PoolName, str], str] = field(default_factory=dict)
    words: list[LastWords] = field(default_factory=list)
    keys: dict[KeyId, ApiKey] = field(default_factory=dict)
    changed: dict[KeyId, int] = field(default_factory=dict)  # the version with the last change of each key
    keys_version: int = 0
    usage: dict[tuple[date, KeyId], DayUsage] = field(default_factory=dict)
    people: dict[str, Any] = field(default_factory=dict)  # see tests/fakes/people.py
    lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def asked(self, term: Term | None = None) -> Iterator[None]:
        """A transaction; `term` is None where none is asked for."""
        with self.lock:
            if self.gone:
                raise TransientError("the database is gone")
            if term is not None and term != self.term:
                raise LostLease(f"term {term} is over, {self.term} is the newest")
            yield


class FakeStore:
    """See `StateStore`. `take_term` is what a lease does; on one `database` there may be several."""

    def __init__(self, database: FakeDatabase | None = None) -> None:
        self.database = database or FakeDatabase()
        self._term: Term | None = None
        self._memory: Memory | None = None

    def take_term(self) -> Term:
        with self.database.asked():
            self.database.term = Term(self.database.term + 1)
        self.lead(self.database.term)
        return self.database.term

    def lead(self, term: Term) -> None:
        self._term, self._memory = term, None

    def begin(self, run: str) -> None:
        with self.database.asked(self._term):
            if self.database.run != run:
                self.database.run = run
                before = self.database.memory
                pools = {pool.pool: _numbered_on(pool) for pool in before.pools.values()}
                self.database.memory = Memory(pools, gpus=before.gpus)
                self.database.orders = [
                    order for order in self.database.orders if not order.subject.startswith("replica/")
                ]
        self._memory = None

    def load(self) -> Memory:
        if self._memory is None or self._term is None:
            with self.database.asked():
                self._memory = self.database.memory
        return self._memory

    def save(
        self, plan: Plan, *, tick: int, term: Term, at: datetime, evaluations: Sequence[Evaluation] = ()
    ) -> tuple[int, ...]:
        moved = {decision.pool for decision in plan.decisions}
        with self._changing(plan.memory, term) as database:
            for item in evaluations:
                number = len(database.evaluations) + 1
                database.evaluations.append(RecordedEvaluation(number, tick, term, item.pool in moved, item))
            first = len(database.decisions) + 1
            rows = [Recorded(first + index, at, tick, term, decision) for index, decision in enumerate(plan.decisions)]
            database.decisions += rows
            database.orders = [order for order in database.orders if order not in plan.fulfilled]
            return tuple(row.id for row in rows)

    def finish(self, outcomes: Mapping[int, str], memory: Memory, *, term: Term) -> None:
        with self._changing(memory, term) as database:
            for number, outcome in outcomes.items():
                database.decisions[number - 1] = replace(database.decisions[number - 1], outcome=outcome)

    @contextmanager
    def _changing(self, after: Memory, term: Term) -> Iterator[FakeDatabase]:
        try:
            with self.database.asked(term):
                self.database.memory = _lasting(after)
                self._memory = after
                yield self.database
        except LostLease:
            self._memory = None
            raise

    def append(self, events: Sequence[Event]) -> None:
        with self.database.asked(self._term):
            self.database.events += events

    def orders(self) -> tuple[Order, ...]:
        with self.database.asked():
            return tuple(sorted(self.database.orders, key=lambda order: order.at))

    def give_order(self, order: Order) -> None:
        with self.database.asked(self._term):
            self.database.orders = [*_without(self.database.orders, (order,)), order]

    def drop_orders(self, orders: Sequence[Order]) -> None:
        with self.database.asked(self._term):
            self.database.orders = _without(self.database.orders, orders)

    def keep_spec(self, pool: PoolName, spec_hash: str, body: str) -> None:
        with self.database.asked(self._term):
            specs, memory = self.database.specs, self.database.memory
            specs.pop((pool, spec_hash), None)
            specs[pool, spec_hash] = body
            needed = {known.spec_hash for known in memory.replicas.values() if known.pool == pool}
            needed |= {known.good_spec for known in memory.pools.values() if known.pool == pool}
            for name in [name for name in specs if name[0] == pool][:-20]:
                if name[1] not in needed:
                    del specs[name]

    def spec(self, pool: PoolName, spec_hash: str) -> str | None:
        with self.database.asked():
            return self.database.specs.get((pool, spec_hash))

    def keep_last_words(self, words: LastWords) -> None:
        with self.database.asked(self._term):
            self.database.words = [*self.database.words, words][-200:]

    def last_words(self, *, limit: int, pool: PoolName | None = None) -> tuple[LastWords, ...]:
        with self.database.asked():
            return tuple([words for words in reversed(self.database.words) if pool in (None, words.pool)][:limit])

    def decisions(self, *, limit: int, pool: PoolName | None = None) -> tuple[Recorded, ...]:
        with self.database.asked():
            rows = reversed(self.database.decisions)
            return tuple([row for row in rows if pool in (None, row.decision.pool)][:limit])

    def evaluations(
        self, *, pool: PoolName, limit: int, until: datetime | None = None, changed: bool = False
    ) -> tuple[RecordedEvaluation, ...]:
        with self.database.asked():
            found = [
                row
                for row in self.database.evaluations
                if row.evaluation.pool == pool
                and (until is None or row.evaluation.at <= until)
                and (row.changed or not changed)
            ]
        return tuple(sorted(found, key=lambda row: (row.evaluation.at, row.id), reverse=True)[:limit])

    def events(self, *, limit: int) -> tuple[Event, ...]:
        with self.database.asked():
            return tuple(self.database.events[: -limit - 1 : -1])

    def find_decisions(self, query: DecisionQuery) -> tuple[Recorded, ...]:
        with self.database.asked():
            rows = [(row.at, row.id, row) for row in self.database.decisions]
        return tuple(row for row in searched(rows, query) if _fits(row, query))[: query.limit]

    def find_events(self, query: EventQuery) -> tuple[RecordedEvent, ...]:
        with self.database.asked():
            rows = [(event.at, number, event) for number, event in enumerate(self.database.events, 1)]
        found = [(at, number, RecordedEvent(number, event)) for at, number, event in rows]
        return tuple(row for row in searched(found, query) if _tells(row.event, query))[: query.limit]

    def close(self) -> None:
        """There is nothing to give back."""

    def leading(self) -> AbstractContextManager[None]:
        """A transaction under the term that was taken through this store."""
        return self.database.asked(self._term)


_Found = TypeVar("_Found")


def searched(rows: Sequence[tuple[datetime, int, _Found]], query: DecisionQuery | EventQuery) -> Iterator[_Found]:
    """Those of the time and of the page, newest first."""
    before = next(((at, number) for at, number, _ in rows if number == query.before_id), None)
    for at, number, row in sorted(rows, key=lambda item: item[:2], reverse=True):
        in_time = (query.since is None or at >= query.since) and (query.until is None or at <= query.until)
        on_page = query.before_id is None or (before is not None and (at, number) < before)
        if query.id in (None, number) and in_time and on_page:
            yield row


def _fits(row: Recorded, query: DecisionQuery) -> bool:
    decision = row.decision
    told = [word for reason in decision.reasons for word in (reason.code.value, reason.text)]
    told += [decision.pool, row.outcome or "", getattr(decision, "replica", ""), getattr(decision, "node", "")]
    return (
        query.pool in (None, decision.pool)
        and (not query.kinds or decision.kind in query.kinds)
        and any(query.text.lower() in word.lower() for word in told)
    )


def _tells(event: Event, query: EventQuery) -> bool:
    told = (event.subject, event.reason, event.message)
    of_pool = event.subject == f"pool/{query.pool}" or event.subject.rpartition("-")[0] == f"replica/{query.pool}"
    return (
        (query.pool is None or of_pool)
        and event.subject.startswith(query.subject)
        and (not query.kinds or event.event in query.kinds)
        and any(query.text.lower() in word.lower() for word in told)
    )


def _newness(key: ApiKey) -> tuple[datetime, KeyId]:
    return key.created_at, key.id


def _is_sought(key: ApiKey, fits: KeySearch) -> bool:
    return (
        any(fits.text.lower() in text.lower() for text in (key.name, key.id))
        and fits.plan in (None, key.plan)
        and (fits.usable_at is None or key.usable(fits.usable_at))
    )


class FakeKeys:
    """See `KeyStore`."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self._store = store or FakeStore()
        self.database = self._store.database

    def list_keys(self, since: int = 0) -> tuple[ApiKey, ...]:
        with self.database.asked():
            return tuple(key for key in self.database.keys.values() if self.database.changed[key.id] > since)

    def find_keys(
        self, *, limit: int, of: str | None = None, ids: Collection[KeyId] | None = None, fits: KeySearch = EVERY_KEY
    ) -> tuple[ApiKey, ...]:
        with self.database.asked():
            found = [key for key in self.database.keys.values() if of is None or of in (key.id, key.name)]
            before = self.database.keys.get(fits.before) if fits.before else None
        found = [key for key in found if (ids is None or key.id in ids) and _is_sought(key, fits)]
        if fits.before is not None:
            found = [key for key in found if before and _newness(key) < _newness(before)]
        return tuple(sorted(found, key=_newness, reverse=True)[:limit])

    def keys_version(self) -> int:
        with self.database.asked():
            return self.database.keys_version

    def add_key(self, key: ApiKey) -> None:
        with self._store.leading():
            self._require_new(key)
            self._write([key])

    def change_key(self, key: KeyId, change: Callable[[ApiKey], Sequence[ApiKey]]) -> tuple[ApiKey, ...]:
        with self._store.leading():
            before = self.database.keys.get(key)
            if before is None:
                return ()
            after = tuple(change(before))
            for item in after:
                if item.id != key:
                    self._require_new(item)
            self._write([item for item in after if item != before])
            return after

    def usage(self, since: date) -> tuple[DayUsage, ...]:
        with self.database.asked():
            return tuple(total for (day, _), total in sorted(self.database.usage.items()) if day >= since)

    def save_usage(self, totals: Sequence[DayUsage]) -> None:
        with self._store.leading():
            self.database.usage |= {(total.day, total.key): total for total in totals}
            if totals:
                oldest = max(total.day for total in totals) - timedelta(days=92)
                self.database.usage = {at: total for at, total in self.database.usage.items() if at[0] >= oldest}

    def _require_new(self, key: ApiKey) -> None:
        known = self.database.keys.values()
        if key.id in self.database.keys or key.digest in [other.digest for other in known]:
            raise TransientError(f"there is a key {key.id} already")

    def _write(self, keys: Sequence[ApiKey]) -> None:
        if keys:
            self.database.keys_version += 1
        for key in keys:
            self.database.keys[key.id], self.database.changed[key.id] = key, self.database.keys_version


def _lasting(memory: Memory) -> Memory:
    """What a new controller would read."""
    return Memory(
        {name: replace(pool, **_WATCHED) for name, pool in memory.pools.items()},
        {name: replace(known, holds=None, busy=None) for name, known in memory.replicas.items()},
        {uuid: replace(known, hot_since=None, cool_since=None) for uuid, known in memory.gpus.items()},
    )


def _numbered_on(pool: PoolMemory) -> PoolMemory:
    return PoolMemory(pool.pool, 0, pool.next_ordinal, cold_start_s=pool.cold_start_s, cold_starts=pool.cold_starts)


def _without(orders: Sequence[Order], gone: Sequence[Order]) -> list[Order]:
    names = {(order.kind, order.subject) for order in gone}
    return [order for order in orders if (order.kind, order.subject) not in names]


class FakeLease:
    """See `Lease`. It runs out by its database's clock, which moves only where a test moves it."""

    def __init__(
        self,
        store: FakeStore,
        holder: str = "controller",
        ttl_s: float = 10.0,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._store, self._holder, self._ttl_s, self._now = store, holder, ttl_s, now
        self._term: Term | None = None
        self._good_at = 0.0

    def acquire(self) -> Term:
        asked_at, database = self._now(), self._store.database
        with database.asked():
            if database.until > database.at and database.holder != self._holder:
                raise LostLease(f"{database.holder} leads for another {database.until - database.at:.1f} s")
            self._term = self._store.take_term()
            database.holder, database.until = self._holder, database.at + self._ttl_s
        self._good_at = asked_at
        return self._term

    def renew(self, term: Term) -> None:
        asked_at, database = self._now(), self._store.database
        self._expect(asked_at)
        try:
            with database.asked(term):
                if database.holder != self._holder or database.until <= database.at:
                    raise LostLease(f"the lease of {self._holder} ran out")
                database.until = database.at + self._ttl_s
        except TransientError:
            self._expect(self._now())
            raise
        self._good_at = asked_at

    def holds(self) -> bool:
        return self._holds_at(self._now())

    def _holds_at(self, at: float) -> bool:
        return self._term is not None and at - self._good_at < self._ttl_s

    def _expect(self, at: float) -> None:
        if not self._holds_at(at):
            raise LostLease(f"the lease of {self._holder} was not renewed in time")

    def release(self) -> None:
        database, term, self._term = self._store.database, self._term, None
        with database.lock:
            if not database.gone and term == database.term:
                database.until = 0.0


class KeptSink:
    """See `EventSink`."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.reports: list[TickReport] = []

    def emit(self, events: Sequence[Event]) -> None:
        self.told += events

    def report(self, report: TickReport) -> None:
        self.reports.append(report)

    def names(self) -> list[str]:
        """The words of all events, in order."""
        return [event.event for event in self.told]


class KeptTargets:
    """See `TargetWriter`."""

    def __init__(self) -> None:
        self.written: tuple[Container, ...] = ()

    def write(self, containers: Sequence[Container]) -> None:
        self.written = tuple(containers)
