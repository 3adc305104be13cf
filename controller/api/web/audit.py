"""/audit: who did what, searched by what stands in the address, so that a search can be sent to somebody."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from controller.api.access import OPERATOR, CallerDep
from controller.api.deps import SourcesDep
from controller.api.web.shell import render
from controller.core.errors import LostLease
from controller.core.people import AuditFilter

router = APIRouter(include_in_schema=False)
_SHOWN = 100
_Text = Annotated[str, Query(max_length=200)]


@router.get("/audit", dependencies=[OPERATOR])
def audit(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """The newest first, as far as they fit what is looked for."""
    asked = {key: request.query_params.get(key, "")[:200] for key in ("name", "action", "q", "from", "to", "refused")}
    before = request.query_params.get("before", "")
    wanted = AuditFilter(
        name=asked["name"].lower() or None,
        action=asked["action"] or None,
        text=asked["q"] or None,
        since=_day(asked["from"]),
        until=_day(asked["to"], timedelta(days=1)),
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None,
        refused={"yes": True, "no": False}.get(asked["refused"]),
    )
    try:
        found = sources.people.audit(wanted, limit=_SHOWN + 1)
    except LostLease:  # the page says who leads
        found = ()
    rows, kept = found[:_SHOWN], {key: value for key, value in asked.items() if value}
    older = urlencode({**kept, "before": rows[-1].id}) if len(found) > _SHOWN else ""
    return render(
        request,
        sources,
        caller,
        "audit.html",
        rows=rows,
        asked=asked,
        older=older,
        newest=urlencode(kept) if wanted.before is not None else None,
        export=urlencode(_exported(kept, wanted)),
    )


def _day(text: str, more: timedelta = timedelta()) -> datetime | None:
    """The beginning of that day of UTC, or so much later; None for what is no day."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC) + more
    except (ValueError, OverflowError):
        return None


def _exported(kept: dict[str, str], wanted: AuditFilter) -> dict[str, str]:
    """The same search, as the API is asked."""
    asked = {key: value for key, value in kept.items() if key in ("name", "action", "q")}
    for key, at in (("since", wanted.since), ("until", wanted.until)):
        asked |= {} if at is None else {key: at.isoformat()}
    return asked if wanted.refused is None else {**asked, "refused": str(wanted.refused).lower()}
