"""/api/v1/gateway: the configurations that nginx took, and the way back to the settings of one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from controller.api.access import OPERATOR, VIEWER, CallerDep
from controller.api.deps import Sources, SourcesDep
from controller.api.doing import doing
from controller.api.gateway_schemas import (
    CauseOut,
    DiffOut,
    RevertedOut,
    RevertIn,
    RevisionOut,
    RevisionTextOut,
    StandingOut,
)
from controller.api.inputs import RowNumber
from controller.core.errors import GatewayRejected
from controller.core.revision import Reverted, Revision
from controller.core.revision import diff as revision_diff

router = APIRouter(prefix="/api/v1/gateway")


@router.get("", dependencies=[VIEWER])
def standing(sources: SourcesDep) -> StandingOut:
    """How it stands with the settings."""
    now = sources.desk.standing()
    return StandingOut(
        revision=now.revision,
        generation=now.generation,
        taken_at=now.taken_at,
        certificate_ends=now.certificate_ends,
        reverted_to=now.reverted_to,
        reverted_at=now.reverted_at,
        why=now.why,
        refused=now.refused,
    )


@router.get("/history", dependencies=[VIEWER])
def history(
    sources: SourcesDep, limit: Annotated[int, Query(ge=1, le=1000, description="The newest first.")] = 50
) -> list[RevisionOut]:
    """The configurations that nginx took, without their texts. The last 50 are kept."""
    return [RevisionOut(**_told(revision)) for revision in sources.desk.revisions()[:limit]]


@router.get("/history/{number}", dependencies=[VIEWER])
def revision(number: RowNumber, sources: SourcesDep) -> RevisionTextOut:
    """One of them, with its text. 404 where it is not kept."""
    found = sources.desk.revision(number)
    if found is None:
        raise _missing(number)
    now = found.configuration
    return RevisionTextOut(**_told(found), settings=dict(now.settings), text=now.text)


@router.get("/diff", dependencies=[VIEWER])
def diff(
    sources: SourcesDep,
    after: Annotated[RowNumber, Query(description="The number of a revision.")],
    before: Annotated[RowNumber | None, Query(description="The one before it, where this is left out.")] = None,
) -> DiffOut:
    """What is different between two of them. 404 where one is not kept."""
    found = diff_of(sources, after, before)
    if isinstance(found, int):
        raise _missing(found)
    return found


def diff_of(sources: Sources, after: int, before: int | None = None) -> DiffOut | int:
    """From the one to the other; the number that is not kept where one is not. Of the oldest one alone: to itself."""
    kept = {revision.number: revision for revision in sources.desk.revisions()}
    old = before if before is not None else max((number for number in kept if number < after), default=after)
    for number in (after, old):
        if number not in kept:
            return number
    names = tuple(f"{number}  {kept[number].moment.at.isoformat(timespec='seconds')}" for number in (old, after))
    lines = revision_diff(kept[old].configuration, kept[after].configuration, (names[0], names[1]))
    return DiffOut(before=old, after=after, lines=list(lines))


@router.post("/revert", dependencies=[OPERATOR])
def revert(wanted: RevertIn, sources: SourcesDep, who: CallerDep) -> RevertedOut:
    """Go back to the settings of a revision, with the servers of now; or, with `undo`, to those of the file.

    It holds until then, or until the next `stoker apply` or `stoker up`. 404 for a revision that is not kept, 409 where
    nginx refuses its settings: nothing is changed then. As it mends what is broken, it is done also while the audit log
    cannot be written; the controller's own log has it then.
    """
    number = wanted.number
    if number is None:
        with doing(sources, who, "gateway undo", "gateway", wanted.why, healing=True):
            done = sources.desk.undo()
    else:
        if sources.desk.revision(number) is None:
            raise _missing(number)
        with doing(sources, who, "gateway revert", f"gateway/{number}", wanted.why, healing=True):
            done = _go_back(sources, number, wanted.why)
    if done.changed:
        sources.wake()
    return RevertedOut(changed=done.changed, text=done.text)


def _go_back(sources: Sources, number: int, why: str) -> Reverted:
    try:
        return sources.desk.revert(number, why, sources.access().usable)
    except KeyError as error:
        raise _missing(number) from error
    except GatewayRejected as error:
        raise HTTPException(409, f"the settings of {number} cannot be used: {error}; nothing is changed") from error


def _missing(number: int) -> HTTPException:
    return HTTPException(404, f"there is no revision {number}; `stoker gateway history` shows those that are kept")


def _told(revision: Revision) -> dict[str, Any]:
    """The fields of a `RevisionOut`."""
    moment, now = revision.moment, revision.configuration
    return {
        "number": revision.number,
        "at": moment.at,
        "tick": moment.tick,
        "term": moment.term,
        "generation": now.generation,
        "causes": [CauseOut(code=cause.code, text=cause.text) for cause in revision.causes],
        "servers": {routes.pool: [server.replica for server in routes.servers] for routes in now.plan.pools},
        "entered": list(revision.entered),
        "left": list(revision.left),
        "reverted_to": now.reverted_to,
    }
