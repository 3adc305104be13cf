"""/login/oidc: the way to the OpenID Connect provider, and back from it. There is none unless one is configured."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse

from controller.api.access import PUBLIC, Caller, address_of, note_refused
from controller.api.access_login import give_cookie, require_leader, start_session
from controller.api.deps import Sources, SourcesDep, base_of
from controller.api.doing import doing
from controller.api.oidc import Attempt, GroupsRefuse, SingleSignOn
from controller.api.routes.people import other_admins
from controller.core.errors import LoginRefused
from controller.core.people import LastAdmin, User, merged, require_admin
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
        user = _taken_in(request, sources, _person(request, sources, sso, attempt, code, error))
    except LoginRefused as refused:
        note_refused(sources, Caller("", None, "oidc", address_of(request)), "login", str(refused))
        if isinstance(refused, GroupsRefuse):
            _put_out(request, sources, refused.source)
        raise HTTPException(403, str(refused)) from refused
    except ConfigError as fault:
        raise HTTPException(503, f"nobody can log in by {sso.label}: {fault}") from fault
    answer = RedirectResponse(attempt.next, 303, {"Cache-Control": "no-store"})
    give_cookie(request, answer, start_session(request, sources, user, "oidc"))
    answer.delete_cookie(_cookie(request), path="/", secure=request.url.scheme == "https", httponly=True)
    return answer


def _configured(sources: Sources) -> SingleSignOn:
    if sources.oidc is None:
        raise HTTPException(404, "this controller asks no OpenID Connect provider; log in with a password at /login")
    return sources.oidc


def _back(request: Request, sources: Sources) -> str:
    """Where the provider sends the browser; it must know this very address."""
    return f"{base_of(request, sources)}{_BACK}"


def _person(request: Request, sources: Sources, sso: SingleSignOn, attempt: Attempt, code: str, error: str) -> User:
    """Who that is."""
    if error or not code:
        raise LoginRefused(f"{sso.label} let nobody in: {error[:100] or 'it gave no code'}")
    said = sso.provider.finish(_back(request, sources), code, attempt.nonce, attempt.verifier, sso.claims())
    return sso.person(said, sources.now())


def _taken_in(request: Request, sources: Sources, found: User) -> User:
    """With the role of now; what was begun with another one is over. The store looks again at who has the name, and at
    who is the last admin: that is found out before it is noted, and may be another by then."""
    known = sources.people.user(found.name)
    user = merged(found, known)
    if user == known:
        return user
    before = "nobody" if known is None else known.role
    try:
        if known is not None:
            require_admin(user.name, known.role, user.role, other_admins(sources, user))
        who = Caller(user.name, user.role, "oidc", address_of(request))
        told = f"From {before} to {user.role}, by the groups there."
        with doing(sources, who, "user role", f"user/{user.name}", told):
            user = sources.people.take_in(found)
    except LastAdmin as error:
        raise GroupsRefuse(f"the groups there make {found.name} {found.role}, but {error}", found.source) from error
    sources.door.known.forget()
    return user


def _put_out(request: Request, sources: Sources, source: str) -> None:
    """What that person began when the groups were others ends now, under whatever name that was."""
    for user in sources.people.users():
        if user.source == source and _has_begun(sources, user):
            who = Caller(user.name, user.role, "oidc", address_of(request))
            with doing(sources, who, "access end", f"user/{user.name}", "Sessions and tokens, by the groups there."):
                sources.people.put_out(user.name, source)
            sources.door.known.forget()


def _has_begun(sources: Sources, user: User) -> bool:
    """Anything that would end, so that nothing is written down of who comes back and is refused again."""
    people = sources.people
    invited = any(one.by == user.name for one in people.invitations())
    return invited or bool(people.sessions(user.name) or people.tokens(user.name))


def _cookie(request: Request) -> str:
    return "__Host-stoker_oidc" if request.url.scheme == "https" else "stoker_oidc"
