"""/account: one's own password, sessions and tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import SourcesDep
from controller.api.people_schemas import TokenOut
from controller.api.routes.sessions import session_of
from controller.api.routes.tokens import told
from controller.api.web.shell import render
from controller.core.errors import LostLease
from controller.core.people import SHORTEST_PASSWORD, Role

router = APIRouter(include_in_schema=False)


@router.get("/account", dependencies=[VIEWER])
def account(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """Of whoever asks."""
    now, people = sources.now(), sources.people
    try:
        user = people.user(caller.name)
        mine = caller.how != "token"  # which has a say in itself alone
        sessions = [session_of(one, caller) for one in people.sessions(caller.name) if mine and one.until > now]
        shown = [one for one in people.tokens(caller.name) if mine or one.digest == caller.digest]
        tokens = [TokenOut(**told(one, now)) for one in shown]
    except LostLease:  # the page says who leads
        user, sessions, tokens = None, [], []
    return render(
        request,
        sources,
        caller,
        "account.html",
        user=user,
        sessions=sessions,
        tokens=tokens,
        roles=[role.value for role in Role if caller.may(role)],
        shortest=SHORTEST_PASSWORD,
    )
