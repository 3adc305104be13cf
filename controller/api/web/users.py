"""/users: who may use the controller."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from controller.api.access import ADMIN, CallerDep
from controller.api.deps import SourcesDep
from controller.api.routes.people import user_of
from controller.api.web.shell import render
from controller.core.errors import LostLease
from controller.core.people import Role

router = APIRouter(include_in_schema=False)


@router.get("/users", dependencies=[ADMIN])
def users(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """All, by name."""
    try:
        rows = [user_of(user) for user in sources.people.users()]
    except LostLease:  # the page says who leads
        rows = []
    return render(request, sources, caller, "users.html", rows=rows, roles=[role.value for role in Role])
