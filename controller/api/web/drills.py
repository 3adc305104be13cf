"""/drills: what can be hurt on purpose, what is being hurt, and a report of each drill that was."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.requests import Request

from controller.api.access import VIEWER, CallerDep
from controller.api.activity import Line, Reading, Wanted, of_event
from controller.api.deps import LEADS, Sources, SourcesDep, policy_of
from controller.api.drill_ends import looked_after, ran
from controller.api.drills import DrillRefused, Possible
from controller.api.web import live
from controller.api.web.drills_rows import Report, report_of, span_of
from controller.api.web.shell import View, render, texts_of
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts
from controller.core.drilled import Drilled
from controller.ports import EventQuery

router = APIRouter(include_in_schema=False)
_LISTED, _LINES = 50, 1000
_LOADS = (4, 8, 16, 32, 64)
_USUAL = 8
Load = Annotated[int, Query(ge=1, le=256)]
DrillId = Annotated[str, Path(pattern="^[0-9a-z-]{1,40}$")]


@router.get("/drills", dependencies=[VIEWER])
def drills(
    request: Request, sources: SourcesDep, caller: CallerDep, pool: str = "", load: Load = _USUAL
) -> HTMLResponse:
    """The catalogue of a pool, and those that ran."""
    pools = sorted(str(policy.pool) for policy in sources.policies)
    chosen = pool if pool in pools else next(iter(pools), "")
    return render(
        request, sources, caller, "drills.html", view=View("drills"), pools=pools, pool=chosen, load=load,
        loads=sorted({*_LOADS, load}),
    )  # fmt: skip


@router.get("/drills/catalogue", dependencies=[VIEWER])
def catalogue(
    request: Request, sources: SourcesDep, caller: CallerDep, pool: str = "", load: Load = _USUAL
) -> HTMLResponse:
    """Every fault, and why it cannot be done where it cannot. Blocks for some seconds where a node is silent."""
    policy_of(sources, pool)
    faults: list[Possible] = []
    refused = ""
    if sources.lead() == LEADS:
        try:
            faults = list(sources.drill_desk.possible(pool, load))
        except DrillRefused as error:
            refused = str(error)
    return render(
        request, sources, caller, "drills_catalogue.html", pool=pool, load=load, refused=refused,
        faults=sorted(faults, key=lambda one: (bool(one.why_not), bool(one.not_now))), running=_running(sources),
    )  # fmt: skip


@router.get("/drills/{drill}", dependencies=[VIEWER])
def one(drill: DrillId, request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """Its report. 404 for one that is not remembered."""
    found = sources.drills.drill(drill)
    if found is None and sources.lead() == LEADS:
        raise HTTPException(404, f"there is no drill {drill}; the page of the drills has those that are remembered")
    known = looked_after(found[0], sources) if found is not None else None
    if known is None or known.running:
        return render(request, sources, caller, "drills_one.html", view=View.of("drill", id=drill), drill=known)
    html = Markup(_fragment(sources, known, found[1] if found else "", texts_of(request)))
    return render(request, sources, caller, "drills_one.html", drill=known, html=html)


def _running(sources: Sources) -> Drilled | None:
    return next((known for known in ran(sources, _LISTED) if known.running), None)


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    known = ran(sources, _LISTED)
    running = [drill for drill in known if drill.running]
    return {
        "drills-running": fragment("drills_running.html", texts, running=running),
        "drills-list": fragment("drills_list.html", texts, drills=[drill for drill in known if not drill.running]),
    }


def _render_one(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    found = sources.drills.drill(params.get("id", ""))
    if found is None:
        return {}
    drill, result = found
    return {"drill": _fragment(sources, looked_after(drill, sources), result, texts)}


def _fragment(sources: Sources, drill: Drilled, result: str, texts: Texts) -> str:
    return fragment("drills_report.html", texts, report=read(sources, drill, result))


def read(sources: Sources, drill: Drilled, result: str) -> Report:
    """With what the ledger has of that time."""
    told: Any = json.loads(result) if result else None
    return report_of(drill, told, _lines(sources, drill))


def _lines(sources: Sources, drill: Drilled) -> list[Line]:
    """Of its pool, of sources that fell silent, and of the gateway's routes."""
    since, until = span_of(drill, sources.now())
    mine = Reading(sources.store, Wanted(pool=drill.pool, since=since, until=until), most=_LINES)
    others = [
        *sources.store.find_events(EventQuery(subject="source/", since=since, until=until, limit=_LINES)),
        *sources.store.find_events(EventQuery(kinds=("gateway_reloaded",), since=since, until=until, limit=_LINES)),
    ]
    return [*mine, *map(of_event, others)]


live.view("drills", _render)
live.view("drill", _render_one)
