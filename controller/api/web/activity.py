"""/activity: what happened and what was decided, searched by what stands in the address; and one event by itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.requests import Request

from controller.api.access import VIEWER, Caller, CallerDep
from controller.api.activity import DECISIONS, Cursor, Line, Wanted, of_event, walk
from controller.api.deps import LEADS, Sources, SourcesDep
from controller.api.inputs import RowNumber
from controller.api.web import formats, live
from controller.api.web.activity_news import newest_of
from controller.api.web.activity_rows import SEVERITIES, WHATS, Filters, Row, chips_of, leads_to, rows_of
from controller.api.web.ranges import RANGES
from controller.api.web.shell import View, render, texts_of
from controller.api.web.texts import Texts
from controller.core.errors import TransientError
from controller.core.reason import ReasonCode
from controller.ports import EventQuery

router = APIRouter(include_in_schema=False)
_NEAR, _AROUND = timedelta(minutes=2), 30
_AFTER = (timedelta(seconds=2), timedelta(seconds=15), _NEAR)
_LOOKS = 200  # lines of each side
_WORDS = "activity.event_"


@router.get("/activity", dependencies=[VIEWER])
def activity(
    request: Request,
    sources: SourcesDep,
    caller: CallerDep,
    event: RowNumber | None = None,
) -> HTMLResponse:
    """The newest first, as far as they fit what is looked for."""
    if event is not None and sources.lead() == LEADS:
        return _one(request, sources, caller, event)
    filters, before = Filters.read(request.query_params), _cursor(request.query_params.get("before", ""))
    wanted = filters.wanted(sources.now())
    backwards = wanted.since is not None and wanted.until is not None and wanted.since > wanted.until
    rows = rows_of(walk(sources.store, wanted, before), wanted, before)
    moves = before is None and not filters.until
    return render(
        request, sources, caller, "activity.html",
        view=View.of("activity", **filters.kept()) if moves else View(), moves=moves,
        filters=filters, rows=rows.found, older=filters.href(before=rows.older) if rows.older else "",
        newest=filters.href(), backwards=backwards, ranges=list(RANGES), whats=WHATS, severities=SEVERITIES,
        pools=_pools(sources, filters.pool), kinds=_kinds(texts_of(request)), reasons=list(map(str, ReasonCode)),
        csv=filters.export(sources.now(), "csv"), json=filters.export(sources.now(), "json"),
    )  # fmt: skip


def _one(request: Request, sources: Sources, caller: Caller, number: int) -> HTMLResponse:
    """An event, what came in the same tick, and what else there was around it."""
    found = sources.store.find_events(EventQuery(id=number))
    if not found:
        raise HTTPException(404, f"there is no event {number} in the ledger")
    line = of_event(found[0])
    around = [other for other in _around(sources, line) if (other.what, other.id) != (line.what, line.id)]
    tick = [other for other in around if line.tick and (other.tick, other.term) == (line.tick, line.term)]
    return render(
        request, sources, caller, "activity_event.html",
        line=line, chips=chips_of(line), leads=leads_to(line), same=_shown(tick),
        near=_shown([other for other in around if other not in tick]),
        since=formats.iso(line.at - _NEAR), until=formats.iso(line.at + _NEAR),
    )  # fmt: skip


def _around(sources: Sources, line: Line) -> list[Line]:
    """Of its pool, or of everything where it has none, the nearest first. In a storm only a part is looked at."""
    found = _between(sources, line.pool, line.at - _NEAR, line.at)
    for span in _AFTER:  # the newest come first, which are the farthest here
        after = _between(sources, line.pool, line.at, line.at + span)
        if len(after) >= _AROUND:
            break
    once = {(other.what, other.id): other for other in (*found, *after)}
    return sorted(once.values(), key=lambda other: abs(other.at - line.at))[:_AROUND]


def _between(sources: Sources, pool: str, since: datetime, until: datetime) -> list[Line]:
    wanted = Wanted(pool=pool, since=since, until=until)
    return [line for line in islice(walk(sources.store, wanted), _LOOKS) if wanted.fits(line)]


def _shown(lines: Sequence[Line]) -> list[Row]:
    return [Row(line) for line in sorted(lines, key=lambda line: line.at, reverse=True)]


def _cursor(text: str) -> Cursor | None:
    try:
        return Cursor.read(text)
    except ValueError:
        return None


def _pools(sources: Sources, asked: str) -> list[str]:
    """Those that are configured, and the one that is asked for."""
    return sorted({str(policy.pool) for policy in sources.policies} | ({asked} if asked else set()))


def _kinds(texts: Texts) -> list[str]:
    """Those that there are words for."""
    return [*DECISIONS, *sorted(key.removeprefix(_WORDS) for key in texts.words if key.startswith(_WORDS))]


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    """Which lines of the last hour fit: the page finds out by itself which of them are news to it."""
    told = Markup("")
    with suppress(TransientError):  # then there is no news
        told = Markup(' data-ids="{}"').format(newest_of(sources.store, Filters.read(params), sources.now()))
    return {"activity-news": Markup('<span id="activity-news" hidden{}></span>').format(told)}


live.view("activity", _render)
