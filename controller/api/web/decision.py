"""/decisions/{id}: one decision of the ledger explained, on a page of its own and in the drawer of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import Sources, SourcesDep
from controller.api.inputs import RowNumber
from controller.api.web import formats
from controller.api.web.explanation import commands, explained
from controller.api.web.shell import render
from controller.core.decision import Decision, ScalePool
from controller.core.event import Event
from controller.core.model import PoolName
from controller.core.sensitivity import with_flip
from controller.ports import DecisionQuery, EventQuery, Recorded, RecordedEvaluation, StateStore

router = APIRouter(include_in_schema=False)
_FOLLOWS = timedelta(minutes=30)
_READ, _SHOWN = 400, 40  # of what followed
_JUDGED = ("replica_ready", "replica_unready", "replica_stopped")


@dataclass(frozen=True, slots=True)
class Follow:
    """Something that came after a decision. `kind` is that of a decision or an event; `id` 0: it is an event."""

    at: datetime
    kind: str
    subject: str
    text: str
    id: int = 0
    outcome: str = ""
    after_s: float | None = None  # since the start of that replica
    current: int | None = None
    desired: int | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """All of it, by time; `next` is the one that changed the count again, and `more` were left out."""

    found: tuple[Follow, ...]
    more: int = 0
    next: Follow | None = None


@router.get("/decisions/{decision}", dependencies=[VIEWER])
def page(
    request: Request,
    sources: SourcesDep,
    caller: CallerDep,
    decision: RowNumber,
) -> HTMLResponse:
    """That decision."""
    item = find(sources.store, decision)
    if item is None:
        raise HTTPException(404, f"there is no decision {decision} in the ledger")
    kept = led_to(sources.store, item)
    evaluation = with_flip(kept.evaluation) if kept else None
    pool = item.decision.pool
    return render(
        request, sources, caller, "decision.html", item=item, subject=subject_of(item.decision),
        scaled=item.decision if isinstance(item.decision, ScalePool) else None,
        cause=_cause(sources.store, item, kept), known=explained(evaluation) if evaluation else None,
        commands=commands(pool, evaluation) if evaluation else None,
        followed=followed(sources.store, item),
        configured=pool in _configured(sources),
        since=formats.iso(item.at - timedelta(minutes=20)), until=formats.iso(item.at + timedelta(minutes=20)),
    )  # fmt: skip


def find(store: StateStore, number: int) -> Recorded | None:
    """The decision with that number."""
    return next(iter(store.find_decisions(DecisionQuery(id=number))), None)


def led_to(store: StateStore, item: Recorded) -> RecordedEvaluation | None:
    """The evaluation of the pool's size that it came from: that of its tick, and of a replica the last one that changed
    the count. None where the ledger goes back no further."""
    pool, scaled = item.decision.pool, isinstance(item.decision, ScalePool)
    found = store.evaluations(pool=pool, limit=3, until=item.at, changed=True)
    if not scaled:
        return found[0] if found else None
    return next((one for one in found if one.tick == item.tick and one.term == item.term), None)


def followed(store: StateStore, item: Recorded) -> Followed:
    """What came after it: until the count changes again, or of that replica."""
    pool, until = item.decision.pool, item.at + _FOLLOWS
    decisions = store.find_decisions(DecisionQuery(pool, since=item.at, until=until, limit=_READ))
    events = store.find_events(EventQuery(pool, kinds=_JUDGED, since=item.at, until=until, limit=_READ))
    later = [one for one in reversed(decisions) if one.id > item.id]
    if not isinstance(item.decision, ScalePool):
        return _of_replica(item, later, [one.event for one in reversed(events)])
    over = next((one for one in later if isinstance(one.decision, ScalePool)), None)
    if over is not None:
        later = [one for one in later if one.id < over.id]
    heard = [one.event for one in reversed(events) if over is None or one.event.at <= over.at]
    told = _told(later, heard)
    return Followed(tuple(told[:_SHOWN]), max(len(told) - _SHOWN, 0), _of_decision(over) if over else None)


def _of_replica(item: Recorded, later: Sequence[Recorded], heard: Sequence[Event]) -> Followed:
    subject = subject_of(item.decision)
    mine = [one for one in later if subject_of(one.decision) == subject]
    events = [event for event in heard if event.subject == f"replica/{subject}"]
    return Followed(tuple(_told([item, *mine], events)[1:][:_SHOWN]))


def _told(decisions: Sequence[Recorded], events: Sequence[Event]) -> list[Follow]:
    """By time; what is said of a replica comes with how long after its start it was."""
    started = {f"replica/{subject_of(one.decision)}": one.at for one in decisions if one.decision.kind == _START}
    said = [
        Follow(
            event.at, event.event, event.subject.removeprefix("replica/"), event.message,
            after_s=(event.at - started[event.subject]).total_seconds() if event.subject in started else None,
        )
        for event in events
    ]  # fmt: skip
    return sorted([*map(_of_decision, decisions), *said], key=lambda one: one.at)


_START = "start_replica"


def _of_decision(item: Recorded) -> Follow:
    decision = item.decision
    why = "; ".join(reason.text for reason in decision.reasons)
    scaled = decision if isinstance(decision, ScalePool) else None
    outcome = "" if item.outcome in (None, "done") else str(item.outcome)
    counts = (scaled.current, scaled.desired) if scaled else (None, None)
    return Follow(item.at, decision.kind, subject_of(decision), why, item.id, outcome, None, *counts)


def subject_of(decision: Decision) -> str:
    """The pool or the replica that it is about."""
    return str(decision.pool) if isinstance(decision, ScalePool) else str(decision.replica)


def _cause(store: StateStore, item: Recorded, kept: RecordedEvaluation | None) -> Recorded | None:
    """The decision about the count that this one follows from."""
    if kept is None or isinstance(item.decision, ScalePool):
        return None
    at = kept.evaluation.at
    query = DecisionQuery(item.decision.pool, ("scale_pool",), until=item.at, limit=5)
    return next((one for one in store.find_decisions(query) if one.tick == kept.tick and one.at >= at), None)


def _configured(sources: Sources) -> list[PoolName]:
    return [policy.pool for policy in sources.policies]
