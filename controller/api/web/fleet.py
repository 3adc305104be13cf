"""/: every pool in a row, and on top of them three answers: are the users all right, what is done, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import Sources, SourcesDep
from controller.api.web import live
from controller.api.web.fleet_rows import Hour, doing, newest, rank_of, row_of, users
from controller.api.web.hours import hours_of
from controller.api.web.latest import Last, last_decisions
from controller.api.web.overview import PoolFacts, facts_of
from controller.api.web.shell import View, render
from controller.api.web.templates import environment, fragment
from controller.api.web.texts import Texts
from controller.core.model import PoolName
from controller.core.overrides import Override

router = APIRouter(include_in_schema=False)
_NOTHING = Hour()
_Given: TypeAlias = tuple[PoolFacts, Last | None, Hour, Override | None]
_MOST_ROWS = 2048
_rows: dict[tuple[str, str], tuple[_Given, Mapping[str, str]]] = {}  # by language and pool


@router.get("/", dependencies=[VIEWER])
def fleet(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """The fleet, the worst first."""
    pools = sorted(facts_of(sources, sources.known_alerts()), key=lambda pool: (rank_of(pool), pool.name))
    return render(request, sources, caller, "fleet.html", view=View("fleet"), order=pools)


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    pools = facts_of(sources, sources.known_alerts())
    seen = sources.latest()
    last = last_decisions(sources.store, sources.policies)
    overrides = {override.pool: override for override in (seen.overrides if seen else ())}
    hours = hours_of(sources)
    cells: dict[str, str] = {}
    for pool in pools:
        given = (pool, last.get(pool.name), hours.get(pool.name, _NOTHING), overrides.get(pool.name))
        cells |= cells_of(given, texts.language)
    return {"answers": _answers(pools, last, texts), "totals": _totals(pools, texts), **cells}


def cells_of(given: _Given, language: str) -> Mapping[str, str]:
    """A row's, by their ids: the same as after the last tick where it is told the same. Most pools are calm."""
    name = given[0].name
    key = (language, name)
    known = _rows.get(key)
    if known is None or known[0] != given:
        if len(_rows) >= _MOST_ROWS:
            _rows.clear()
        row = row_of(*given)
        made = {f"pool-{name}:{cell}": _cell(cell, name, value, language) for cell, value in row.cells()}
        known = _rows[key] = (given, made)
    return known[1]


@lru_cache(maxsize=4096)
def _cell(cell: str, pool: str, value: Any, language: str) -> str:
    macro = getattr(environment(language).get_template("fleet_cells.html").module, cell)
    return str(macro(f"pool-{pool}:{cell}", value))


def _answers(pools: Sequence[PoolFacts], last: Mapping[PoolName, Last | None], texts: Texts) -> str:
    return fragment("fleet_answers.html", texts, users=users(pools), doing=doing(pools), why=newest(last))


def _totals(pools: Sequence[PoolFacts], texts: Texts) -> str:
    known = [pool.in_flight for pool in pools if pool.in_flight is not None]
    serving = sum(pool.serving for pool in pools)
    return fragment(
        "fleet_totals.html", texts, pools=len(pools), serving=serving, in_flight=sum(known) if known else None
    )


live.view("fleet", _render)
