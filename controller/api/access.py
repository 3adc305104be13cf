"""Who asks, and what that needs: the one place where a role is looked at."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from controller.api.deps import Sources, SourcesDep
from controller.core.people import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `how`: file, token or session; `role` None: nobody that is known."""

    name: str
    role: Role | None
    how: str
    address: str


def caller(request: Request, sources: SourcesDep) -> Caller:
    """Who asks, by what was shown."""
    address = request.client.host if request.client else ""
    given = (request.headers.get("authorization") or "").removeprefix("Bearer ")
    if sources.token and secrets.compare_digest(given.encode(), sources.token.encode()):
        return Caller("state-directory", Role.ADMIN, "file", address)
    return Caller("", None, "", address)


CallerDep = Annotated[Caller, Depends(caller)]


def _at_least(needed: Role) -> Callable[..., None]:
    def require(who: CallerDep) -> None:
        if who.role is None:
            raise HTTPException(401, "log in, or show a token as a bearer", {"WWW-Authenticate": "Bearer"})
        if not who.role.allows(needed):
            raise HTTPException(403, f"this needs the role {needed}, and {who.name} is {who.role}")

    return require


def _nobody() -> None:
    """Whoever asks is answered."""


PUBLIC: Any = Depends(_nobody)
VIEWER: Any = Depends(_at_least(Role.VIEWER))
OPERATOR: Any = Depends(_at_least(Role.OPERATOR))
ADMIN: Any = Depends(_at_least(Role.ADMIN))


def note(sources: Sources, who: Caller, action: str, subject: str, why: str = "", outcome: str = "done") -> None:
    """Write into the audit log who did what, and why."""
