"""A drill as the controller remembers it, whoever ran it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from controller.core.event import Event

_MOST_LINES = 200
DRILL_ID = re.compile(r"Drill ([0-9a-z-]{1,40})[ ,]")  # how the sentences of its events begin
_UNKNOWN = "nothing more was heard of it"


class DrillState(StrEnum):
    """How it stands with a drill. ended: without a verdict; its `told` says why."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class DrillLine:
    """What it did from then on."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Drilled:
    """One fault, done once. `figures` are times in seconds after the fault, and counts; None: it never happened."""

    id: str
    fault: str
    pool: str
    by: str
    at: datetime
    heard_at: datetime
    why: str = ""
    state: DrillState = DrillState.RUNNING
    ended_at: datetime | None = None
    told: str = ""
    victims: tuple[str, ...] = ()
    lines: tuple[DrillLine, ...] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)
    stopped: str = ""  # who wanted it to end, and why

    @property
    def running(self) -> bool:
        """Whether it has not ended, as far as anybody knows."""
        return self.state is DrillState.RUNNING


def said(drill: Drilled, text: str, now: datetime) -> Drilled:
    """The same with one line more; one that has ended takes none."""
    if not drill.running:
        return drill
    lines = (*drill.lines, DrillLine(now, text))[-_MOST_LINES:] if text else drill.lines
    return replace(drill, lines=lines, heard_at=now)


def over(drill: Drilled, end: Drilled) -> Drilled:
    """The same with what its end says; the first end counts."""
    if not drill.running:
        return drill
    told = drill.stopped if drill.stopped and end.state is DrillState.ENDED else end.told
    return replace(
        drill,
        state=end.state,
        ended_at=end.ended_at,
        heard_at=end.heard_at,
        told=told,
        victims=end.victims,
        figures=end.figures,
    )


def lost(drill: Drilled, now: datetime, told: str = _UNKNOWN) -> Drilled:
    """One whose process is gone without a word."""
    return over(drill, replace(drill, state=DrillState.ENDED, ended_at=now, heard_at=now, told=told))


def began_event(drill: Drilled) -> Event:
    """For the ledger and for what is drawn over time."""
    why = f": {drill.why}" if drill.why else ""
    return Event(drill.at, "drill_started", _subject(drill), drill.fault, f"Drill {drill.id} by {drill.by}{why}.")


def ended_event(drill: Drilled, now: datetime) -> Event:
    """The same of its end, with what was measured."""
    numbers = {name: value for name, value in drill.figures.items() if value is not None}
    hit = f" of {' and '.join(drill.victims)}" if drill.victims else ""
    told = f": {drill.told}" if drill.told else ""
    message = f"Drill {drill.id}, {drill.fault}{hit}, {drill.state}{told}."
    return Event(drill.ended_at or now, "drill_ended", _subject(drill), drill.fault, message, numbers)


def _subject(drill: Drilled) -> str:
    return f"pool/{drill.pool}"
