"""/api/v1/audit: who did what, from where and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from controller.api.access import ADMIN, OPERATOR
from controller.api.activity_export import plain
from controller.api.deps import SourcesDep
from controller.api.inputs import Moment, RowNumber
from controller.api.people_schemas import AuditOut
from controller.core.people import AuditEntry, AuditFilter
from controller.ports.people import PeopleStore

router = APIRouter(prefix="/api/v1")
_MOST_EXPORTED, _PAGE = 140_000, 1000
_COLUMNS = [item.name for item in fields(AuditEntry)]
_Text = Annotated[str | None, Query(max_length=200)]


def wanted(
    name: _Text = None,
    action: _Text = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Looked for in the subject, the reason and the outcome.")
    ] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    refused: bool | None = None,
) -> AuditFilter:
    """What is asked for; what is left empty is no condition."""
    return AuditFilter((name or "").lower() or None, action or None, q or None, since, until, None, refused)


Wanted = Annotated[AuditFilter, Depends(wanted)]
Before = Annotated[RowNumber | None, Query(description="Only ids below: the last one of the page before.")]


@router.get("/audit", dependencies=[OPERATOR])
def audit(
    sources: SourcesDep, asked: Wanted, before: Before = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[AuditOut]:
    """The newest first. What was refused is among it, as far as there was room for that."""
    found = sources.people.audit(replace(asked, before=before), limit=limit)
    return [AuditOut.model_validate(one, from_attributes=True) for one in found]


@router.get("/audit.csv", dependencies=[ADMIN], response_class=Response)
def export(
    sources: SourcesDep,
    asked: Wanted,
    before: Before = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_EXPORTED)] = _MOST_EXPORTED,
) -> Response:
    """The same for a spreadsheet. Read and sent page by page: there may be a hundred thousand."""
    pages = _pages(sources.people, replace(asked, before=before), limit)
    first = next(pages, ())  # a database that is away is told of before the answer begins
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(as_csv(chain((first,), pages)), media_type="text/csv; charset=utf-8", headers=headers)


def _pages(people: PeopleStore, asked: AuditFilter, limit: int) -> Iterator[Sequence[AuditEntry]]:
    while limit > 0 and (found := people.audit(asked, limit=min(limit, _PAGE))):
        yield found
        asked, limit = replace(asked, before=found[-1].id), limit - len(found)


def as_csv(pages: Iterable[Sequence[AuditEntry]]) -> Iterator[str]:
    """With a line of names. What a spreadsheet would take for a formula begins with an apostrophe."""
    yield _lines([_COLUMNS])
    for page in pages:
        yield _lines([_row(entry) for entry in page])


def _row(entry: AuditEntry) -> list[str]:
    values = {name: getattr(entry, name) for name in _COLUMNS} | {"at": entry.at.astimezone(UTC).isoformat()}
    return [plain(str(value)) for value in values.values()]


def _lines(rows: Iterable[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
