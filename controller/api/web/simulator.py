"""/simulator: a trace under the live policy and under a changed one, and what came of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import LEADS, SourcesDep
from controller.api.simulation_schemas import (
    MOST_HOURS,
    MOST_UPLOAD_BYTES,
    HistoryTraceIn,
    ResultOut,
    RunOut,
    SimulationResultOut,
    SyntheticTraceIn,
    VersusOut,
)
from controller.api.web.shell import render, texts_of
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts

router = APIRouter(include_in_schema=False)
SHAPES = {  # of 60 x 20, as the tiles show them
    "flat": "M0 12H60",
    "diurnal": "M0 18C10 18 16 4 30 4S50 18 60 18",
    "ramp": "M0 19L60 2",
    "burst": "M0 15H9V4H12V15H24V4H27V15H39V4H42V15H54V4H57V15H60",
    "spike": "M0 15H26V3H34V15H60",
    "crowd": "M0 16H18V2C24 12 34 15 60 15.5",
    "outage": "M0 15H18V5H24M36 5H42V15H60",
}
PEERS = ("static", "hpa", "kpa", "ray", "skyserve", "dstack")


@dataclass(frozen=True, slots=True)
class Row:
    """A policy in the table of scores. `hours` and `cost` say how it stands to the live one; empty for that itself."""

    run: RunOut
    name: Markup
    hours: Markup | str = ""


@router.get("/simulator", dependencies=[VIEWER])
def simulator(
    request: Request, sources: SourcesDep, caller: CallerDep, pool: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """The form. Everything else in the address is for the page's script."""
    if sources.lead() != LEADS:
        return render(request, sources, caller, "simulator.html")
    names = [str(policy.pool) for policy in sources.policies]
    chosen = pool if pool in names else names[0]  # a configuration names at least one
    return render(
        request,
        sources,
        caller,
        "simulator.html",
        options=sources.simulations.options(chosen),
        gone=pool if pool and pool != chosen else "",
        shapes=SHAPES,
        peers=PEERS,
        most_hours=MOST_HOURS,
        most_mib=MOST_UPLOAD_BYTES >> 20,
    )


@router.get("/simulator/runs/{identity}", dependencies=[VIEWER])
def result(request: Request, sources: SourcesDep, identity: Annotated[str, Path(max_length=64)]) -> HTMLResponse:
    """What came out of one, as a part of the page."""
    try:
        found = sources.simulations.find(identity)
    except KeyError as error:
        raise HTTPException(404, str(error.args[0])) from error
    if found.result is None:
        raise HTTPException(409, found.problem or "it has not ended yet")
    texts = texts_of(request)
    return HTMLResponse(
        fragment(
            "simulator_result.html",
            texts,
            found=found,
            result=found.result,
            played=_played(found, texts),
            headline=headline(found.result.versus, texts),
            rows=rows(found.result, texts),
            changed=[setting for setting in found.settings if setting.live != setting.changed],
            currency=sources.simulations.options(found.asked.pool).currency,
        ),
        headers={"Cache-Control": "no-store"},
    )


def headline(found: VersusOut | None, texts: Texts) -> Markup:
    """The outcome in one sentence."""
    if found is None:
        return texts("simulator.versus_none")
    hours = _hours(found.hours_percent, texts)
    shares = {"live": f"{100 * found.slo_live:.1f} %", "changed": f"{100 * found.slo_changed:.1f} %"}
    return texts(f"simulator.versus_{found.service}", hours=hours, **shares)


def rows(found: ResultOut, texts: Texts) -> list[Row]:
    """Every policy, the live one first."""
    live = found.runs[0]
    return [Row(run, name_of(run.name, texts), _against(run, live, texts)) for run in found.runs]


def name_of(run: str, texts: Texts) -> Markup:
    """What a policy is called; `static:6` is one of six replicas."""
    kind, _, count = run.partition(":")
    return texts.known(f"simulator.run_{kind}", run, count=count)


def _played(found: SimulationResultOut, texts: Texts) -> Markup | str:
    """What was played, in the reader's words where they are ours."""
    trace = found.asked.trace
    if isinstance(trace, SyntheticTraceIn):
        return texts(f"simulator.trace_{trace.kind}")
    if isinstance(trace, HistoryTraceIn):
        return texts("simulator.trace_history")
    return found.result.trace.name if found.result else ""


def _against(run: RunOut, live: RunOut, texts: Texts) -> Markup | str:
    if run is live:
        return ""
    percent = 100 * (run.replica_hours / live.replica_hours - 1) if live.replica_hours > 0 else None
    return _hours(percent, texts, "than_")


def _hours(percent: float | None, texts: Texts, kind: str = "hours_") -> Markup:
    if percent is None:
        return texts(f"simulator.{kind}none")
    shown = round(abs(percent))
    if shown == 0:
        return texts(f"simulator.{kind}same")
    return texts(f"simulator.{kind}{'more' if percent > 0 else 'fewer'}", percent=shown)
