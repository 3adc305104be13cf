"""/api/v1/tokens: what programs show instead of a password."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Response

from controller.api.access import VIEWER, Caller, CallerDep
from controller.api.deps import SourcesDep
from controller.api.doing import doing
from controller.api.people_schemas import NewTokenOut, TokenIn, TokenOut
from controller.core.people import (
    TOKEN_BYTES,
    ApiToken,
    Role,
    digest_of,
    looked_for,
    named,
    token_id,
    token_prefix,
    token_text,
)

router = APIRouter(prefix="/api/v1/tokens", dependencies=[VIEWER])
_MOST = 100  # of one owner
_ITSELF = "a token removes itself only; log in, or let the token of an admin say whose it is by ?of=NAME"


@router.get("")
def tokens(sources: SourcesDep, who: CallerDep, of: str | None = None) -> list[TokenOut]:
    """One's own, the newest first; an admin sees all, or those `of` somebody. A token that is no admin's sees itself
    only."""
    found = sources.people.tokens(_owner(who, of))
    return [TokenOut(**told(one, sources.now())) for one in found if who.may(Role.ADMIN) or _within(who, one)]


@router.post("", status_code=201)
def create(wanted: TokenIn, response: Response, sources: SourcesDep, who: CallerDep) -> NewTokenOut:
    """Make one, with at most one's own role. It loses what its owner loses. 403 for a token, which makes no others, and
    for a role that is too high, 409 where there are too many, 422 for what is no name."""
    try:
        name = named(wanted.name)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    _require_maker(who, wanted.role)
    if len(sources.people.tokens(who.name)) >= _MOST:
        raise HTTPException(409, f"{who.name} has {_MOST} tokens already; remove some")
    now, entropy = sources.now(), secrets.token_bytes(TOKEN_BYTES)
    text = token_text(entropy)
    end = None if wanted.expires_in_s is None else now + timedelta(seconds=wanted.expires_in_s)
    made = ApiToken(token_id(entropy), name, who.name, wanted.role, token_prefix(text), digest_of(text), now, end)
    with doing(sources, who, "token create", f"token/{made.id}", f"{name}, {made.role}. {wanted.why}".strip()):
        if not sources.people.add_token(made):
            raise HTTPException(409, f"{who.name} was removed meanwhile, so nobody would own the token")
    response.headers["Cache-Control"] = "no-store"
    return NewTokenOut(token=text, **told(made, now))


@router.delete("/{token}", status_code=204)
def remove(token: str, sources: SourcesDep, who: CallerDep, of: str | None = None) -> None:
    """It is good for nothing from now on. A token removes itself; another one only where it is an admin's and says
    whose, `of` somebody: 403 otherwise. 404 for one that is not there, or is another's, unless an admin asks."""
    found = sources.people.tokens(_owner(who, of))
    one = next((known for known in found if known.id == token), None)
    if one is None:
        raise HTTPException(404, f"there is no token {token!r} of {of or 'yours'}; GET /api/v1/tokens lists them")
    if not _within(who, one) and not (of is not None and who.may(Role.ADMIN)):
        raise HTTPException(403, _ITSELF)
    subject = f"{'' if one.owner == who.name else f'user/{one.owner}/'}token/{one.id}"  # see `is_own`
    with doing(sources, who, "token remove", subject, f"{one.name} of {one.owner}."):
        sources.people.remove_token(one.id)
    sources.door.known.forget()


def told(token: ApiToken, now: datetime) -> dict[str, Any]:
    """The fields of a `TokenOut`."""
    return {
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "role": token.role,
        "prefix": token.prefix,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "used_at": token.used_at,
        "state": "usable" if token.usable(now) else "expired",
    }


def _owner(who: Caller, of: str | None) -> str | None:
    """Whose tokens are meant; None: everybody's."""
    if of not in (None, who.name) and not who.may(Role.ADMIN):
        raise HTTPException(403, f"the tokens of others need the role admin, and {who.name} is {who.role}")
    return who.name if not who.may(Role.ADMIN) else None if of is None else looked_for(of)


def _within(who: Caller, one: ApiToken) -> bool:
    """A token has a say in itself alone: what gets hold of a low one must not end its owner's programs."""
    return who.how != "token" or one.digest == who.digest


def _require_maker(who: Caller, role: Role) -> None:
    if who.how == "token":
        raise HTTPException(403, "a token makes no tokens; log in, or use the token of the state directory")
    if not who.may(role):
        raise HTTPException(403, f"a token has at most the role of who makes it, and {who.name} is {who.role}")
