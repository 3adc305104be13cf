"""What happened and what was decided, as one stream, the newest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import merge
from itertools import chain
from typing import Literal, TypeAlias

from controller.core.decision import Decision, ScalePool
from controller.core.event import Event
from controller.core.model import PoolName
from controller.ports import DecisionQuery, EventQuery, Recorded, RecordedEvent, StateStore

Severity: TypeAlias = Literal["info", "warning", "critical"]
DECISION, EVENT = "decision", "event"
DECISIONS = {  # by kind: the event that tells the same
    "scale_pool": "pool_scaled",
    "start_replica": "replica_started",
    "recycle_replica": "replica_recycled",
    "drain_replica": "replica_drained",
    "terminate_replica": "replica_terminated",
    "remove_replica": "replica_removed",
}
# A person must do something, or the controller had to.
CRITICAL = ("fuse_blown", "pool_quarantined", "gateway_held", "placement_blocked")
WARNING = (
    *("replica_unready", "replica_stopped", "replica_suspect", "spec_refused", "gpus_held", "gpu_cordoned"),
    *("source_lost", "alert_firing", "alerts_undelivered", "lease_lost", "tick_failed", "targets_failed"),
    *("gateway_failed", "gateway_lags", "gateway_history_failed", "event_write_failed", "key_left_out"),
    *(f"{kind}_failed" for kind in DECISIONS),
)
_ECHOES = (*DECISIONS.values(), *(f"{kind}_failed" for kind in DECISIONS))
_FIRST, _MORE = 200, 1000  # rows that are read at once
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)_(\d{1,18})_(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: its oldest line, and of each kind the oldest that was looked at; 0: there was none."""

    at: datetime
    decision: int = 0
    event: int = 0

    def __str__(self) -> str:
        return f"{self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}_{self.decision}_{self.event}"

    @staticmethod
    def read(text: str) -> Cursor:
        """What `str` made. Raises `ValueError`."""
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError("this is no place to go on from; take `older` of the answer before")
        return Cursor(datetime.fromisoformat(found[1]), int(found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class Line:
    """One of them. `kind` is that of a decision, or the name of an event; `outcome` is that of a decision."""

    what: str
    id: int
    at: datetime
    kind: str
    severity: Severity
    pool: str
    subject: str
    reasons: tuple[str, ...]
    text: str
    outcome: str | None = None
    node: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    tick: int = 0
    term: int = 0
    before: int | None = None  # the counts of a decision about the size
    after: int | None = None

    @property
    def reason(self) -> str:
        """The code of the one that came last."""
        return self.reasons[-1] if self.reasons else ""

    def has(self, text: str) -> bool:
        """Whether it stands in what the store looks for it in; small and capital letters are the same."""
        about = (self.subject,) if self.what == EVENT else (self.pool, self.subject.partition("/")[2], self.node)
        return any(text.lower() in told.lower() for told in (*about, *self.reasons, self.text, self.outcome or ""))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; what is empty is no condition. `severity` is the least one, and then events alone are told.

    With neither `what` nor `kinds` an event that only repeats a decision is left out.
    """

    text: str = ""
    pool: str = ""
    what: str = ""
    kinds: tuple[str, ...] = ()
    severity: str = ""
    reason: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def decisions(self) -> bool:
        """Whether decisions may fit."""
        return self.what != EVENT and not self.severity and (not self.kinds or bool(set(self.kinds) & set(DECISIONS)))

    @property
    def events(self) -> bool:
        """Whether events may fit."""
        return (self.what != DECISION or bool(self.severity)) and self.event_kinds != ()

    @property
    def event_kinds(self) -> tuple[str, ...] | None:
        """The names of events that may fit; None: all."""
        bad = {"": None, "warning": (*CRITICAL, *WARNING), "critical": CRITICAL}.get(self.severity)
        if self.kinds:
            named = [kind for kind in self.kinds if kind not in DECISIONS]
            return tuple(kind for kind in named if bad is None or kind in bad)
        return bad

    def fits(self, line: Line) -> bool:
        """What the store cannot look for, or not exactly."""
        if line.what == EVENT:
            if not (self.what or self.kinds or self.severity) and line.kind in _ECHOES:
                return False
            if self.severity and line.severity == "info":
                return False
        if (self.reason and self.reason not in line.reasons) or not line.has(self.text):
            return False
        return not self.subject or self.subject in (line.subject, f"node/{line.node}")

    def sought(self) -> str:
        """The text that the store looks for: what it has no condition for is one, too."""
        return self.text or self.reason


class Reading:
    """The lines that are wanted, the newest first: at most so many, of at most so many rows that are looked at.

    Afterwards `older` is where to go on; None: there is nothing more. Blocks for as long as the store does.
    """

    def __init__(
        self, store: StateStore, wanted: Wanted, before: Cursor | None = None, *, most: int, looks: int | None = None
    ) -> None:
        self._store, self._wanted, self._before = store, wanted, before
        self._most, self._looks = most, looks
        self.older: Cursor | None = None

    def __iter__(self) -> Iterator[Line]:
        cursor, count = self._before, 0
        for number, line in enumerate(walk(self._store, self._wanted, self._before)):
            if count == self._most or number == self._looks:
                self.older = cursor
                return
            cursor = after(cursor, line)
            if self._wanted.fits(line):
                count += 1
                yield line


def after(cursor: Cursor | None, line: Line) -> Cursor:
    """The place behind that line."""
    known = cursor or Cursor(line.at)
    return replace(known, at=line.at, **{line.what: line.id})


def walk(store: StateStore, wanted: Wanted, before: Cursor | None = None) -> Iterator[Line]:
    """Whatever the store finds, the newest first; `Wanted.fits` says what of it is wanted."""
    streams: list[Iterator[Line]] = []
    if wanted.decisions:
        decisions = _decisions(wanted, before)
        streams.append(_chunks(lambda known: map(of_decision, store.find_decisions(known)), decisions))
    if wanted.events:
        events = _events(wanted, before)
        streams.append(_chunks(lambda known: map(of_event, store.find_events(known)), events))
    return merge(*streams, key=lambda line: (line.at, line.what, line.id), reverse=True)


_Query: TypeAlias = "DecisionQuery | EventQuery"


def _chunks(find: Callable[..., Iterator[Line]], query: _Query) -> Iterator[Line]:
    limit, found = _FIRST, list(find(replace(query, limit=_FIRST)))
    while found:
        yield from found
        if len(found) < limit:
            return
        limit = _MORE
        found = list(find(replace(query, limit=limit, before_id=found[-1].id)))


def _until(wanted: Wanted, before: Cursor | None) -> datetime | None:
    known = [at for at in (wanted.until, before.at if before else None) if at is not None]
    return min(known, default=None)


def _decisions(wanted: Wanted, before: Cursor | None) -> DecisionQuery:
    kind, _, name = wanted.subject.partition("/")
    pool = wanted.pool or (name if kind == "pool" else "")
    return DecisionQuery(
        pool=PoolName(pool) if pool else None,
        kinds=tuple(kind for kind in wanted.kinds if kind in DECISIONS),
        text=wanted.sought() or (name if kind in ("replica", "node") else ""),
        since=wanted.since,
        until=_until(wanted, before),
        before_id=(before.decision or None) if before else None,
    )


def _events(wanted: Wanted, before: Cursor | None) -> EventQuery:
    return EventQuery(
        pool=PoolName(wanted.pool) if wanted.pool else None,
        subject=wanted.subject,
        kinds=wanted.event_kinds or (),
        text=wanted.sought(),
        since=wanted.since,
        until=_until(wanted, before),
        before_id=(before.event or None) if before else None,
    )


def of_decision(item: Recorded) -> Line:
    """A row of the ledger."""
    decision = item.decision
    scaled = decision if isinstance(decision, ScalePool) else None
    numbers = chain.from_iterable(reason.numbers.items() for reason in decision.reasons)
    return Line(
        what=DECISION,
        id=item.id,
        at=item.at,
        kind=decision.kind,
        severity="info" if item.outcome in (None, "done") else "warning",
        pool=decision.pool,
        subject=subject_of(decision),
        reasons=tuple(reason.code.value for reason in decision.reasons),
        text="; ".join(reason.text for reason in decision.reasons),
        outcome=item.outcome,
        node=getattr(decision, "node", ""),
        numbers=dict(numbers),
        tick=item.tick,
        term=item.term,
        before=scaled.current if scaled else None,
        after=scaled.desired if scaled else None,
    )


def subject_of(decision: Decision) -> str:
    """What it is about, as events say it."""
    return f"pool/{decision.pool}" if isinstance(decision, ScalePool) else f"replica/{decision.replica}"


def of_event(item: RecordedEvent) -> Line:
    """A row of the ledger."""
    event = item.event
    return Line(
        what=EVENT,
        id=item.id,
        at=event.at,
        kind=event.event,
        severity=severity_of(event),
        pool=pool_of(event.subject),
        subject=event.subject,
        reasons=(event.reason,),
        text=event.message,
        node=_named(event.subject, "node"),
        numbers=event.numbers,
        tick=event.tick,
        term=event.term,
    )


def pool_of(subject: str) -> str:
    """The pool that a subject of events is, or belongs to; empty: none."""
    return _named(subject, "pool") or _named(subject, "replica").rpartition("-")[0]


def _named(subject: str, kind: str) -> str:
    return subject.removeprefix(f"{kind}/") if subject.startswith(f"{kind}/") else ""


def severity_of(event: Event) -> Severity:
    """How bad it is."""
    if event.event in CRITICAL:
        return "critical"
    return "warning" if event.event in WARNING and not was_to_stop(event) else "info"


def was_to_stop(event: Event) -> bool:
    """A replica that drained and then exited did what it was told."""
    return event.event == "replica_stopped" and event.message.startswith("Was draining,")
