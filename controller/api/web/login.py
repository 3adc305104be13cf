"""/login, /join and /logout: forms that work without a script, too.

Before there is a session nothing tells a page of ours from another one, so the form shows what a cookie of its own
says: no other site can read that cookie, or set it for this host.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from controller.api.access import PUBLIC, VIEWER, Caller, CallerDep, cookie_name, require_same_origin
from controller.api.access_login import Started, give_cookie, join, log_in, log_out
from controller.api.deps import Sources, SourcesDep
from controller.api.doing import doing
from controller.api.refusals import is_noted, note_answer
from controller.api.web import shell
from controller.core.people import SECRET_BYTES, SHORTEST_PASSWORD, secret_of

router = APIRouter(include_in_schema=False, max_body_size=64 * 1024)
_FORM_S = 12 * 3600  # a page that was left open for longer is loaded again
_WORDED = (401, 403, 404, 429)  # refusals that the pages have words for
_EXPIRED = "this form is too old, or none of this page; try once more"
_UNLIKE = "the two passwords are not the same"
_OURS = {_EXPIRED: "access.expired", _UNLIKE: "access.unlike"}


class LoginForm(BaseModel):
    """What /login sends."""

    name: str = Field(default="", max_length=200)
    password: str = Field(default="", max_length=1000)
    next: str = Field(default="/", max_length=2000)
    csrf: str = ""


class JoinForm(BaseModel):
    """What /join sends."""

    code: str = Field(default="", max_length=200)
    password: str = Field(default="", max_length=1000)
    again: str = Field(default="", max_length=1000)
    csrf: str = ""


@router.get("/login", dependencies=[PUBLIC])
def login(request: Request, sources: SourcesDep, who: CallerDep, next: str = "/") -> Response:
    """The form; whoever is logged in goes on."""
    if who.how == "session":
        return RedirectResponse(onward(next), 303)
    return _form(request, sources, who, "login.html", next=onward(next), typed="")


@router.post("/login", dependencies=[PUBLIC])
def logging_in(request: Request, sources: SourcesDep, who: CallerDep, sent: Annotated[LoginForm, Form()]) -> Response:
    """Go on with a session, or show what was wrong. Blocks as `log_in` does."""

    def begin() -> Started:
        _require_form(request, sent.csrf)
        return log_in(request, sources, sent.name.strip(), sent.password)

    def again(fault: HTTPException) -> Response:
        return _form(request, sources, who, "login.html", fault, next=onward(sent.next), typed=sent.name)

    return _through(request, begin, onward(sent.next), again)


@router.get("/join", dependencies=[PUBLIC])
def joining(request: Request, sources: SourcesDep, who: CallerDep) -> Response:
    """Where a link of an invitation leads. Its code is behind #, so it is not in this request."""
    return _form(request, sources, who, "join.html", code="")


@router.post("/join", dependencies=[PUBLIC])
def join_now(request: Request, sources: SourcesDep, who: CallerDep, sent: Annotated[JoinForm, Form()]) -> Response:
    """Go on with a session, or show what was wrong. Blocks as `join` does."""

    def begin() -> Started:
        _require_form(request, sent.csrf)
        if sent.password != sent.again:
            raise HTTPException(422, _UNLIKE)
        return join(request, sources, sent.code.strip(), sent.password)

    def again(fault: HTTPException) -> Response:
        return _form(request, sources, who, "join.html", fault, code=sent.code)

    return _through(request, begin, "/", again)


@router.post("/logout", dependencies=[VIEWER])
def logout(request: Request, sources: SourcesDep, who: CallerDep) -> Response:
    """End the session, and back to the form."""
    answer = RedirectResponse("/login", 303)
    if who.how == "session":
        with doing(sources, who, "logout", f"user/{who.name}"):
            log_out(request, sources, who, answer)
    return answer


def onward(path: str) -> str:
    """Where to go once somebody is in: never to another site, and not out again."""
    path = shell.local(path)
    return "/" if path.startswith(("/login", "/logout", "/join")) else path


def _through(
    request: Request, begin: Callable[[], Started], onto: str, again: Callable[[HTTPException], Response]
) -> Response:
    try:
        started = begin()
    except HTTPException as error:
        if is_noted(request, error):  # it becomes a page here, and nobody else hears of it
            note_answer(request, error)
        return again(error)
    answer = RedirectResponse(onto, 303)
    give_cookie(request, answer, started)
    return answer


def _form(
    request: Request, sources: Sources, who: Caller, name: str, fault: HTTPException | None = None, **values: Any
) -> Response:
    """With a field that says the same as a cookie."""
    token = request.cookies.get(_form_cookie(request)) or secret_of(secrets.token_bytes(SECRET_BYTES))
    status = 200 if fault is None else fault.status_code
    said = fault.detail if fault else ""
    worded = _OURS.get(said) or (f"access.refused_{status}" if status in _WORDED else "")
    told: dict[str, Any] = {"fault": said, "fault_key": worded, "wait": _wait(fault), "shortest": SHORTEST_PASSWORD}
    page = shell.render(
        request, sources, who, name, status=status, form_token=token, single_sign_on=sources.oidc, **told, **values
    )
    if fault is not None:
        page.headers.update(fault.headers or {})
    page.set_cookie(
        _form_cookie(request), token, max_age=_FORM_S, path="/", secure=request.url.scheme == "https", httponly=True,
        samesite="strict",
    )  # fmt: skip
    return page


def _wait(fault: HTTPException | None) -> int:
    return int((fault.headers or {}).get("Retry-After", "0")) if fault is not None else 0


def _form_cookie(request: Request) -> str:
    return f"{cookie_name(request)}_form"


def _require_form(request: Request, given: str) -> None:
    """The form is one of ours, shown to this browser."""
    shown = request.cookies.get(_form_cookie(request), "")
    if not shown or not secrets.compare_digest(shown.encode(), given.encode()):
        raise HTTPException(403, _EXPIRED)
    require_same_origin(request)
