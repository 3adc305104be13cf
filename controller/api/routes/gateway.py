"""/api/v1/gateway: the configurations that nginx took, and the way back to the settings of one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query

from controller.api.deps import TOKEN, SourcesDep
from controller.api.gateway_schemas import (
    CauseOut,
    RevertedOut,
    RevertIn,
    RevisionOut,
    RevisionTextOut,
    StandingOut,
)
from controller.core.errors import GatewayRejected
from controller.core.revision import Revision

router = APIRouter(prefix="/api/v1/gateway")


@router.get("")
def standing(sources: SourcesDep) -> StandingOut:
    """How it stands with the settings."""
    now = sources.desk.standing()
    return StandingOut(
        revision=now.revision,
        generation=now.generation,
        reverted_to=now.reverted_to,
        reverted_at=now.reverted_at,
        why=now.why,
        refused=now.refused,
    )


@router.get("/history")
def history(
    sources: SourcesDep, limit: Annotated[int, Query(ge=1, le=1000, description="The newest first.")] = 50
) -> list[RevisionOut]:
    """The configurations that nginx took, without their texts. The last 50 are kept."""
    return [RevisionOut(**_told(revision)) for revision in sources.desk.revisions()[:limit]]


@router.get("/history/{number}")
def revision(number: Annotated[int, Path(ge=1)], sources: SourcesDep) -> RevisionTextOut:
    """One of them, with its text. 404 where it is not kept."""
    found = sources.desk.revision(number)
    if found is None:
        raise _missing(number)
    now = found.configuration
    return RevisionTextOut(**_told(found), settings=dict(now.settings), text=now.text)


@router.post("/revert", dependencies=[TOKEN])
def revert(wanted: RevertIn, sources: SourcesDep) -> RevertedOut:
    """Go back to the settings of a revision, with the servers of now; or, with `undo`, to those of the file.

    It holds until then, or until the next `stoker apply` or `stoker up`. Needs the token of the state directory
    (`api.token`) as a bearer. 401 without it, 404 for a revision that is not kept, 409 where nginx refuses its
    settings: nothing is changed then.
    """
    try:
        if wanted.number is None:
            done = sources.desk.undo()
        else:
            done = sources.desk.revert(wanted.number, wanted.why, sources.access().usable)
    except KeyError as error:
        raise _missing(wanted.number) from error
    except GatewayRejected as error:
        raise HTTPException(
            409, f"the settings of {wanted.number} cannot be used: {error}; nothing is changed"
        ) from error
    if done.changed:
        sources.wake()
    return RevertedOut(changed=done.changed, text=done.text)


def _missing(number: int | None) -> HTTPException:
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
