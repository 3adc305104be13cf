"""/gateway: what nginx runs and what came of it, what the gateway had to do, and the way back to older settings."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import Sources, SourcesDep
from controller.api.inputs import RowNumber
from controller.api.routes.gateway import diff_of
from controller.api.traffic import sees_keys, traffic_of
from controller.api.views import decision_of
from controller.api.web import live
from controller.api.web.gateway_rows import (
    certificate_level,
    diff_lines,
    history_rows,
    standing_level,
    traffic_rows,
)
from controller.api.web.ranges import RANGES, USUAL
from controller.api.web.shell import View, render
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts
from controller.core.people import Role
from controller.core.revision import Revision
from controller.ports import DecisionQuery, Recorded

router = APIRouter(include_in_schema=False)
_PLAIN, _NAMED = "gateway", "gateway-keys"  # what is live of it, without and with the names of keys
_NEAR = timedelta(minutes=5)  # of a tick: a decision of it is no farther away


@router.get("/gateway", dependencies=[VIEWER])
def gateway(
    request: Request, sources: SourcesDep, caller: CallerDep, span: Annotated[str, Query(alias="range")] = USUAL
) -> HTMLResponse:
    """How it stands with nginx, the traffic of a range, and the configurations that nginx took."""
    chosen = span if span in RANGES else USUAL
    return render(
        request,
        sources,
        caller,
        "gateway.html",
        view=View.of(_NAMED if sees_keys(caller) else _PLAIN, range=chosen),
        range=chosen,
        ranges=list(RANGES),
        history=history_rows(sources.desk.revisions()),
        newest=sources.desk.standing().revision,
    )


@router.get("/gateway/revisions/{number}", dependencies=[VIEWER])
def revision(number: RowNumber, request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """One configuration: why, what is different from the one before, and what was decided then."""
    found = sources.desk.revision(number)
    told = diff_of(sources, number)
    if found is None or isinstance(told, int):
        raise _missing(number)
    return render(
        request,
        sources,
        caller,
        "gateway_revision.html",
        row=history_rows([found])[0],
        moment=found.moment,
        newest=sources.desk.standing().revision,
        diff=told,
        lines=diff_lines(told.lines),
        decisions=[decision_of(item) for item in _decided(sources, found)],
    )


@router.get("/gateway/diff", dependencies=[VIEWER])
def difference(
    request: Request, sources: SourcesDep, caller: CallerDep, after: RowNumber, before: RowNumber | None = None
) -> HTMLResponse:
    """What is different between two of them."""
    told = diff_of(sources, after, before)
    if isinstance(told, int):
        raise _missing(told)
    return render(request, sources, caller, "gateway_diff.html", diff=told, lines=diff_lines(told.lines))


def _missing(number: int) -> HTTPException:
    return HTTPException(404, f"there is no revision {number}; the page of the gateway shows those that are kept")


def _decided(sources: Sources, found: Revision) -> list[Recorded]:
    """What the tick that brought it decided, as the ledger has it."""
    moment = found.moment
    query = DecisionQuery(since=moment.at - _NEAR, until=moment.at + _NEAR, limit=200)
    near = sources.store.find_decisions(query)
    return [item for item in near if (item.tick, item.term) == (moment.tick, moment.term)]


def _render(named: bool, sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    chosen = params.get("range", USUAL)
    now, standing, others = sources.now(), sources.desk.standing(), sources.gateways.known(sources.now())
    traffic = traffic_rows(traffic_of(sources, RANGES.get(chosen, RANGES[USUAL]), named))
    certificate = certificate_level(standing.certificate_ends, now)
    return {
        "gateway-standing": fragment(
            "gateway_standing.html", texts, now=standing, level=standing_level(standing), certificate=certificate
        ),
        "gateway-others": fragment("gateway_others.html", texts, gateways=[(one, one.lags(now)) for one in others]),
        "gateway-traffic": fragment("gateway_traffic.html", texts, traffic=traffic),
    }


live.view(_PLAIN, partial(_render, False))
live.view(_NAMED, partial(_render, True), needs=Role.OPERATOR)
