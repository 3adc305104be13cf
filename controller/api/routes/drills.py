"""/api/v1/drills: what can be hurt on purpose, and what came of it.

A drill runs in a process of its own, and tells of itself (`PUT /api/v1/drills/{id}`), whether it was begun here or by
`stoker drill`. 404 for what is not there, 409 for what cannot be done now, 422 for what can never be.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query

from controller.api.access import ADMIN, OPERATOR, VIEWER, Caller, CallerDep, note_healing, note_refused
from controller.api.deps import Sources, SourcesDep, policy_of
from controller.api.doing import doing
from controller.api.drill_ends import end, heard_lately, looked_after, ran
from controller.api.drill_schemas import (
    CatalogueOut,
    DrillIn,
    DrillOut,
    DrillReportIn,
    DrillResultOut,
    drill_of,
    possible_of,
    result_of,
)
from controller.api.drills import DrillRefused, UnknownFault, Wish
from controller.api.happened import happened
from controller.api.reasons import AskedWhy
from controller.core.drilled import Drilled, DrillState, began_event, lost, over, said
from controller.core.errors import TransientError
from controller.core.people import Role

router = APIRouter(prefix="/api/v1/drills")
_MOST = 100
_END = "end it on the machine where it runs, or ask again in some minutes"
DrillId = Annotated[str, Path(pattern="^[0-9a-z-]{1,40}$")]


@router.get("", dependencies=[VIEWER])
def drills(sources: SourcesDep, limit: Annotated[int, Query(ge=1, le=_MOST)] = 50) -> list[DrillOut]:
    """Those that run and those that ran, whoever began them; the newest first."""
    return [drill_of(drill) for drill in ran(sources, limit)]


@router.get("/catalogue", dependencies=[VIEWER])
def catalogue(
    sources: SourcesDep, pool: str | None = None, load: Annotated[int, Query(ge=1, le=256)] = 8
) -> CatalogueOut:
    """Every fault: what it hurts, what is promised, and why it cannot be done where it cannot."""
    name = _pool(pool, sources)
    try:
        found = sources.drill_desk.possible(name, load)
    except DrillRefused as error:
        raise HTTPException(409, str(error)) from error
    return CatalogueOut(
        pool=name,
        load=load,
        needs=Role.OPERATOR.value,
        force_needs=Role.ADMIN.value,
        running=sources.drill_desk.running(),
        faults=[possible_of(known) for known in found],
    )


@router.post("", status_code=202, dependencies=[OPERATOR])
def begin(wanted: DrillIn, sources: SourcesDep, who: CallerDep) -> DrillOut:
    """Begin one. It says itself, later, whether it can be done: then it has ended, and `told` is why."""
    if wanted.force and not who.may(Role.ADMIN):
        raise HTTPException(403, "a drill that users may notice needs the role admin; leave force out")
    pool, now, name = _pool(wanted.pool, sources), sources.now(), secrets.token_hex(4)
    running = sources.drill_desk.running()
    if running is not None and ((known := sources.drills.drill(running)) is None or known[0].running):
        raise HTTPException(409, f"the drill {running} runs; wait for its end, or stop it")
    made = Drilled(name, wanted.fault, pool, who.name, now, now, wanted.why)
    why = f"{wanted.fault}{', forced' if wanted.force else ''}: {wanted.why}"
    subject, noted = f"pool/{pool}", list[str]()

    def begins() -> None:
        with doing(sources, who, "drill begin", subject, why):
            sources.drills.change_drill(name, lambda known: made)  # first: it tells of itself as soon as it runs
        noted.append(why)

    try:
        sources.drill_desk.start(name, Wish(wanted.fault, pool, wanted.load, wanted.force), begins)
    except DrillRefused as error:
        told = str(error)
        if noted:  # it was about to begin
            note_healing(sources, who, "drill begin", subject, why, f"failed: {told}")
            sources.drills.change_drill(name, lambda known: lost(known or made, now, told))
        else:
            note_refused(sources, who, "drill begin", f"{wanted.fault} of {subject}: {told}")
        raise HTTPException(422 if isinstance(error, UnknownFault) else 409, told) from error
    happened(sources, began_event(made))
    return drill_of(made)


@router.get("/{drill}", dependencies=[VIEWER])
def one(drill: DrillId, sources: SourcesDep) -> DrillResultOut:
    """How it stands with it, and what came of it."""
    found = sources.drills.drill(drill) or _missing(drill)
    return result_of(looked_after(found[0], sources), found[1])


@router.delete("/{drill}", status_code=202, dependencies=[OPERATOR])
def stop(drill: DrillId, sources: SourcesDep, who: CallerDep, why: AskedWhy = "") -> DrillOut:
    """End it: it undoes what it did, which takes some seconds, and says so.

    As it mends what was hurt, it is done also while nothing can be written. 409 for one that has ended, and for one
    that runs elsewhere: it was heard of in the last minutes, and has no process here.
    """
    try:
        found, _ = sources.drills.drill(drill) or _missing(drill)
    except TransientError as error:
        if not sources.drill_desk.stop(drill):
            raise
        note_healing(sources, who, "drill stop", f"drill/{drill}", why)
        raise HTTPException(503, f"the drill {drill} was told to end; how it stands cannot be read: {error}") from error
    if not found.running:
        raise HTTPException(409, f"the drill {drill} has ended")
    runs = sources.drill_desk.stop(drill)  # first, as it mends: it may be what keeps the database from being written
    if not runs and heard_lately(found, sources.now()):
        raise HTTPException(409, f"the drill {drill} was heard of lately, and has no process here; {_END}")
    note_healing(sources, who, "drill stop", f"pool/{found.pool}", f"{drill}{f': {why}' if why else ''}")
    words = f"stopped by {who.name}{f': {why}' if why else ''}"
    if not runs:
        return drill_of(end(found, lost(replace(found, stopped=words), sources.now()), sources))
    with suppress(TransientError):  # its end then says no more than that it was interrupted
        sources.drills.change_drill(drill, lambda known: replace(known or found, stopped=words))
    return drill_of(found)


@router.put("/{drill}", dependencies=[ADMIN])
def report(drill: DrillId, told: DrillReportIn, sources: SourcesDep, who: CallerDep) -> DrillOut:
    """What a drill says of itself; the state directory's token lets it. Its first word begins one that is not known
    yet, and stands in the audit log; its end counts once. 503 where that cannot be written."""
    known = sources.drills.drill(drill)
    if known is not None:
        return _heard(drill, told, sources, who, known)
    why = f"{told.fault}, in a terminal{f': {told.why}' if told.why else ''}"  # one that was asked for is there already
    with doing(sources, who, "drill begin", f"pool/{told.pool}", why):
        return _heard(drill, told, sources, who, None)


def _heard(
    drill: str, told: DrillReportIn, sources: Sources, who: Caller, known: tuple[Drilled, str] | None
) -> DrillOut:
    now = sources.now()
    before = known[0] if known else Drilled(drill, told.fault, told.pool, who.name, now, now, told.why)
    after = said(before, told.line, now)
    if DrillState(told.state) is not DrillState.RUNNING:
        ended = replace(
            before,
            state=DrillState(told.state),
            ended_at=now,
            heard_at=now,
            told=told.told,
            victims=tuple(told.victims),
            figures=told.figures,
        )
        result = told.result.dump() if told.result is not None else ""
        if known is None:
            happened(sources, began_event(before))
        return drill_of(end(before, over(after, ended), sources, result))
    kept = sources.drills.change_drill(drill, lambda known: said(known, told.line, now) if known else after)
    if known is None:
        happened(sources, began_event(before))
    return drill_of(kept)


def _pool(name: str | None, sources: Sources) -> str:
    if name is not None:
        return policy_of(sources, name).pool
    names = sorted(policy.pool for policy in sources.policies)
    if len(names) != 1:
        raise HTTPException(422, f"there are several pools; name one: {', '.join(names)}")
    return names[0]


def _missing(drill: str) -> tuple[Drilled, str]:
    raise HTTPException(404, f"there is no drill {drill}; GET /api/v1/drills lists those that are remembered")
