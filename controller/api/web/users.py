"""/users: who may use the controller."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from controller.api.access import ADMIN, CallerDep
from controller.api.deps import SourcesDep
from controller.api.routes.people import invitations, user_of
from controller.api.web.shell import render
from controller.core.errors import LostLease
from controller.core.people import Role

router = APIRouter(include_in_schema=False)


@router.get("/users", dependencies=[ADMIN])
def users(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """All, by name, and who is invited."""
    try:
        rows, invited = [user_of(user) for user in sources.people.users()], invitations(sources)
    except LostLease:  # the page says who leads
        rows, invited = [], []
    roles = [role.value for role in Role]
    return render(request, sources, caller, "users.html", rows=rows, invited=invited, roles=roles)
