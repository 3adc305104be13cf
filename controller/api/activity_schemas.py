"""What the API takes and answers of the stream of events and decisions. Times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, HTTPException, Query
from pydantic import BaseModel, Field

from controller.api.activity import Cursor, Severity, Wanted
from controller.api.inputs import Moment

LONGEST, MOST_KINDS = 200, 20  # characters of each condition
KIND = r"^[A-Za-z0-9_]{1,64}$"
_NO_NUL = r"^[^\x00]*$"  # no ledger has one, and to a database it may be the end of the text
_Text = Annotated[
    str,
    Query(alias="q", max_length=LONGEST, pattern=_NO_NUL, description="In names, reasons, messages and outcomes."),
]
_Name = Annotated[str, Query(max_length=LONGEST, pattern=_NO_NUL)]
_Kinds = Annotated[
    list[Annotated[str, Field(pattern=KIND)]],
    Query(
        alias="kind", max_length=MOST_KINDS, description="Of decisions (start_replica) and of events (replica_unready)."
    ),
]


class LineOut(BaseModel):
    """Something that happened, or that was decided."""

    at: datetime
    what: Literal["decision", "event"]
    id: int = Field(description="Decisions and events each have their own.")
    kind: str
    severity: Severity = Field(description="critical: a person must act; warning: something went wrong.")
    pool: str = Field(description="Empty where it is about no pool.")
    subject: str
    reason: str
    text: str
    outcome: str | None = Field(description="Of a decision: none until it was carried out.")
    node: str
    numbers: dict[str, float]
    tick: int
    term: int


class ActivityOut(BaseModel):
    """Lines, the newest first."""

    lines: list[LineOut]
    older: str | None = Field(description="Give it as `before` for what comes after these; none: that is all.")


def about(
    text: _Text = "",
    pool: _Name = "",
    kinds: _Kinds = [],  # noqa: B006
    reason: Annotated[str, Query(max_length=LONGEST, pattern=_NO_NUL, description="A code, such as NoGpuFits.")] = "",
    subject: Annotated[
        str, Query(max_length=LONGEST, pattern=_NO_NUL, description="replica/NAME, node/NAME, gpu/UUID, gateway ...")
    ] = "",
) -> Wanted:
    """What it is about."""
    return Wanted(text=text, pool=pool, kinds=tuple(kinds), reason=reason, subject=subject)


def wanted(
    known: Annotated[Wanted, Depends(about)],
    what: Annotated[Literal["", "decision", "event"], Query(description="Empty: both.")] = "",
    severity: Annotated[
        Literal["", "warning", "critical"], Query(description="The least one; then events alone are told.")
    ] = "",
    since: Annotated[Moment | None, Query(alias="from", description="It names its time zone.")] = None,
    until: Annotated[Moment | None, Query(alias="to")] = None,
) -> Wanted:
    """All that is asked for; what is empty is no condition."""
    return Wanted(known.text, known.pool, what, known.kinds, severity, known.reason, known.subject, since, until)


def cursor(
    before: Annotated[str, Query(max_length=80, description="`older` of the answer before.")] = "",
) -> Cursor | None:
    """Where to go on. 422 for what no answer has said."""
    try:
        return Cursor.read(before) if before else None
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


Asked = Annotated[Wanted, Depends(wanted)]
Before = Annotated[Cursor | None, Depends(cursor)]
