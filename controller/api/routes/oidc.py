"""/login/oidc: the way to the OpenID Connect provider, and back from it. There is none unless one is configured."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse

from controller.api.access import PUBLIC, Caller, address_of, note, note_refused
from controller.api.access_login import Started, give_cookie, require_leader, start_session
from controller.api.deps import Sources, SourcesDep, base_of
from controller.api.oidc import Attempt, SingleSignOn, merged
from controller.core.errors import LoginRefused
from controller.core.people import User
from controller.faults import ConfigError

router = APIRouter(prefix="/login/oidc", dependencies=[PUBLIC], include_in_schema=False)
_BACK = "/login/oidc/back"
_PATIENCE_S = 600  # for whoever has to look for a second factor
_NOT_BEGUN = "this login was not begun in this browser, or more than ten minutes ago; begin again at /login"


@router.get("")
def begin(request: Request, sources: SourcesDep, next: str = "/") -> RedirectResponse:
    """Send the browser to the provider. 404 where there is none, 503 where it gives no answer."""
    require_leader(sources)
    sso, attempt = _configured(sources), Attempt.new(next)
    url = sso.provider.begin(_back(request, sources), attempt.state, attempt.nonce, attempt.verifier)
    answer = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
    secure = request.url.scheme == "https"
    answer.set_cookie(
        # Lax: it must come back with the browser from the provider, which is another site
        _cookie(request),
        attempt.cookie(),
        max_age=_PATIENCE_S,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/back")
def back(request: Request, sources: SourcesDep, state: str = "", code: str = "", error: str = "") -> RedirectResponse:
    """Let in whoever the provider says it is. 400 where nobody began this here, 403 for who may not come in, 404 and
    503 likewise."""
    require_leader(sources)
    sso, attempt = _configured(sources), Attempt.read(request.cookies.get(_cookie(request), ""))
    if attempt is None or not attempt.is_of(state):
        raise HTTPException(400, _NOT_BEGUN)
    try:
        user = _person(request, sources, sso, attempt, code, error)
    except LoginRefused as refused:
        note_refused(sources, Caller("", None, "oidc", address_of(request)), "login", str(refused))
        raise HTTPException(403, str(refused)) from refused
    except ConfigError as fault:
        raise HTTPException(503, f"nobody can log in by {sso.label}: {fault}") from fault
    answer = RedirectResponse(attempt.next, 303, {"Cache-Control": "no-store"})
    give_cookie(request, answer, _let_in(request, sources, user))
    answer.delete_cookie(_cookie(request), path="/", secure=request.url.scheme == "https", httponly=True)
    return answer


def _configured(sources: Sources) -> SingleSignOn:
    if sources.oidc is None:
        raise HTTPException(404, "this controller asks no OpenID Connect provider; log in with a password at /login")
    return sources.oidc


def _back(request: Request, sources: Sources) -> str:
    """Where the provider sends the browser; it must know this very address."""
    return f"{base_of(request, sources)}{_BACK}"


def _person(
    request: Request, sources: Sources, sso: SingleSignOn, attempt: Attempt, code: str, error: str
) -> tuple[User, User | None]:
    """Who that is, and as whom that one was known."""
    if error or not code:
        raise LoginRefused(f"{sso.label} let nobody in: {error[:100] or 'it gave no code'}")
    said = sso.provider.finish(_back(request, sources), code, attempt.nonce, attempt.verifier, sso.claims())
    found = sso.person(said, sources.now())
    known = sources.people.user(found.name)
    return merged(found, known), known


def _let_in(request: Request, sources: Sources, person: tuple[User, User | None]) -> Started:
    """With the role of now; what was begun with another one is over."""
    user, known = person
    if user != known:
        before = "nobody" if known is None else known.role
        who = Caller(user.name, user.role, "oidc", address_of(request))
        note(sources, who, "user role", f"user/{user.name}", f"From {before} to {user.role}, by the groups there.")
        sources.people.save_user(user)
        sources.people.end_sessions(user.name)
        sources.door.known.forget()
    return start_session(request, sources, user, "oidc")


def _cookie(request: Request) -> str:
    return "__Host-stoker_oidc" if request.url.scheme == "https" else "stoker_oidc"
