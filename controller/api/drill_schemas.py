"""What the API takes and answers of drills. Times of figures are in seconds after the fault."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from controller.api.drill_result_schemas import Name, Plain, ResultIn, Word
from controller.api.drills import Possible
from controller.api.reasons import LONGEST, Why
from controller.core.drilled import Drilled

_LINE, _NAME = 300, 64
Figure = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)] | None


class DrillIn(BaseModel):
    """A drill that is wanted."""

    fault: Plain = Field(max_length=_NAME, description="One of the catalogue.")
    pool: Plain | None = Field(default=None, max_length=_NAME, description="May be left out where there is one.")
    why: Why
    load: int = Field(default=8, ge=1, le=256, description="Clients, each with one request at a time.")
    force: bool = Field(default=False, description="Also where users may notice it; needs the role admin.")


class DrillReportIn(BaseModel):
    """What a drill tells of itself, again and again. `state` other than running is its end."""

    fault: Word
    pool: Plain = Field(max_length=_NAME)
    state: Literal["running", "passed", "failed", "ended"] = "running"
    why: Plain = Field(default="", max_length=LONGEST)
    line: Plain = Field(default="", max_length=_LINE, description="What it does from now on.")
    told: Plain = Field(default="", max_length=2000, description="Why it ended without a verdict.")
    victims: list[Name] = Field(default_factory=list, max_length=1000)
    figures: dict[Word, Figure] = Field(default_factory=dict, max_length=50)
    result: ResultIn | None = Field(default=None, description="All of it, as `stoker drill --json` prints it.")


class DrillLineOut(BaseModel):
    """What it did from then on."""

    at: datetime
    text: str


class DrillOut(BaseModel):
    """A drill, whoever ran it."""

    id: str
    fault: str
    pool: str
    by: str
    at: datetime
    why: str
    state: str = Field(description="running, passed, failed (a promise was broken) or ended (without a verdict).")
    ended_at: datetime | None
    told: str = Field(description="Why it ended without a verdict.")
    victims: list[str]
    lines: list[DrillLineOut] = Field(description="What it has done so far.")
    figures: dict[str, float | None] = Field(description="By name; none for what never happened.")


class DrillResultOut(DrillOut):
    """The same with all that came of it."""

    result: dict[str, Any] | None = Field(
        description="As `stoker drill --json` prints it: promises, timeline, replicas, requests; none until its end."
    )


class PromiseOut(BaseModel):
    """One limit of a fault."""

    figure: str
    limit: float
    why: str


class PossibleOut(BaseModel):
    """A fault, and whether it can be done here and now."""

    fault: str
    what: str
    hits: int = Field(description="Replicas that it hurts at most; 0: another part of the installation.")
    possible: bool
    why_not: str | None = Field(description="Why it can never be done on this installation.")
    not_now: str | None = Field(description="Why users would notice it now; `force` does it all the same.")
    promises: list[PromiseOut]
    patience_s: float = Field(description="It goes on for so long at most.")


class CatalogueOut(BaseModel):
    """What can be hurt of a pool, and what cannot."""

    pool: str
    load: int = Field(description="The clients that this was found out for.")
    needs: str = Field(description="The role that a drill needs.")
    force_needs: str = Field(description="The role that one with `force` needs.")
    running: str | None = Field(description="The drill that runs now; one runs at a time.")
    faults: list[PossibleOut]


def drill_of(drill: Drilled) -> DrillOut:
    """As the API tells it."""
    return DrillOut(**_fields(drill))


def result_of(drill: Drilled, result: str) -> DrillResultOut:
    """The same with its result."""
    return DrillResultOut(**_fields(drill), result=json.loads(result) if result else None)


def possible_of(known: Possible) -> PossibleOut:
    """As the API tells it."""
    return PossibleOut(
        fault=known.fault,
        what=known.what,
        hits=known.hits,
        possible=not known.why_not,
        why_not=known.why_not or None,
        not_now=known.not_now or None,
        promises=[PromiseOut(figure=name, limit=limit, why=why) for name, (limit, why) in known.promises.items()],
        patience_s=known.patience_s,
    )


def _fields(drill: Drilled) -> dict[str, Any]:
    return {
        "id": drill.id,
        "fault": drill.fault,
        "pool": drill.pool,
        "by": drill.by,
        "at": drill.at,
        "why": drill.why,
        "state": drill.state.value,
        "ended_at": drill.ended_at,
        "told": drill.told,
        "victims": list(drill.victims),
        "lines": [DrillLineOut(at=line.at, text=line.text) for line in drill.lines],
        "figures": dict(drill.figures),
    }
