"""StateStore and Lease in memory, with the same fencing; and a sink that keeps what it was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from controller.core.decision import Memory, Plan
from controller.core.errors import LostLease
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import Container, PoolName, Term
from controller.ports import Recorded, RecordedEvaluation, TickReport


class FakeStore:
    """See `StateStore`. `take_term` is what a lease does."""

    def __init__(self) -> None:
        self._term = Term(0)
        self._memory = Memory()
        self._decisions: list[Recorded] = []
        self._events: list[Event] = []
        self._evaluations: list[RecordedEvaluation] = []

    def take_term(self) -> Term:
        self._term = Term(self._term + 1)
        return self._term

    def load(self) -> Memory:
        return self._memory

    def save(
        self, plan: Plan, *, tick: int, term: Term, at: datetime, evaluations: Sequence[Evaluation] = ()
    ) -> tuple[int, ...]:
        self._fence(term)
        moved = {decision.pool for decision in plan.decisions}
        for item in evaluations:
            number = len(self._evaluations) + 1
            self._evaluations.append(RecordedEvaluation(number, tick, term, item.pool in moved, item))
        self._memory = plan.memory
        first = len(self._decisions) + 1
        rows = [Recorded(first + index, at, tick, term, decision) for index, decision in enumerate(plan.decisions)]
        self._decisions += rows
        return tuple(row.id for row in rows)

    def finish(self, outcomes: Mapping[int, str], memory: Memory, *, term: Term) -> None:
        self._fence(term)
        for number, outcome in outcomes.items():
            self._decisions[number - 1] = replace(self._decisions[number - 1], outcome=outcome)
        self._memory = memory

    def append(self, events: Sequence[Event]) -> None:
        self._events += events

    def decisions(self, *, limit: int, pool: PoolName | None = None) -> tuple[Recorded, ...]:
        found = [row for row in reversed(self._decisions) if pool is None or row.decision.pool == pool]
        return tuple(found[:limit])

    def evaluations(
        self, *, pool: PoolName, limit: int, until: datetime | None = None, changed: bool = False
    ) -> tuple[RecordedEvaluation, ...]:
        found = [
            row
            for row in reversed(self._evaluations)
            if row.evaluation.pool == pool
            and (until is None or row.evaluation.at <= until)
            and (row.changed or not changed)
        ]
        return tuple(sorted(found, key=lambda row: (row.evaluation.at, row.id), reverse=True)[:limit])

    def events(self, *, limit: int) -> tuple[Event, ...]:
        return tuple(reversed(self._events))[:limit]

    def _fence(self, term: Term) -> None:
        if term != self._term:
            raise LostLease(f"term {term} is over, {self._term} is the newest")


class FakeLease:
    """See `Lease`. Whoever asks gets the next term."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def acquire(self) -> Term:
        return self._store.take_term()


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
