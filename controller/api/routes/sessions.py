"""/api/v1/sessions: logging in and out, and who one is. What a browser shows is a cookie that no script sees."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response

from controller.api.access import PUBLIC, VIEWER, Caller, CallerDep, require_same_origin
from controller.api.access_login import Started, change_password, give_cookie, join, log_in, log_out
from controller.api.deps import SourcesDep
from controller.api.doing import doing
from controller.api.people_schemas import CallerOut, EndedOut, JoinIn, LoginIn, PasswordIn, SessionOut, StartedOut
from controller.core.people import Role, Session, looked_for

router = APIRouter(prefix="/api/v1", max_body_size=64 * 1024)
_NEVER_STORED = {"Cache-Control": "no-store"}
_NO_TOKEN = "a token has no say in sessions; log in, or let the token of an admin name somebody by ?of=NAME"


@router.get("/caller", dependencies=[VIEWER])
def caller(who: CallerDep) -> CallerOut:
    """Who asks, and what that one may."""
    assert who.role is not None  # VIEWER saw to it
    return CallerOut(name=who.name, role=who.role, how=who.how, token=who.label)


@router.post("/sessions", status_code=201, dependencies=[PUBLIC])
def start(wanted: LoginIn, request: Request, response: Response, sources: SourcesDep) -> StartedOut:
    """Log in with a password. 401 where it is wrong, 403 for a page of another site, 429 for who failed too often,
    503 where another controller leads or too many log in at once."""
    require_same_origin(request)
    return _started(request, response, log_in(request, sources, wanted.name, wanted.password))


@router.post("/joins", status_code=201, dependencies=[PUBLIC])
def accept(wanted: JoinIn, request: Request, response: Response, sources: SourcesDep) -> StartedOut:
    """Accept an invitation: choose a password, and be logged in. 404 for a code that is good for nothing any more, 422
    for what cannot be a password."""
    require_same_origin(request)
    return _started(request, response, join(request, sources, wanted.code, wanted.password))


def _started(request: Request, response: Response, begun: Started) -> StartedOut:
    give_cookie(request, response, begun)
    response.headers.update(_NEVER_STORED)
    return StartedOut(name=begun.user.name, role=begun.user.role, csrf=begun.csrf)


@router.get("/sessions", dependencies=[VIEWER])
def sessions(sources: SourcesDep, who: CallerDep, of: str | None = None) -> list[SessionOut]:
    """One's own that go on, the newest first; an admin may ask for those of somebody else. 403 for a token, unless an
    admin's names somebody."""
    name = _whose(who, of)
    return [session_of(one, who) for one in sources.people.sessions(name) if one.until > sources.now()]


@router.delete("/sessions", dependencies=[VIEWER])
def end_others(sources: SourcesDep, who: CallerDep, of: str | None = None) -> EndedOut:
    """End all of one's own but the one that asks; an admin may end all of somebody else. 403 likewise."""
    name = _whose(who, of)
    if not any(one.digest != who.digest and one.until > sources.now() for one in sources.people.sessions(name)):
        return EndedOut(ended=0)  # nothing is written down where nothing ends
    with doing(sources, who, "session end", f"user/{name}"):
        ended = sources.people.end_sessions(name, but=who.digest or None)
    sources.door.known.forget()
    return EndedOut(ended=ended)


@router.delete("/sessions/current", dependencies=[VIEWER])
def end(request: Request, response: Response, sources: SourcesDep, who: CallerDep) -> EndedOut:
    """Log out. 409 for a token, which has no session."""
    if who.how != "session":
        raise HTTPException(409, "a token has no session to end; remove the token instead")
    with doing(sources, who, "logout", f"user/{who.name}"):
        log_out(request, sources, who, response)
    return EndedOut(ended=1)


@router.delete("/sessions/{session}", dependencies=[VIEWER])
def end_one(session: str, sources: SourcesDep, who: CallerDep, of: str | None = None) -> EndedOut:
    """End one of one's own; an admin may end one of somebody else. 403 likewise, 404 for one that is over."""
    name = _whose(who, of)
    for one in sources.people.sessions(name):
        if one.id == session:
            with doing(sources, who, "session end", f"user/{name}", f"The one from {one.address}."):
                ended = sources.people.end_sessions(name, only=one.digest)
            sources.door.known.forget()
            return EndedOut(ended=ended)
    raise HTTPException(404, f"{name} has no session {session}; it is over")


@router.post("/password", status_code=204, dependencies=[VIEWER])
def password(wanted: PasswordIn, sources: SourcesDep, who: CallerDep) -> None:
    """Change one's own password; every other session ends. 403 for a wrong old one or a token, 409 for who has none,
    422 for what cannot be a password."""
    if who.how != "session":
        raise HTTPException(403, "a token changes no password; log in for that")
    change_password(sources, who, wanted.old, wanted.new)


def session_of(one: Session, who: Caller) -> SessionOut:
    """As the API tells it."""
    return SessionOut(
        id=one.id,
        created_at=one.created_at,
        seen_at=one.seen_at,
        ends_at=one.until,
        address=one.address,
        agent=one.agent,
        current=one.digest == who.digest,
    )


def _whose(who: Caller, of: str | None) -> str:
    """A token is a program's: what gets hold of a low one must not keep its owner out."""
    if who.how == "token" and not (of is not None and who.may(Role.ADMIN)):
        raise HTTPException(403, _NO_TOKEN)
    if of is None or of == who.name:
        return who.name
    if not who.may(Role.ADMIN):
        raise HTTPException(403, f"the sessions of others need the role admin, and {who.name} is {who.role}")
    return looked_for(of)
