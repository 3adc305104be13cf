"""Who asks, and what that needs: the one place where a role is looked at.

Each route has exactly one marker among its dependencies (`dependencies=[VIEWER]`, or its router's); `create_app`
refuses to start with a route that has none. A route that changes something takes `CallerDep` and changes it within
`doing`, which calls `note` right before. In tests `tests/unit/api/callers.py` logs in: `as_admin(client)`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from controller.api.access_door import SEEN_EVERY
from controller.api.deps import ALERTS_TOKEN, GATEWAY_TOKEN, LEADS, Sources, SourcesDep
from controller.core.errors import LostLease, TransientError
from controller.core.event import Event
from controller.core.people import (
    STATE_DIRECTORY,
    ApiToken,
    AuditEntry,
    Role,
    Session,
    User,
    csrf_of,
    digest_of,
)
from controller.core.printable import printable

READING = ("GET", "HEAD", "OPTIONS")
_BEARER = {"WWW-Authenticate": "Bearer"}
_FORM = "application/x-www-form-urlencoded"
_LONGEST = 500  # characters of what is written down: a path may be as long as anybody likes
_NOT_OURS = "this was not asked for by a page of this controller; load the page again, and try once more"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `how`: file, token or session; `role` None: nobody that is known.

    `csrf` is what a page must show with each change, `digest` what the session or token is kept as, and `label` the
    name of a token. `shown`: something was shown that is good for nothing. `noted`: refusals of this request that the
    audit log has, so that none is written down twice.
    """

    name: str
    role: Role | None
    how: str
    address: str
    csrf: str = ""
    digest: str = ""
    label: str = ""
    shown: bool = False
    noted: list[str] = field(default_factory=list, compare=False, repr=False)

    def may(self, needed: Role) -> bool:
        """Whether the role is enough for that."""
        return self.role is not None and self.role.allows(needed)


def cookie_name(request: Request) -> str:
    """Browsers send a cookie to every port of a host, so the port is in its name: two controllers do not share it."""
    name = f"stoker_session_{request.url.port}" if request.url.port else "stoker_session"
    return f"__Host-{name}" if request.url.scheme == "https" else name


def address_of(request: Request) -> str:
    """From where somebody asks."""
    return request.client.host if request.client else ""


def caller(request: Request, sources: SourcesDep) -> Caller:
    """Who asks, by what was shown: a bearer token, or the cookie of a session. May ask the database."""
    found = request.state.caller = _who(request, sources)
    return found


def _who(request: Request, sources: Sources) -> Caller:
    address = address_of(request)
    given = request.headers.get("authorization")
    if given is not None:
        return _by_token(sources, given.removeprefix("Bearer "), address)
    cookie = request.cookies.get(cookie_name(request))
    return Caller("", None, "", address) if cookie is None else _by_session(sources, cookie, address)


CallerDep = Annotated[Caller, Depends(caller)]


def _by_token(sources: Sources, given: str, address: str) -> Caller:
    if sources.token and secrets.compare_digest(given.encode(), sources.token.encode()):
        return Caller(STATE_DIRECTORY, Role.ADMIN, "file", address)
    found = _token(sources, digest_of(given)) if given.startswith("st_") else None
    if found is None:
        return Caller("", None, "", address, shown=bool(given))
    token, role = found[0], _role_of(*found)
    if role is None:
        return Caller("", None, "", address, shown=True)
    return Caller(token.owner, role, "token", address, digest=token.digest, label=token.name)


def _role_of(token: ApiToken, owners: Role | None) -> Role | None:
    """What it is worth; nothing, where it was made while its owner was being removed."""
    if owners is None:
        return token.role if token.owner == STATE_DIRECTORY else None
    return token.role.at_most(owners)


def _by_session(sources: Sources, cookie: str, address: str) -> Caller:
    found = _session(sources, digest_of(cookie))
    if found is None:
        return Caller("", None, "", address, shown=True)
    session, user = found
    return Caller(user.name, user.role, "session", address, csrf_of(cookie), session.digest)


def _session(sources: Sources, digest: str) -> tuple[Session, User] | None:
    """It and whose it is, while it lasts; and it is noted about once a minute that it is used."""
    now, known = sources.now(), sources.door.known
    with suppress(LostLease):  # whoever stands by knows nobody
        generation = known.generation
        found = known.find(f"session:{digest}", now, lambda: sources.people.session(digest))
        if found is None or found[0].until <= now:
            return None
        session, user = found
        if now - session.seen_at >= SEEN_EVERY:
            known.keep(f"session:{digest}", (replace(session, seen_at=now), user), now, generation)
            with suppress(TransientError):
                sources.people.seen(digest, now)
        return found
    return None


def _token(sources: Sources, digest: str) -> tuple[ApiToken, Role | None] | None:
    now, known = sources.now(), sources.door.known
    with suppress(LostLease):
        generation = known.generation
        found = known.find(f"token:{digest}", now, lambda: sources.people.token(digest))
        if found is None or not found[0].usable(now):
            return None
        token, owners = found
        if token.used_at is None or now - token.used_at >= SEEN_EVERY:
            known.keep(f"token:{digest}", (replace(token, used_at=now), owners), now, generation)
            with suppress(TransientError):
                sources.people.token_used(digest, now)
        return found
    return None


def holds(sources: Sources, who: Caller) -> bool:
    """Whether what this caller showed is still good, and for that role: for streams, which are let in once and last.
    May ask the database, once in a few seconds for each session."""
    if who.how == "session":
        return _session(sources, who.digest) is not None  # another role ends it
    found = _token(sources, who.digest) if who.how == "token" else None
    now = None if found is None else _role_of(*found)
    return who.how == "file" or (now is not None and who.role is not None and now.allows(who.role))


def _at_least(needed: Role) -> Callable[..., Awaitable[None]]:
    async def require(request: Request, who: CallerDep, sources: SourcesDep) -> None:
        _require_role(who, needed, sources)
        if who.how == "session" and request.method not in READING:
            await require_same_page(request, who.csrf)

    return require


def _require_role(who: Caller, needed: Role, sources: Sources) -> None:
    if who.role is None:
        lead = sources.lead()
        if who.shown and lead != LEADS:
            raise HTTPException(503, f"this controller {lead}; it knows nobody, so log in at the one that leads")
        told = "what was shown is good for nothing, or not any more; " if who.shown else ""
        raise HTTPException(401, f"{told}log in, or show a token as a bearer", _BEARER)
    if not who.role.allows(needed):
        raise HTTPException(403, f"this needs the role {needed}, and {who.name} is {who.role}")


async def require_same_page(request: Request, csrf: str) -> None:
    """A page of ours asks, and not another one in the same browser. Answers 403 otherwise."""
    given = request.headers.get("x-csrf-token") or ""
    if not given and request.headers.get("content-type", "").startswith(_FORM):
        given = str((await request.form()).get("csrf") or "")
    if not csrf or not secrets.compare_digest(given.encode(), csrf.encode()):
        raise HTTPException(403, _NOT_OURS)
    require_same_origin(request)


def require_same_origin(request: Request) -> None:
    """What the browser says of where the request comes from, if a browser says anything. Answers 403 otherwise."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise HTTPException(403, _NOT_OURS)
    elif origin is not None and _place_of(origin) != request.url.netloc:
        raise HTTPException(403, _NOT_OURS)


def _place_of(origin: str) -> str | None:
    """Host and port of an Origin; None for what no browser sends."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


async def _nobody() -> None:
    """Whoever asks is answered."""


_as_viewer = _at_least(Role.VIEWER)


async def _viewer_or_prometheus(request: Request, who: CallerDep, sources: SourcesDep) -> None:
    given = (request.headers.get("authorization") or "").removeprefix("Bearer ")
    if not sources.metrics_token or not secrets.compare_digest(given.encode(), sources.metrics_token.encode()):
        await _as_viewer(request, who, sources)


PUBLIC: Any = Depends(_nobody)
VIEWER: Any = Depends(_as_viewer)
OPERATOR: Any = Depends(_at_least(Role.OPERATOR))
ADMIN: Any = Depends(_at_least(Role.ADMIN))
METRICS: Any = Depends(_viewer_or_prometheus)
# What each marker asks for, in words.
MARKERS: dict[Any, str] = {
    PUBLIC.dependency: "public",
    VIEWER.dependency: "viewer",
    OPERATOR.dependency: "operator",
    ADMIN.dependency: "admin",
    METRICS.dependency: "viewer or metrics.token",
    GATEWAY_TOKEN.dependency: "gateway.token",
    ALERTS_TOKEN.dependency: "alerts.token",
}


def note(sources: Sources, who: Caller, action: str, subject: str, why: str = "", outcome: str = "done") -> None:
    """Write into the audit log who does what, and why. Called right before it is done: answers 503 where it cannot be
    written, and then nothing must be changed."""
    try:
        _write(sources, who, action, subject, why, outcome)
    except TransientError as error:
        sentence = f"the audit log cannot be written now, so nothing was changed: {error}; ask again"
        raise HTTPException(503, sentence) from error


def note_healing(
    sources: Sources, who: Caller, action: str, subject: str, why: str = "", outcome: str = "done"
) -> None:
    """Like `note`, for what mends something: where it cannot be written a line of the log says so, and that is all."""
    try:
        _write(sources, who, action, subject, why, outcome)
    except TransientError as error:
        did = "did" if outcome == "done" else "tried"
        message = f"{who.name} from {who.address} {did} {action}, which the audit log lacks: {error}."
        sources.tell([Event(sources.now(), "audit_write_failed", subject, type(error).__name__, message)])


def _write(sources: Sources, who: Caller, action: str, subject: str, why: str, outcome: str) -> None:
    sources.people.write_audit([replace(_entry(sources, who, action, subject, outcome), why=printable(why))])


def note_refused(sources: Sources, who: Caller, what: str, why: str) -> None:
    """Write into the audit log that something was refused, as far as there is room for that. Never raises."""
    who.noted.append(what)
    flood = sources.door.flood if who.how else sources.door.flood_of_nobody
    missed = flood.admits(sources.now().timestamp())
    if missed is None:
        return
    more = f" ({missed} more refusals were not written down before this one)" if missed else ""
    entry = replace(_entry(sources, who, "refused", what, why + more), refused=True)
    with suppress(TransientError, LostLease):
        sources.people.write_audit([entry])


def _entry(sources: Sources, who: Caller, action: str, subject: str, outcome: str) -> AuditEntry:
    """As it is kept: printable, since whoever is refused chooses the path, and admins read this in a terminal."""
    how, subject, outcome = f"{who.how} {who.label}".rstrip(), subject[:_LONGEST], outcome[:_LONGEST]
    role, place = "" if who.role is None else who.role.value, printable(who.address)
    return AuditEntry(sources.now(), who.name, role, how, place, action, printable(subject), outcome=printable(outcome))
