"""Coming in and going out: what the API and the pages of it have in common.

`start_session` is for whoever has found out who somebody is, by a password or otherwise; it makes the cookie.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fastapi import HTTPException, Request, Response

from controller.api.access import Caller, address_of, cookie_name, note_refused
from controller.api.deps import LEADS, Sources
from controller.api.doing import doing
from controller.core.people import (
    LONGEST,
    LONGEST_PASSWORD,
    SECRET_BYTES,
    Session,
    User,
    browser_known,
    browser_text,
    csrf_of,
    digest_of,
    fault_of_password,
    named,
    secret_of,
)
from controller.core.printable import printable
from controller.core.throttle import Guess, Who, site_of

_AGENT_KEPT = 200
_BROWSER_S = 180 * 86400
_WRONG = "the name or the password is wrong"
_CHANGED = "that password was changed in this very moment; log in with the new one"
_GONE = "this invitation was used, has expired or was replaced; ask for another one"


@dataclass(frozen=True, slots=True)
class Started:
    """A session that was begun: what the cookie gets, and what goes with each change."""

    user: User
    secret: str
    csrf: str


def require_leader(sources: Sources) -> None:
    """Answers 503 with who leads, where another controller does: that one knows who may come in."""
    lead = sources.lead()
    if lead != LEADS:
        raise HTTPException(503, f"this controller {lead}; log in at the one that leads")


def log_in(request: Request, sources: Sources, name: str, password: str) -> Started:
    """With a password. Blocks for about 0.2 s, longer where others log in, too.

    Answers 401 where it is wrong, 429 for who failed too often (with the seconds in Retry-After), 503 where another
    controller leads or too many log in at once.
    """
    require_leader(sources)
    name, address, passwords = _name_of(name), address_of(request), sources.door.passwords
    caller = request.state.caller = Caller(name, None, "password", address)
    browser = _browser(request, sources, name)
    with _guessing(sources, Who(name, address, browser), caller, "login") as guess:
        user = sources.people.user(name)
        kept = user.password if user is not None else ""
        fits = passwords.fits(password[: LONGEST_PASSWORD + 1], kept, site_of(address), known=bool(browser))
    if not fits or user is None:
        note_refused(sources, caller, "login", _WRONG)
        raise HTTPException(401, _WRONG)
    sources.door.succeeded(guess)
    if passwords.outdated(user.password):
        user = _renewed(sources, user, passwords.make(password, site_of(address), known=True))
    return start_session(request, sources, user, "password")


def _name_of(text: str) -> str:
    try:
        return named(text)
    except ValueError:
        return ""  # nobody has that name, and it takes as long to say so


def _browser(request: Request, sources: Sources, name: str) -> str:
    """The mark of this browser, where that person has logged in with it since the password is what it is."""
    shown = request.cookies.get(_browser_cookie(request), "")
    user = sources.people.user(name) if shown and name else None
    return browser_known(shown, user) if user is not None else ""


@contextmanager
def _guessing(sources: Sources, who: Who, caller: Caller, what: str) -> Iterator[Guess]:
    """While the password is looked at: a wrong one and a right one wait alike. Answers 429 for who must wait; `what` it
    was is in the audit log then."""
    left, guess = sources.door.begin(who, sources.now())
    if guess is None:
        wait = str(math.ceil(left))
        sentence = f"too many logins failed; try again in {wait} s"
        note_refused(sources, caller, what, sentence)
        raise HTTPException(429, sentence, {"Retry-After": wait})
    try:
        yield guess
    except BaseException:
        sources.door.withdraw(guess)
        raise


def start_session(request: Request, sources: Sources, user: User, how: str) -> Started:
    """A new one of that user, as it is saved; the session of the browser that asks ends, if it has one.

    `how` is for the audit log: password, invitation, oidc. Answers 401 where that person has another password by now,
    or is gone, 503 where it cannot be written down.
    """
    now, address = sources.now(), address_of(request)
    secret = secret_of(secrets.token_bytes(SECRET_BYTES))
    agent = printable(request.headers.get("user-agent", "")[:_AGENT_KEPT])
    caller = Caller(user.name, user.role, how, address)
    begun = Session(digest_of(secret), user.name, now, now, address, agent)
    with doing(sources, caller, "login", f"user/{user.name}"):
        if not sources.people.start_session(begun, user.password):
            request.state.caller = caller
            raise HTTPException(401, _CHANGED)
    old = request.cookies.get(cookie_name(request))
    if old is not None:
        _end(sources, digest_of(old))
    return Started(user, secret, csrf_of(secret))


def _end(sources: Sources, digest: str) -> None:
    found = sources.people.session(digest)
    if found is not None:
        sources.people.end_sessions(found[0].user, only=digest)
    sources.door.known.forget()


def give_cookie(request: Request, response: Response, started: Started) -> None:
    """The browser shows it from now on. Its scripts never see it, and no page of another site makes it show it."""
    response.set_cookie(
        cookie_name(request),
        started.secret,
        max_age=int(LONGEST.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    if started.user.password:
        response.set_cookie(
            _browser_cookie(request),
            browser_text(secret_of(secrets.token_bytes(SECRET_BYTES)), started.user),
            max_age=_BROWSER_S,
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def _browser_cookie(request: Request) -> str:
    return f"{cookie_name(request)}_known"


def log_out(request: Request, sources: Sources, who: Caller, response: Response) -> None:
    """End the session that was shown, here and in the browser."""
    sources.people.end_sessions(who.name, only=who.digest)
    sources.door.known.forget()
    response.delete_cookie(
        cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )


def join(request: Request, sources: Sources, code: str, password: str) -> Started:
    """Accept an invitation: that person has this password from now on, and is logged in. Blocks like `log_in`.

    Answers 404 for a code that is good for nothing (any more), 422 for a password that cannot be one, 503 likewise.
    Nobody is slowed down: a code of 256 random bits is not guessed.
    """
    require_leader(sources)
    now, address = sources.now(), address_of(request)
    caller = request.state.caller = Caller("", None, "invitation", address)
    found = sources.people.invitation(digest_of(code))
    if found is None or found.expires_at <= now:
        note_refused(sources, caller, "join", _GONE)
        raise HTTPException(404, _GONE)
    _require_possible(password, found.name)
    kept = sources.door.passwords.make(password, site_of(address), known=True)
    before = sources.people.user(found.name)
    role = found.role if before is None else before.role
    with doing(sources, Caller(found.name, role, "invitation", address), "join", f"user/{found.name}"):
        user = sources.people.accept(found.digest, kept, now)
        if user is None:
            raise HTTPException(404, _GONE)
    sources.door.known.forget()
    return start_session(request, sources, user, "invitation")


def change_password(sources: Sources, who: Caller, old: str, new: str) -> None:
    """Of the person who asks; every other session ends. Answers 403 for a wrong old one, 409 for who has none,
    422 and 429 likewise."""
    user = sources.people.user(who.name)
    if user is None or not user.password:
        raise HTTPException(409, f"{who.name} has no password here, so there is none to change")
    place, passwords = site_of(who.address), sources.door.passwords
    with _guessing(sources, Who(user.name, who.address, who.digest), who, "password") as guess:
        fits = passwords.fits(old[: LONGEST_PASSWORD + 1], user.password, place, known=True)
    if not fits:
        note_refused(sources, who, "password", "the old password is wrong")
        raise HTTPException(403, "the old password is wrong")
    sources.door.succeeded(guess)
    _require_possible(new, user.name)
    kept = passwords.make(new, place, known=True)
    with doing(sources, who, "password change", f"user/{user.name}"):
        changed = sources.people.change_user(user.name, _unless_changed(user, kept), but=who.digest)
        if changed is None or changed.password != kept:
            gone = f"{who.name} was removed or got another password meanwhile; this one was not taken"
            raise HTTPException(409, gone)
    sources.door.known.forget()


def _renewed(sources: Sources, user: User, kept: str) -> User:
    """The same password, kept in today's way, unless it was changed meanwhile. No session begins or ends by it."""
    changed = sources.people.change_user(user.name, _unless_changed(user, kept), ends=False)
    return user if changed is None else changed


def _unless_changed(seen: User, kept: str) -> Callable[[User], User]:
    """That password, of somebody who still has the one that was seen."""
    return lambda now: replace(now, password=kept) if now.password == seen.password else now


def _require_possible(password: str, name: str) -> None:
    fault = fault_of_password(password, name)
    if fault:
        raise HTTPException(422, f"{fault}; choose another one")
