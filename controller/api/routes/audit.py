"""/api/v1/audit: who did what, from where and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime

from controller.api.access import ADMIN, OPERATOR
from controller.api.deps import SourcesDep
from controller.api.people_schemas import AuditOut
from controller.core.people import AuditEntry, AuditFilter

router = APIRouter(prefix="/api/v1")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MOST_EXPORTED = 120_000
_COLUMNS = [item.name for item in fields(AuditEntry)]
_Text = Annotated[str | None, Query(max_length=200)]


def wanted(
    name: _Text = None,
    action: _Text = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Looked for in the subject, the reason and the outcome.")
    ] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    refused: bool | None = None,
) -> AuditFilter:
    """What is asked for; what is left empty is no condition."""
    return AuditFilter((name or "").lower() or None, action or None, q or None, since, until, None, refused)


Wanted = Annotated[AuditFilter, Depends(wanted)]
Before = Annotated[int | None, Query(ge=1, description="Only ids below: the last one of the page before.")]


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
    """The same for a spreadsheet."""
    text = as_csv(sources.people.audit(replace(asked, before=before), limit=limit))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"', "Cache-Control": "no-store"}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def as_csv(entries: Sequence[AuditEntry]) -> str:
    """With a line of names. What a spreadsheet would take for a formula begins with an apostrophe."""
    written = io.StringIO()
    lines = csv.writer(written)
    lines.writerow(_COLUMNS)
    for entry in entries:
        values = {name: getattr(entry, name) for name in _COLUMNS} | {"at": entry.at.astimezone(UTC).isoformat()}
        lines.writerow([_plain(str(value)) for value in values.values()])
    return written.getvalue()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
