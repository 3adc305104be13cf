"""/api/v1/activity: events and decisions in one stream, searched, as JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from controller.api.access import VIEWER
from controller.api.activity import Reading
from controller.api.activity_export import as_csv, as_json
from controller.api.activity_schemas import ActivityOut, Asked, Before
from controller.api.deps import SourcesDep

router = APIRouter(prefix="/api/v1", dependencies=[VIEWER])
MOST = 100_000
_Most = Annotated[int, Query(ge=1, le=MOST, description="How many at most, the newest first.")]
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": ActivityOut, "content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.get("/activity", response_class=StreamingResponse, responses=_ANSWER)
def activity(
    sources: SourcesDep,
    asked: Asked,
    before: Before,
    limit: _Most = 1000,
    form: Annotated[Literal["json", "csv"], Query(alias="format", description="csv is for spreadsheets.")] = "json",
) -> StreamingResponse:
    """What happened and what was decided, the newest first.

    An event that only repeats a decision is left out where neither `what` nor `kind` nor `severity` is given. It is
    written while it is read: an answer that breaks off is none. In CSV what a spreadsheet would take for a formula
    begins with an apostrophe.
    """
    read = Reading(sources.store, asked, before, most=limit)
    headers = {"Cache-Control": "no-store"}
    if form == "csv":
        headers["Content-Disposition"] = 'attachment; filename="activity.csv"'
        return StreamingResponse(_begun(as_csv(read)), media_type="text/csv; charset=utf-8", headers=headers)
    return StreamingResponse(_begun(as_json(read)), media_type="application/json", headers=headers)


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The first two are made at once, so that a store that is away is an answer and no broken one."""
    first, second = next(pieces), next(pieces, b"")
    return chain((first, second), pieces)
