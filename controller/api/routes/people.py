"""/api/v1/users and /api/v1/invitations: who may use the controller. Nobody's password is known here or chosen here."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fastapi import APIRouter, HTTPException, Request, Response

from controller.api.access import ADMIN, CallerDep
from controller.api.deps import Sources, SourcesDep, base_of
from controller.api.doing import doing
from controller.api.people_schemas import InvitationIn, InvitationOut, PendingOut, RoleIn, UserOut
from controller.api.reasons import AskedWhy
from controller.core.people import (
    INVITED_FOR,
    SECRET_BYTES,
    Invitation,
    LastAdmin,
    NotAdmin,
    Role,
    User,
    digest_of,
    invited_role,
    looked_for,
    named,
    require_admin,
    secret_of,
)

router = APIRouter(prefix="/api/v1", dependencies=[ADMIN])


@router.get("/users")
def users(sources: SourcesDep) -> list[UserOut]:
    """All, by name."""
    return [user_of(user) for user in sources.people.users()]


@router.put("/users/{name}/role")
def change(name: str, wanted: RoleIn, sources: SourcesDep, who: CallerDep) -> UserOut:
    """Give somebody another role; that one's sessions end, and with a lower one invitations by that one are withdrawn.
    404 for nobody, 409 for the last admin, and for who asks and is no admin any more."""
    user = _known(sources, name)
    if user.role is not wanted.role:
        with _but_the_last_admin():
            require_admin(user.name, user.role, wanted.role, other_admins(sources, user))
            told = f"From {user.role} to {wanted.role}. {wanted.why}".strip()
            with doing(sources, who, "user role", f"user/{user.name}", told):
                changed = sources.people.change_user(user.name, lambda now: replace(now, role=wanted.role), by=who.name)
                user = changed or _known(sources, name)  # removed meanwhile: nobody
        sources.door.known.forget()
    return user_of(user)


@router.delete("/users/{name}", status_code=204)
def remove(name: str, sources: SourcesDep, who: CallerDep, why: AskedWhy = "") -> None:
    """With sessions, tokens, and invitations for and by that one. 404 for nobody, 409 likewise."""
    user = _known(sources, name)
    with _but_the_last_admin():
        require_admin(user.name, user.role, None, other_admins(sources, user))
        with doing(sources, who, "user remove", f"user/{user.name}", why):
            sources.people.remove_user(user.name, by=who.name)
    sources.door.known.forget()


@router.get("/invitations")
def invitations(sources: SourcesDep) -> list[PendingOut]:
    """Those that can still be accepted, by name; without their codes, which are told once."""
    now = sources.now()
    return [
        PendingOut(name=one.name, role=one.role, by=one.by, expires_at=one.expires_at)
        for one in sources.people.invitations()
        if one.expires_at > now
    ]


@router.post("/invitations", status_code=201)
def invite(
    wanted: InvitationIn, request: Request, response: Response, sources: SourcesDep, who: CallerDep
) -> InvitationOut:
    """For somebody new, or for a new password of somebody who forgot the old one. It holds for 24 hours, is good once,
    and takes the place of an earlier one. 409 where another place says who that is, and for who is no admin any more,
    422 for what is no name."""
    try:
        name = named(wanted.name)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    try:
        role = invited_role(sources.people.user(name), wanted.role)
    except ValueError as error:
        raise HTTPException(409, str(error)) from error
    code, expires_at = secret_of(secrets.token_bytes(SECRET_BYTES)), sources.now() + INVITED_FOR
    with doing(sources, who, "user invite", f"user/{name}", f"As {role}. {wanted.why}".strip()):
        if not sources.people.invite(Invitation(digest_of(code), name, role, expires_at, who.name)):
            raise HTTPException(409, str(NotAdmin(who.name)))
    response.headers["Cache-Control"] = "no-store"
    link = f"{base_of(request, sources)}/join#{code}"
    return InvitationOut(name=name, role=role, code=code, link=link, expires_at=expires_at)


@router.delete("/invitations/{name}", status_code=204)
def withdraw(name: str, sources: SourcesDep, who: CallerDep, why: AskedWhy = "") -> None:
    """Its link is good for nothing any more. 404 where nobody of that name is invited."""
    invited = looked_for(name)
    if all(one.name != invited for one in sources.people.invitations()):
        raise HTTPException(404, f"nobody called {name!r} is invited; GET /api/v1/invitations lists who is")
    with doing(sources, who, "invitation withdraw", f"user/{invited}", why):
        sources.people.withdraw(invited)


def user_of(user: User) -> UserOut:
    """As the API tells it."""
    return UserOut(
        name=user.name,
        role=user.role,
        source=_place(user),
        created_at=user.created_at,
        logged_in_at=user.logged_in_at,
    )


def _place(user: User) -> str:
    """Where it is known who that is: password or oidc. What else stands there tells two people of a name apart."""
    return user.source.partition(" ")[0]


def _known(sources: Sources, name: str) -> User:
    user = sources.people.user(looked_for(name))
    if user is None:
        raise HTTPException(404, f"there is nobody called {name!r}; GET /api/v1/users lists who there is")
    return user


def other_admins(sources: Sources, user: User) -> int:
    """How many admins there are but that one."""
    return sum(other.role is Role.ADMIN and other.name != user.name for other in sources.people.users())


@contextmanager
def _but_the_last_admin() -> Iterator[None]:
    """Answers 409, found out before it is noted, or by the store where two do it at once; and where whoever asks was
    put down or removed meanwhile."""
    try:
        yield
    except (LastAdmin, NotAdmin) as error:
        raise HTTPException(409, str(error)) from error
